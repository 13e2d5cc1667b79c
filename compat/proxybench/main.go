// Command proxybench measures what a request costs on its way through the gateway and
// through other proxies: the CPU time, user and system, of the proxy's process only.
//
//	go run ./proxybench -gateway ../bin/atlas-gateway [-before PROGRAM] [-quick] [-profile DIR]
//	go run ./proxybench -gateway ../bin/atlas-gateway -journal [-quick] [-dir DIR] [-keys N]
//
// Each part is a process of its own: an upstream that answers as Atlas does, the proxies,
// and this one, which sends the requests. The proxies are
//
//	plain    httputil.ReverseProxy
//	pooled   the same with a BufferPool
//	chain    nethttp-middleware, in which kin-openapi validates by api/openapi.yaml, in front
//	         of ReverseProxy over icholy/digest
//	token    the gateway: it authenticates the caller by a static token, checks its grants,
//	         validates, signs, writes its log to a file and counts
//	digest   the same gateway with a caller that authenticates by Digest
//	jwt      the same with a caller whose token an issuer has signed
//	journal  as token, in a second gateway, which keeps the journal of creates in a file
//	traced   as token, in a third gateway, which sends spans of all requests to a receiver in the
//	         upstream's process
//
// No two creates are the same, so that each is recorded and sent.
//
// plain and pooled neither validate nor sign. They call a second port of the upstream, which
// asks for no credential. All proxies serve with net/http and its defaults. To the upstream
// the gateway has connections of its own; the others have net/http's Transport with the same
// bounds. The gateway's program sets garbage collection for itself; the others leave it as Go
// does.
//
// Each kind of request and number of connections is measured in many short rounds. Every proxy
// has a turn in each round. A cell of the table has the median of the rounds, in µs of CPU
// time for each request. After it come the median of the ratios to plain in the same
// round and, in parentheses, the quartiles of the ratios. Every response must have the right
// status: chain and the gateway refuse a request that is not valid, the others forward it.
// Below the table is the most memory that each process has had resident, and how many spans were
// dropped.
//
// With -before, a second gateway takes its turns in the same rounds, with the same
// configuration: one that was built before a change. A second table then has the CPU time for
// each request in both gateways, and the ratio of the gateway to that of -before in the same
// round, with its quartiles.
//
// With -journal the journal of creates is measured instead, in two tables: how many creates a
// gateway carries out in a second, next to how many plain fsyncs the same disk does in the same
// rounds; and how large a journal with many keys is, how much memory the gateway takes with it,
// and how long the store looks for a key in it (the median and the 99th percentile).
//
// Exit status: 0, 1 when something failed, 2 for a wrong command line.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(serve(ctx, os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line of a run.
type options struct {
	gateway  string        // the program
	before   string        // another program of the gateway, or empty
	profiles string        // folder, or empty
	rounds   int           // at most, for each kind of request and number of connections
	limit    time.Duration // of these rounds: no round after the third begins later
	requests int           // in one turn of a proxy
	numbers  []int
	kinds    []string

	journal bool   // measure the journal instead
	dir     string // where it is; empty for the folder for temporary files
	keys    int    // in a large one
	fsyncs  int    // in a round
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "proxybench: %v\n", err)
		return 2
	}
	if o.journal {
		if err := measureJournal(ctx, o, stdout, stderr); err != nil {
			fmt.Fprintln(stderr, "proxybench:", err)
			return 1
		}
		return 0
	}
	results, err := measure(ctx, o, stderr)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(stderr, "proxybench:", err)
		return 1
	}
	fmt.Fprintf(stdout, "%s, %d CPUs; at most %d rounds of %d requests.\n\n", runtime.Version(), runtime.NumCPU(), o.rounds, o.requests)
	results.write(stdout, o)
	return 0
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{kinds: kinds}
	flags := flag.NewFlagSet("proxybench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.StringVar(&o.gateway, "gateway", filepath.Join("..", "bin", "atlas-gateway"), "the gateway's `program`")
	flags.StringVar(&o.before, "before", "", "another `program` of the gateway to compare it with")
	flags.StringVar(&o.profiles, "profile", "", "write a CPU profile of each part into this `folder`; the gateway then runs as a library of this program")
	quick := flags.Bool("quick", false, "fewer rounds: less than three minutes instead of ten; with -before, less than five instead of fifteen")
	flags.IntVar(&o.rounds, "rounds", 0, "at most so many rounds; 0 means 40, with -quick 7, with -quick and -before 15")
	flags.IntVar(&o.requests, "requests", 2000, "requests to each proxy in a round; with -journal, the most fsyncs")
	flags.BoolVar(&o.journal, "journal", false, "measure the journal of creates instead")
	flags.StringVar(&o.dir, "dir", "", "with -journal: the `folder` on whose disk the journal is")
	flags.IntVar(&o.keys, "keys", 1_000_000, "with -journal: how many keys the larger journal has; with -quick 100,000 at most")
	numbers := flags.String("connections", "1,16,64", "numbers of connections")
	only := flags.String("only", "", "one kind of request: "+strings.Join(kinds, ", "))
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return o, err
	}
	rounds := 40
	o.limit, o.fsyncs = time.Minute, 200
	if o.journal {
		rounds = 10
	}
	if *quick {
		rounds, o.limit, o.fsyncs, o.keys = min(rounds, 7), 15*time.Second, 50, min(o.keys, 100_000)
	}
	if o.before != "" {
		// A round has two more turns, and more rounds tell smaller differences.
		rounds, o.limit = max(rounds, 15), o.limit*8/5
	}
	o.rounds, o.fsyncs = cmp.Or(o.rounds, rounds), min(o.fsyncs, o.requests)
	for number := range strings.SplitSeq(*numbers, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-connections: %q is not a number of connections", number)
		}
		o.numbers = append(o.numbers, n)
	}
	if *only != "" {
		if !slices.Contains(kinds, *only) {
			return o, fmt.Errorf("-only: %q is none of %s", *only, strings.Join(kinds, ", "))
		}
		o.kinds = []string{*only}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag", flags.Arg(0))
	case o.keys < 1:
		return o, errors.New("-keys must be 1 or more")
	case o.rounds < 1 || o.requests < 1:
		return o, errors.New("-rounds and -requests must be 1 or more")
	case o.before != "" && o.profiles != "":
		return o, errors.New("-before and -profile do not go together: the profiled gateway is not a program of its own")
	}
	return o, nil
}
