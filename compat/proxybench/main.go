// Command proxybench measures what a request costs on its way through the gateway and
// through other proxies: the CPU time, user and system, of the proxy's process alone.
//
//	go run ./proxybench -gateway ../bin/atlas-gateway [-quick] [-profile DIR]
//
// Each part is a process of its own: an upstream that answers as Atlas does, the proxies,
// and this one, which sends the requests. The proxies are
//
//	plain    httputil.ReverseProxy
//	pooled   the same with a BufferPool
//	chain    nethttp-middleware, which has kin-openapi validate by api/openapi.yaml, before
//	         ReverseProxy over icholy/digest
//	token    the gateway: it authenticates the caller, by a static token here, checks its
//	         grants, validates, signs, writes its log to a file and counts
//	digest   the same gateway with a caller that authenticates by Digest
//
// plain and pooled neither validate nor sign, so that they are sent to a second port of
// the upstream, where no credential is asked for. All serve with net/http as Go sets it up; to
// the upstream the gateway has connections of its own, the others net/http's Transport with
// the same bounds. The gateway's program sets garbage collection for
// itself; the others leave it as Go does.
//
// For each kind of request and number of connections there are many short rounds, in each
// of which every proxy has a turn. A cell of the table has the median of the rounds, in µs
// of CPU time for each request, the median of the ratios to plain in the same round, and in
// parentheses the quartiles of these. Every response must have the status that it should
// have: a request that is not valid is refused by chain and gateway, and answered through
// the others. Below the table is the most memory that each process has had resident.
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

// options are what a run is told on its command line.
type options struct {
	gateway  string        // the program
	profiles string        // folder, or empty
	rounds   int           // at most, for each kind of request and number of connections
	limit    time.Duration // for them: after three rounds, none begins later
	requests int           // in one turn of a proxy
	numbers  []int
	kinds    []string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{kinds: kinds}
	flags := flag.NewFlagSet("proxybench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.gateway, "gateway", filepath.Join("..", "bin", "atlas-gateway"), "the gateway's program")
	flags.StringVar(&o.profiles, "profile", "", "write a CPU profile of each part into this folder; the gateway then runs as a library of this program")
	quick := flags.Bool("quick", false, "fewer rounds: less than three minutes instead of ten")
	flags.IntVar(&o.rounds, "rounds", 0, "at most so many rounds; 0 means 40, or 7 with -quick")
	flags.IntVar(&o.requests, "requests", 2000, "requests to each proxy in a round")
	numbers := flags.String("connections", "1,16,64", "numbers of connections")
	only := flags.String("only", "", "one kind of request: "+strings.Join(kinds, ", "))
	if err := flags.Parse(args); err != nil {
		return 2
	}
	rounds := 40
	o.limit = time.Minute
	if *quick {
		rounds, o.limit = 7, 15*time.Second
	}
	o.rounds = cmp.Or(o.rounds, rounds)
	for number := range strings.SplitSeq(*numbers, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			fmt.Fprintf(stderr, "proxybench: -connections: %q is not a number of connections\n", number)
			return 2
		}
		o.numbers = append(o.numbers, n)
	}
	if *only != "" {
		if !slices.Contains(kinds, *only) {
			fmt.Fprintf(stderr, "proxybench: -only: %q is none of %s\n", *only, strings.Join(kinds, ", "))
			return 2
		}
		o.kinds = []string{*only}
	}
	if flags.NArg() > 0 || o.rounds < 1 || o.requests < 1 {
		flags.Usage()
		return 2
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
