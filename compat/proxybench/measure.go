package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/gateway/callers"

	icholy "github.com/icholy/digest"
)

// proxyUnderTest is a column of the table.
type proxyUnderTest struct {
	name          string
	process       *process
	address       string
	validates     bool
	authorization string          // of the caller
	digest        *icholy.Options // of a caller that uses Digest
}

// cell is a cell of the table.
type cell struct {
	kind        string
	connections int
	proxy       string
}

// results are, for each cell, the CPU times of its rounds.
type results struct {
	proxies []string
	times   map[cell][]time.Duration
	memory  []string // of the proxies' processes, in words
}

// measure starts all parts, loads them, and ends them.
func measure(ctx context.Context, o options, stderr io.Writer) (_ results, err error) {
	dir, err := os.MkdirTemp("", "proxybench-")
	if err != nil {
		return results{}, err
	}
	defer os.RemoveAll(dir)
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o777); err != nil {
			return results{}, err
		}
	}
	proxies, stop, err := startAll(ctx, o, dir, stderr)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return results{}, err
	}
	r := results{times: map[cell][]time.Duration{}}
	for _, p := range proxies {
		r.proxies = append(r.proxies, p.name)
	}
	for _, kind := range o.kinds {
		for _, connections := range o.numbers {
			fmt.Fprintf(stderr, "%s, %d connections:", kind, connections)
			times, err := rounds(ctx, o, proxies, kind, connections)
			if err != nil {
				fmt.Fprintln(stderr)
				return results{}, err
			}
			for _, p := range proxies {
				r.times[cell{kind, connections, p.name}] = times[p]
				fmt.Fprintf(stderr, "  %s %.1f µs", p.name, micros(quantile(times[p], 0.5)))
			}
			fmt.Fprintln(stderr)
			// The log has been written; it need not be kept.
			if err := os.Truncate(filepath.Join(dir, "log"), 0); err != nil {
				return results{}, err
			}
		}
	}
	for i, p := range proxies {
		if i > 0 && p.process == proxies[i-1].process {
			continue
		}
		peak, err := p.process.peakMemory()
		if err != nil {
			return results{}, err
		}
		r.memory = append(r.memory, fmt.Sprintf("%s %.1f MiB", p.process.name, float64(peak)/(1<<20)))
	}
	return r, nil
}

// rounds measures one kind of request over a number of connections. In a round, each proxy
// has a turn.
func rounds(ctx context.Context, o options, proxies []*proxyUnderTest, kind string, connections int) (map[*proxyUnderTest][]time.Duration, error) {
	failed := func(p *proxyUnderTest, err error) error {
		return fmt.Errorf("%s, %s, %d connections: %w", p.name, kind, connections, err)
	}
	var loads []*load
	for _, p := range proxies {
		l, err := newLoad(ctx, p, kind, connections)
		if err != nil {
			return nil, failed(p, err)
		}
		defer l.close()
		loads = append(loads, l)
	}
	times := map[*proxyUnderTest][]time.Duration{}
	began := time.Now()
	for round := range o.rounds {
		if round >= 3 && time.Since(began) > o.limit {
			break
		}
		for i := range loads {
			l := loads[(i+round)%len(loads)]
			each, err := l.measure(ctx, o.requests)
			if err != nil {
				return nil, failed(l.proxy, err)
			}
			times[l.proxy] = append(times[l.proxy], each)
		}
	}
	return times, nil
}

// startAll starts the upstream and the proxies. The function that it returns stops those
// that were started.
func startAll(ctx context.Context, o options, dir string, stderr io.Writer) (proxies []*proxyUnderTest, stop func() error, err error) {
	var processes []*process
	stop = func() error {
		var errs []error
		for _, p := range slices.Backward(processes) {
			errs = append(errs, p.stop())
		}
		return errors.Join(errs...)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	begin := func(name, program string, stderr io.Writer, args ...string) (*process, error) {
		if o.profiles != "" && program == self {
			args = append(args, "-profile", filepath.Join(o.profiles, name+".prof"))
		}
		p, err := start(ctx, name, stderr, program, args...)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
		return p, nil
	}
	upstream, err := begin("upstream", self, stderr, "serve", "-part", "upstream")
	if err != nil {
		return nil, stop, err
	}
	for _, name := range []string{"plain", "pooled", "chain"} {
		to := cmp.Or(map[string]string{"chain": upstream.addresses["signed"]}[name], upstream.addresses["open"])
		process, err := begin(name, self, stderr, "serve", "-part", name, "-to", to)
		if err != nil {
			return nil, stop, err
		}
		proxies = append(proxies, &proxyUnderTest{name: name, process: process, validates: name == "chain"})
	}
	config, token, pair, err := configure(dir, upstream.addresses["signed"])
	if err != nil {
		return nil, stop, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, stop, err
	}
	defer log.Close()
	program, args := o.gateway, []string{"serve", config}
	if o.profiles != "" {
		program, args = self, []string{"serve", "-part", "gateway", "-to", config}
	}
	process, err := begin("gateway", program, log, args...)
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, stop, fmt.Errorf("%w: %s", err, said)
	}
	proxies = append(proxies,
		&proxyUnderTest{name: "token", process: process, validates: true, authorization: "Bearer " + token.Secret.Reveal()},
		&proxyUnderTest{name: "digest", process: process, validates: true, digest: &icholy.Options{Username: pair.ID, Password: pair.Secret.Reveal()}})
	for _, p := range proxies {
		p.address = strings.TrimPrefix(p.process.addresses["listener"], "http://")
	}
	return proxies, stop, nil
}

// configure writes the gateway's configuration: a caller with a token and a key pair, who
// may do what is measured and little else, and a credential for the upstream.
func configure(dir, upstream string) (config string, token, pair callers.Issued, err error) {
	file := func(name string) string { return filepath.Join(dir, name) }
	token = callers.NewToken("nightly")
	pair = callers.NewKeyPair("nightly", realm, file("ha1"))
	content := fmt.Sprintf(`
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
upstream:
  base_url: %s
  realm: %s
  credentials:
    - groups: [%s]
      public_key_file: %s
      private_key_file: %s
callers:
  list:
    - name: nightly
      tokens: [{sha256: %s}]
      key_pairs: [{public_key: %s, ha1_file: %s}]
      grants:
        - operations: [export]
          groups: [%s]
          clusters: ["order*"]
          export_buckets: [%s]
timeouts: {drain: 1ms}
`, upstream, realm, group, file("public"), file("private"), token.Entry.Tokens[0].SHA256, pair.ID, file("ha1"), group, bucket)
	for name, content := range map[string]string{
		"gateway.yaml": content,
		"ha1":          pair.HA1File.Reveal(),
		"public":       publicKey,
		"private":      privateKey,
	} {
		err = errors.Join(err, os.WriteFile(file(name), []byte(content), 0o600))
	}
	return file("gateway.yaml"), token, pair, err
}

// write writes the table, and what memory the processes took.
func (r results) write(w io.Writer, o options) {
	fmt.Fprintf(w, "| request | connections | %s |\n", strings.Join(r.proxies, " | "))
	fmt.Fprintf(w, "|---|---|%s\n", strings.Repeat("---|", len(r.proxies)))
	for _, kind := range o.kinds {
		for _, connections := range o.numbers {
			fmt.Fprintf(w, "| %s | %d |", kind, connections)
			plain := r.times[cell{kind, connections, "plain"}]
			for _, proxy := range r.proxies {
				times := r.times[cell{kind, connections, proxy}]
				fmt.Fprintf(w, " %.1f µs", micros(quantile(times, 0.5)))
				if proxy != "plain" {
					ratios := make([]float64, len(times))
					for i := range times {
						ratios[i] = float64(times[i]) / float64(plain[i])
					}
					fmt.Fprintf(w, ", %.2f (%.2f to %.2f)", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
				}
				fmt.Fprint(w, " |")
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintf(w, "\nPeak memory: %s.\n", strings.Join(r.memory, ", "))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// quantile returns the value that a share of the others is not above.
func quantile[T cmp.Ordered](values []T, share float64) T {
	return slices.Sorted(slices.Values(values))[int(share*float64(len(values)-1))]
}
