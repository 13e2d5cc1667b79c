package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"atlas-export-gateway/gateway/callers"
)

// measureJournal measures what the journal of creates costs, and writes two tables.
func measureJournal(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	p := &parts{ctx: ctx}
	if p.dir, err = os.MkdirTemp(o.dir, "proxybench-"); err != nil {
		return err
	}
	defer os.RemoveAll(p.dir)
	if p.self, err = os.Executable(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	upstream, err := p.startProcess("upstream", p.self, stderr, "serve", "-part", "upstream")
	if err != nil {
		return err
	}
	c, err := configure(p.dir, upstream.addresses["signed"])
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s, %d CPUs; the journal is in %s.\n\n", runtime.Version(), runtime.NumCPU(), filepath.Dir(p.dir))
	if err := p.rates(o, c, stdout, stderr); err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	return p.sizes(o, c, stdout, stderr)
}

// withGateway runs a gateway that keeps its journal in a file of a name, and then ends it.
func (p *parts) withGateway(o options, c configuration, name string, use func(*proxyUnderTest) error) (err error) {
	file, err := c.withJournal(name)
	if err != nil {
		return err
	}
	gateway, err := p.startGateway("journal", o.gateway, "serve", file)
	if err != nil {
		return err
	}
	p.processes = p.processes[:len(p.processes)-1] // which is stopped here
	defer func() { err = errors.Join(err, gateway.stop()) }()
	return use(journalProxy(gateway, c.token))
}

// journalProxy is a gateway with a journal, called with a token.
func journalProxy(gateway *process, token callers.Issued) *proxyUnderTest {
	p := &proxyUnderTest{name: "journal", process: gateway, validates: true, journal: true, authorization: "Bearer " + token.Secret.Reveal()}
	p.setAddress()
	return p
}

// callersOfRates are how many callers create at a time.
var callersOfRates = []int{1, 64}

// rates measures how many creates and how many plain fsyncs there are in a second, in the same rounds.
func (p *parts) rates(o options, c configuration, stdout, stderr io.Writer) error {
	return p.withGateway(o, c, "rates.db", func(proxy *proxyUnderTest) error {
		var loads []*load
		for _, n := range callersOfRates {
			l, err := newLoad(p.ctx, proxy, "POST", n)
			if err != nil {
				return err
			}
			defer l.close()
			loads = append(loads, l)
		}
		var fsyncs []float64
		creates := make([][]float64, len(loads))
		for round := range o.rounds {
			fmt.Fprintf(stderr, "round %d of %d\n", round+1, o.rounds)
			rate, err := fsyncRate(filepath.Join(p.dir, "plain"), o.fsyncs)
			if err != nil {
				return err
			}
			fsyncs = append(fsyncs, rate)
			for i, l := range loads {
				began, n := time.Now(), max(o.fsyncs/2, 1)*min(len(l.callers), 16)
				if err := l.send(p.ctx, n); err != nil {
					return err
				}
				creates[i] = append(creates[i], float64(n)/time.Since(began).Seconds())
			}
		}
		fmt.Fprintln(stdout, "| callers | creates a second | plain fsyncs a second | creates for each fsync of the same round |")
		fmt.Fprintln(stdout, "|---|---|---|---|")
		for i, n := range callersOfRates {
			fmt.Fprintf(stdout, "| %d | %.0f | %.0f | %s |\n", n, quantile(creates[i], 0.5), quantile(fsyncs, 0.5), ratio(creates[i], fsyncs))
		}
		return nil
	})
}

// fsyncRate returns how many times a second a page can be appended to a file and be on stable
// storage.
func fsyncRate(path string, n int) (float64, error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer file.Close()
	began, page := time.Now(), make([]byte, 4096)
	for range n {
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
