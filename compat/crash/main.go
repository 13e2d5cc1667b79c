// Command crash shows whether creates happen once while everything around them fails. It starts
// the gateway's program in front of a simulated Atlas, has many callers create export jobs, and
// kills the gateway again and again.
//
//	go run ./crash -gateway ../bin/atlas-gateway [-creates N] [-kills N] [-journal file|postgres|off]
//	               [-gateways N] [-server-kills N] [-workers N] [-log DIR]
//
// A caller repeats its request, as it is, until it gets status 200. Some creates bear an
// Idempotency-Key, some are sent by two callers at the same time, some callers leave before the
// answer and come again, and some ask again later, over the other generation of the API.
//
// Kills are SIGKILLs. Some come at a random moment, the others at a phase of a create: before its
// record is in the journal, while it is being written, after it, when Atlas has the whole request
// (which is then carried out, or not), when Atlas has carried it out and before it answers, when
// the answer has left, and when it is in the journal. Some come while the gateway starts. With
// -journal postgres, several gateways may share the journal, and -server-kills kills PostgreSQL.
// The simulated Atlas resets connections before and after the work, answers 503 before and after
// it, cuts answers off, and answers too late.
//
// Standard output gets one line: N creates, K kills, D duplicates, L lost, R without a record.
// They are counted from the jobs that the simulated Atlas has in the end: D are those beyond the
// first of a create, and L are creates whose caller was told of another job than Atlas has, or
// was never answered.
//
// R counts where the audit streams, one for each gateway and with audit.required, differ from what
// happened:
//   - a create came to Atlas before its intent was in the stream
//   - a job that Atlas has made has no record: none says that its request made it or found it, and
//     no request of its own is left whose outcome is missing or names no job
//   - several records say that they made one job
//   - a caller was told something else than the record of its request says
//   - a request has two records of one kind, or it has no outcome though its gateway was not killed
//   - more lines are cut than gateways were killed
//
// Exit status: 0 if D, L and R are 0, 1 if they are not or something failed, 2 for a wrong
// command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line of a run.
type options struct {
	gateway     string // the program
	creates     int
	kills       int // of gateways
	journal     string
	gateways    int
	serverKills int // of PostgreSQL
	workers     int
	logs        string // folder, or empty
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "crash: %v\n", err)
		return 2
	}
	r, err := try(ctx, o, stderr)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(stderr, "crash:", err)
		return 1
	}
	fmt.Fprintln(stdout, r)
	if r.duplicates > 0 || r.lost > 0 || r.withoutRecord > 0 {
		return 1
	}
	return 0
}

var journals = []string{"file", "postgres", "off"}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.StringVar(&o.gateway, "gateway", filepath.Join("..", "bin", "atlas-gateway"), "the gateway's `program`")
	flags.IntVar(&o.creates, "creates", 2000, "how many jobs are to be created")
	flags.IntVar(&o.kills, "kills", 20, "how often a gateway is killed")
	flags.StringVar(&o.journal, "journal", "file", "where creates are recorded: file, postgres or off")
	flags.IntVar(&o.gateways, "gateways", 1, "how many gateways there are; several need -journal postgres or off")
	flags.IntVar(&o.serverKills, "server-kills", 0, "how often PostgreSQL is killed")
	flags.IntVar(&o.workers, "workers", 192, "how many creates are under way at a time")
	flags.StringVar(&o.logs, "log", "", "write the logs of the gateways into this `folder`")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag", flags.Arg(0))
	case o.creates < 1 || o.gateways < 1 || o.workers < 1:
		return o, errors.New("-creates, -gateways and -workers must be 1 or more")
	case o.kills < 0 || o.serverKills < 0:
		return o, errors.New("-kills and -server-kills must be 0 or more")
	case !slices.Contains(journals, o.journal):
		return o, fmt.Errorf("-journal: %q is none of %q", o.journal, journals)
	case o.gateways > 1 && o.journal == "file":
		return o, errors.New("-gateways: a journal in a file is for one gateway")
	case o.serverKills > 0 && o.journal != "postgres":
		return o, errors.New("-server-kills: there is no server without -journal postgres")
	}
	return o, nil
}
