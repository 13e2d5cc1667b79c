package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"atlas-export-gateway/internal/printable"

	"golang.org/x/term"
)

var errNoTerminal = errors.New("there is no terminal to ask on")

// askSecret asks for a secret on the terminal, which does not show it. The error is
// errNoTerminal if standard input is no terminal.
func (a *app) askSecret(ctx context.Context, what string) (string, error) {
	return a.ask(ctx, what+": ", func(file *os.File) (string, error) {
		secret, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(a.stderr)
		if err == nil && len(secret) == 0 {
			err = errors.New("nothing was entered")
		}
		return string(secret), err
	})
}

// confirm asks a question. Only the answers yes and y mean yes. The error is errNoTerminal if
// standard input is no terminal.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	answer, err := a.ask(ctx, question+" [y/N] ", func(file *os.File) (string, error) {
		line, err := bufio.NewReader(file).ReadString('\n')
		if err == io.EOF {
			err = nil // Ctrl-D means no
		}
		return line, err
	})
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return err == nil, err
	}
	return false, err
}

// ask prints a prompt and reads the answer. An interrupt ends the wait for it; the terminal is
// then as it was before.
func (a *app) ask(ctx context.Context, prompt string, read func(*os.File) (string, error)) (string, error) {
	file := terminal(a.stdin)
	if file == nil {
		return "", errNoTerminal
	}
	before, err := term.GetState(int(file.Fd()))
	if err != nil {
		return "", err
	}
	fmt.Fprint(a.stderr, printable.Escape(prompt))
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read(file)
		answers <- answer{text, err}
	}()
	select {
	case got := <-answers:
		return got.text, got.err
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return "", errors.Join(errors.New("interrupted"), term.Restore(int(file.Fd()), before))
	}
}
