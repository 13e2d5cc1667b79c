// Command limits shows how the gateway's program spends Atlas's rate limit, and what becomes of it
// while Atlas fails. The simulated Atlas has Atlas's own limits: 1200 requests of a group at once, and
// 500 more in each minute of its clock.
//
//	go run ./limits -gateway ../bin/atlas-gateway flood [-gateways N] [-minutes N] [-speed N]
//	go run ./limits -gateway ../bin/atlas-gateway outage [-minutes N]
//
// With flood, five callers send ten times what Atlas allows, and a sixth one creates export jobs. The
// gateways share nothing but Atlas. Standard output gets one line: how many requests reached Atlas,
// how many of them Atlas answered 429, what each caller got, and how long creates took, by Atlas's
// clock, which runs -speed times faster than that of the machine.
//
// With outage, Atlas resets connections, answers 503, hangs for one group, and hangs for all, each
// for a quarter of the time. Standard output gets one line for each: what callers were answered, how
// long they waited, how soon reads were answered once Atlas was back, and how many goroutines and
// bytes of memory the gateway had before and after.
//
// Exit status: 0 if all is within the bounds, 1 if it is not or something failed, 2 for a wrong
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
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line of a run.
type options struct {
	gateway  string // the program
	gateways int
	minutes  float64
	speed    float64
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("limits", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.gateway, "gateway", filepath.Join("..", "bin", "atlas-gateway"), "the gateway's `program`")
	flags.IntVar(&o.gateways, "gateways", 1, "how many gateways there are")
	flags.Float64Var(&o.minutes, "minutes", 5, "how long it takes, by Atlas's clock")
	flags.Float64Var(&o.speed, "speed", 10, "how much faster Atlas's clock is")
	what := ""
	for rest := args; ; rest = flags.Args()[1:] { // flags before and after the word
		if err := flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return 0
			}
			return 2
		}
		if flags.NArg() == 0 {
			break
		}
		if what != "" {
			what = "too many"
			break
		}
		what = flags.Arg(0)
	}
	kind, ok := map[string]func(context.Context, options, io.Writer) error{"flood": flood, "outage": outage}[what]
	if !ok || o.gateways < 1 || !(o.minutes > 0) || !(o.speed > 0) {
		fmt.Fprintln(stderr, "limits: expected flood or outage, and numbers above 0")
		return 2
	}
	if err := kind(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "limits:", err)
		return 1
	}
	return 0
}
