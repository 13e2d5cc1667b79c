// Command atlas-export exports MongoDB Atlas backup snapshots from the command line, at
// Atlas itself or through the gateway.
//
//	atlas-export exports create|list|get|watch
//	atlas-export snapshots list|get|take|watch
//	atlas-export clusters list|get
//	atlas-export buckets create aws|azure|gcp
//	atlas-export buckets list|get|delete|set-private-networking
//	atlas-export roles list
//	atlas-export schedule get|set
//	atlas-export groups list|get
//	atlas-export config path|show|list|set|use
//	atlas-export completion bash|zsh|fish|powershell
//	atlas-export version
//
// A setting comes from its flag, or else from the environment, or else from a profile, or else
// it has its default. The profiles are the program's own or, where it has none, the Atlas CLI's.
// atlas-export help settings lists all settings, and atlas-export config show says where each
// value comes from. A secret comes from a file, the environment or a prompt, and is never an
// argument.
//
// Results go to standard output, as a table or with -o as JSON, YAML or names. Everything else
// goes to standard error. An error is a line that says what is wrong and where, then a line for
// each place where a request breaks the contract, and often a line with a hint. With -o json it is
// one line of JSON. The exit status tells the kinds of errors apart; atlas-export help exit-status
// lists them.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// By default SIGQUIT ends a Go program with the status 2, which would say that nothing was
	// created.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	context.AfterFunc(ctx, func() {
		stop() // a second signal kills the program
		signal.Ignore(syscall.SIGQUIT)
	})
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{env: env, stdin: stdin, stdout: &output{w: stdout}, stderr: stderr, now: time.Now}
	return a.run(ctx, args)
}
