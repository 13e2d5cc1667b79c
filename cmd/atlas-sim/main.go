// Command atlas-sim runs a simulated MongoDB Atlas: what its Admin API has for exporting
// snapshots, for tests and demonstrations. See package sim for what it does and
// for the endpoints of the control listener.
//
//	atlas-sim -speed 150 -export-dir /tmp/buckets
//
// When both listeners are open it prints one line of JSON, so that scripts can let it choose
// the ports:
//
//	{"api":"http://127.0.0.1:41234","control":"http://127.0.0.1:41235","pid":4711}
//
// It stops at SIGINT and SIGTERM, and finishes the requests that it is answering. The exit
// status is 0 after that, -h or -version, 1 if it can't listen or, at the end, can't write the
// state file, and 2 if the command line or a file that it names is wrong.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"

	"atlas-export-gateway/internal/build"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/strictjson"
	"atlas-export-gateway/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the program
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	statusOK = iota
	statusFailed
	statusUsage
)

const exitStatusHelp = `
The exit status is 0 after SIGINT, SIGTERM, -h or -version, 1 if it can't listen or, at the end,
can't write the state file, and 2 if the command line or a file that it names is wrong.`

// ready is the line with the addresses of the listeners.
type ready struct {
	API     string `json:"api"`
	Control string `json:"control"`
	PID     int    `json:"pid"`
}

func run(ctx context.Context, args, _ []string, _ io.Reader, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return statusOK
	case errors.Is(err, errVersion):
		fmt.Fprintln(stdout, "atlas-sim", build.Version())
		return statusOK
	case err != nil:
		fmt.Fprintln(stderr, "atlas-sim:", err)
		return statusUsage
	}
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	server, err := sim.New(cfg)
	if err != nil {
		fmt.Fprintln(stderr, "atlas-sim:", err)
		return statusUsage
	}
	if err := server.Listen(); err != nil {
		fmt.Fprintln(stderr, "atlas-sim:", err)
		server.Close()
		return statusFailed
	}
	json.NewEncoder(stdout).Encode(ready{server.URL(), server.ControlURL(), os.Getpid()})
	<-ctx.Done()
	if err := server.Close(); err != nil {
		fmt.Fprintln(stderr, "atlas-sim:", err)
		return statusFailed
	}
	return statusOK
}

// errVersion is parse's error where the command line asks for the version.
var errVersion = errors.New("the version is asked for")

// parse reads the command line and the files that it names.
func parse(args []string, stderr io.Writer) (sim.Config, error) {
	var cfg sim.Config
	flags := flag.NewFlagSet("atlas-sim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error, once
	flags.StringVar(&cfg.Listen, "listen", "127.0.0.1:27080", "`address` of the API; port 0 picks a free one")
	flags.StringVar(&cfg.ControlListen, "control", "127.0.0.1:27081", "`address` of the control listener")
	flags.BoolVar(&cfg.AllowRemote, "listen-beyond-loopback", false, "permit addresses that other machines can reach; the keys are public")
	flags.StringVar(&cfg.PublicURL, "public-url", "", "`origin` of the links in answers (default: that of the API listener)")
	flags.StringVar(&cfg.StateFile, "state", "", "`file` that keeps buckets, jobs, snapshots and schedules over restarts (default: in memory)")
	flags.StringVar(&cfg.ExportDir, "export-dir", "", "existing `directory` that exports are written to (default: not written)")
	flags.Float64Var(&cfg.Speed, "speed", 1, "how many times faster than at Atlas jobs run and snapshots are taken; at 150 an export takes 5 s")
	flags.IntVar(&cfg.LogRequests, "log-requests", 10_000, "how many requests the log keeps")
	seed := flags.String("seed", "", "`file` of groups, clusters, snapshots and keys, in the form of sim/seed.yaml (default: that file)")
	settings := flags.String("settings", "", "JSON `file` in the form of GET /settings on the control listener")
	faults := flags.String("faults", "", "JSON `file` in the form of PUT /faults on the control listener")
	certificate := flags.String("tls-cert", "", "PEM `file` of the certificate that the API is served with")
	key := flags.String("tls-key", "", "PEM `file` of the certificate's key")
	version := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "atlas-sim runs a simulated MongoDB Atlas.")
			flags.SetOutput(stderr)
			flags.PrintDefaults()
			fmt.Fprintln(stderr, exitStatusHelp)
			return cfg, err
		}
		return cfg, fmt.Errorf("%w%s", err, cmp.Or(nearest.FlagHint(flags, err), "; -h lists the flags"))
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("%q is not a flag; -h lists them", flags.Arg(0))
	}
	if *version {
		return cfg, errVersion
	}
	switch { // sim.Config would take 0 for its default
	case !(cfg.Speed > 0) || math.IsInf(cfg.Speed, 1):
		return cfg, fmt.Errorf("-speed is %v; it must be a finite number above 0", cfg.Speed)
	case cfg.LogRequests < 1:
		return cfg, fmt.Errorf("-log-requests is %d; it must be 1 or more", cfg.LogRequests)
	}
	if (*certificate == "") != (*key == "") {
		return cfg, errors.New("-tls-cert and -tls-key go together")
	}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return cfg, fmt.Errorf("the certificate: %w", err)
		}
		cfg.TLS = &pair
	}
	if *seed != "" {
		var err error
		if cfg.Seed, err = sim.ReadSeed(*seed); err != nil {
			return cfg, err
		}
	}
	return cfg, errors.Join(readJSON(*settings, &cfg.Settings), readJSON(*faults, &cfg.Faults))
}

// readJSON reads a file of one JSON value, if name is not empty.
func readJSON(name string, into any) error {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := strictjson.Decode(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
