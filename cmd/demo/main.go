// Command demo exports a snapshot without leaving this machine. It starts the built atlas-sim
// and atlas-gateway on free loopback ports, calls the gateway without an Atlas key, and shows
// what it sends, what comes back, and how many requests reach Atlas.
//
//	demo [-sim PROGRAM] [-gateway PROGRAM] [-speed N]
//
// make demo builds all three programs and runs demo. The API key of the simulation reaches the
// gateway in files that only their owner can read. These files, the logs and the export are in
// a temporary directory, which demo removes at the end.
//
// KEEP=1 in the environment keeps everything up until Ctrl-C and prints curl commands to try.
// The output has colours on a terminal, unless NO_COLOR is set.
//
// demo always ends the two programs. Exit status: 0 after the whole demonstration, 1 if
// something in it went wrong, 2 for a wrong command line, 130 after an interrupt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal kills the program
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// limit is how long the demonstration may take.
const limit = time.Minute

func run(ctx context.Context, args, env []string, _ io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var p programs
	flags.StringVar(&p.sim, "sim", "bin/atlas-sim", "the `program` that simulates Atlas")
	flags.StringVar(&p.gateway, "gateway", "bin/atlas-gateway", "the gateway's `program`")
	flags.Float64Var(&p.speed, "speed", 144, "how many times faster than at Atlas an export runs; at 144 it takes 5 s")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "demo: %q is not a flag; -h lists them\n", flags.Arg(0))
		return exitUsage
	}
	keep := lookup(env, "KEEP")
	err := demonstrate(ctx, p, newScreen(stdout, env), keep != "" && keep != "0")
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted")
		return exitInterrupted
	default:
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
}

// demonstrate starts the programs and plays the story. If keep is set, it then waits for an
// interrupt. When it returns, both programs have ended and their files are gone.
func demonstrate(ctx context.Context, p programs, s *screen, keep bool) (err error) {
	w, err := p.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()

	st := newStory(w, s)
	inTime, cancel := context.WithTimeoutCause(w.ctx, limit, fmt.Errorf("not done after %s", limit))
	defer cancel()
	if err := st.run(inTime); err != nil {
		return w.explain(inTime, err)
	}
	if keep {
		st.printCommands()
		<-w.ctx.Done()
		if ctx.Err() == nil { // no interrupt: a program has ended
			return w.explain(w.ctx, w.ctx.Err())
		}
		s.line("")
	}
	return nil
}

// lookup returns the value of an environment variable.
func lookup(env []string, name string) string {
	for _, variable := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}
