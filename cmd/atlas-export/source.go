package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"atlas-export-gateway/bearertoken"
)

// tokenFile returns the source of the tokens of a token_file.
func tokenFile(_ *app, r *resolved, v value) *bearertoken.Source { return bearertoken.File(r.path(v)) }

// credentialProcess returns the source of the tokens of a credential_process, which was checked. A
// relative path in a profile starts at the folder of the profiles. A name is looked up in PATH.
func credentialProcess(a *app, r *resolved, v value) *bearertoken.Source {
	words, err := splitCommand(v.Text)
	must(err)
	program := words[0]
	if strings.ContainsRune(program, '/') {
		program = r.path(value{program, v.From})
	}
	return bearertoken.Command{Program: program, Args: words[1:], Env: a.env, Stderr: ofProcess{a.stderr}}.Source()
}

// ofProcess marks the lines of a credential_process.
type ofProcess struct{ w io.Writer }

func (o ofProcess) Write(line []byte) (int, error) {
	_, err := fmt.Fprintf(o.w, "credential_process: %s", line)
	return len(line), err
}

func checkCommand(text string) error {
	_, err := splitCommand(text)
	return err
}

// splitCommand splits a command line into its words, at white space outside of quotes. In double
// quotes, a backslash stands before a quote or a backslash that is meant. What a shell would read
// in another way is an error. The errors do not quote the text, which may hold a secret by
// mistake.
func splitCommand(text string) (words []string, err error) {
	var word []rune
	inWord, quote, escaped := false, rune(0), false
	for _, r := range text {
		switch {
		case escaped:
			if r != '"' && r != '\\' {
				word = append(word, '\\')
			}
			word, escaped = append(word, r), false
		case quote == '"' && r == '\\':
			escaped = true
		case r == quote:
			quote = 0
		case quote != 0:
			word = append(word, r)
		case r == '"' || r == '\'':
			inWord, quote = true, r
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, string(word))
			}
			word, inWord = nil, false
		case strings.ContainsRune("|&;<>()$`*?", r):
			return nil, fmt.Errorf("has %c outside of quotes, and no shell runs the command; expected a program and its arguments, such as a script", r)
		default:
			word, inWord = append(word, r), true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("has no second %c", quote)
	}
	if inWord {
		words = append(words, string(word))
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("names no program")
	}
	return words, nil
}
