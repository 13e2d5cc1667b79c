// Command digestreport compares three digest transports for Go: this project's, icholy/digest
// and mongodb-forks/digest, which the Atlas SDK, CLI and Terraform provider use. It calls a
// simulated Atlas in each of its nonce modes, and counts how many good calls fail and how many
// upstream requests a call takes.
//
//	go run ./digestreport [-calls 300000] [-others 20000] [-callers 128]
//
// It prints a table. Exit status: 0, or 1 when a call through this project's transport
// failed or took more upstream requests than the mode allows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
	mongodb "github.com/mongodb-forks/digest"
)

// mode is a way in which a server treats its nonces. most is how many upstream requests a call of
// digestauth may take, besides the first challenges; 0 means no bound.
type mode struct {
	name   string
	nonces sim.Nonces
	forget int // how often the server forgets all nonces, as after a restart
	most   float64
}

var modes = []mode{
	{"reusable", sim.Nonces{}, 0, 1},
	{"reusable, forgotten", sim.Nonces{}, 10, 1},
	{"100 uses", sim.Nonces{Uses: 100}, 0, 1.05},
	{"50 ms lifetime", sim.Nonces{Lifetime: sim.Duration(50 * time.Millisecond)}, 0, 0},
	{"nc must rise", sim.Nonces{Rising: true}, 0, 1},
	{"nc must rise, forgotten", sim.Nonces{Rising: true}, 10, 1},
	{"single use", sim.Nonces{Uses: 1}, 0, 2},
	{"5 % refused", sim.Nonces{Refuse: 0.05}, 0, 1.07},
}

// library is a transport under test.
type library struct {
	name string
	make func(url string, base http.RoundTripper) (http.RoundTripper, error)
}

var libraries = []library{
	{"digestauth", func(url string, base http.RoundTripper) (http.RoundTripper, error) {
		return digestauth.NewTransport(digestauth.Config{
			Origin: url,
			Base:   base,
			Credential: func(context.Context) (digestauth.Credential, error) {
				return digestauth.Credential{Username: sim.PublicKey, Password: secret.New(sim.PrivateKey)}, nil
			},
		})
	}},
	{"icholy/digest v1.2.0", func(_ string, base http.RoundTripper) (http.RoundTripper, error) {
		return &icholy.Transport{Username: sim.PublicKey, Password: sim.PrivateKey, Transport: base}, nil
	}},
	{"mongodb-forks/digest v1.1.0", func(_ string, base http.RoundTripper) (http.RoundTripper, error) {
		return mongodb.NewTransportWithHTTPRoundTripper(sim.PublicKey, sim.PrivateKey, base), nil
	}},
}

// row is the result of one library in one mode.
type row struct {
	calls, failed, unauthorized int64
	upstream, challenges        int64
	elapsed                     time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("digestreport", flag.ContinueOnError)
	flags.SetOutput(stderr)
	calls := flags.Int("calls", 300_000, "calls through this project's transport in each mode")
	others := flags.Int("others", 20_000, "calls through each of the other transports in each mode")
	callers := flags.Int("callers", 128, "calls at a time")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "mode\ttransport\tcalls\tfailed\tof them 401\tupstream requests per call\tchallenges\tus per call\t\n")
	ok := true
	for _, m := range modes {
		for _, l := range libraries {
			n := *others
			if l.name == libraries[0].name {
				n = *calls
			}
			fmt.Fprintf(stderr, "%s: %s: %d calls, %d at a time\n", m.name, l.name, n, *callers)
			r, err := measure(ctx, m, l, n, *callers)
			if err != nil {
				fmt.Fprintln(stderr, "digestreport:", err)
				return 1
			}
			perCall := float64(r.upstream) / float64(r.calls)
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%.4f\t%d\t%.0f\t\n", m.name, l.name, r.calls, r.failed, r.unauthorized, perCall, r.challenges, float64(r.elapsed.Microseconds())/float64(r.calls))
			if l.name == libraries[0].name {
				if r.failed > 0 {
					fmt.Fprintf(stderr, "digestreport: %s: %d calls failed\n", m.name, r.failed)
					ok = false
				}
				// Each of the calls at a time also needs a first nonce, and another one whenever the
				// server forgets all.
				allowed := int64(m.most*float64(r.calls)) + int64((m.forget+1)**callers)
				if m.most > 0 && r.upstream > allowed {
					fmt.Fprintf(stderr, "digestreport: %s: %d upstream requests, at most %d allowed\n", m.name, r.upstream, allowed)
					ok = false
				}
			}
		}
	}
	table.Flush()
	if !ok {
		return 1
	}
	return 0
}

// measure makes calls through a library against a simulated Atlas of its own.
func measure(ctx context.Context, m mode, l library, calls, callers int) (row, error) {
	atlas, err := sim.New(sim.Config{Settings: sim.Settings{Nonces: m.nonces, RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	if err != nil {
		return row{}, err
	}
	if err := atlas.Listen(); err != nil {
		return row{}, err
	}
	defer atlas.Close()
	base := &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}
	defer base.CloseIdleConnections()
	transport, err := l.make(atlas.URL(), base)
	if err != nil {
		return row{}, err
	}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	url := atlas.URL() + "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets"

	var r row
	var next, failed, unauthorized atomic.Int64
	began := time.Now()
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				if n > int64(calls) {
					return
				}
				if m.forget > 0 && n%int64(calls/(m.forget+1)+1) == 0 {
					atlas.ForgetNonces()
				}
				status, err := call(ctx, client, url)
				if err != nil || status != http.StatusOK {
					failed.Add(1)
				}
				if status == http.StatusUnauthorized {
					unauthorized.Add(1)
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return row{}, errors.New("interrupted")
	}
	counts := atlas.Counts()
	r = row{int64(calls), failed.Load(), unauthorized.Load(), counts.Requests, counts.Challenges, time.Since(began)}
	return r, nil
}

func call(ctx context.Context, client *http.Client, url string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "application/vnd.atlas.2024-05-30+json")
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
