package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"atlas-export-gateway/gateway/config"
)

// healthTime bounds how long health waits for an answer, and maxHealth its bytes.
const (
	healthTime = 5 * time.Second
	maxHealth  = 64 << 10
)

// health asks a gateway that runs whether it is ready, and prints the answer: for a container
// without a shell.
func health(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("health", flag.ContinueOnError)
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	target, unread, err := healthURL(flags.Arg(0), env)
	if err != nil {
		return misused(stderr, "health: "+err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	answer, err := ask(ctx, target)
	if err != nil {
		if unread != nil { // then the address may be the wrong one
			fmt.Fprintln(stderr, "atlas-gateway: the configuration:", unread)
		}
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		return exitFailed
	}
	io.WriteString(stdout, answer)
	return exitOK
}

// healthURL returns what to ask for an argument of health: a URL, or a configuration, or nothing.
// unread is why the configuration could not be read; then the URL has the default address.
func healthURL(argument string, env []string) (target string, unread, err error) {
	if !strings.Contains(argument, "://") {
		address, unread := config.ManagementAddress(argument, env)
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return "", nil, fmt.Errorf("management.address is %q; expected host:port", address)
		}
		switch host { // where the listener is on every address
		case "", "0.0.0.0":
			host = "127.0.0.1"
		case "::":
			host = "::1"
		}
		argument = "http://" + net.JoinHostPort(host, port)
		return argument + readiness, unread, nil
	}
	u, err := url.Parse(argument)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", nil, errors.New("expected a URL that begins with http://, of the management listener, or a configuration")
	}
	if u.Path == "" || u.Path == "/" {
		return "http://" + u.Host + readiness, nil, nil
	}
	return argument, nil, nil
}

// readiness is what health asks for, if it is not told.
const readiness = "/readyz?verbose"

// ask returns the content of an answer of status 200. It uses no proxy of the environment.
func ask(ctx context.Context, target string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxHealth))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", target, response.StatusCode, strings.TrimSpace(string(content)))
	}
	return string(content), err
}
