package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// cell says what was measured: requests of a kind over a number of connections, through a proxy.
type cell struct {
	kind        string
	connections int
	proxy       string
	before      bool // through the gateway of -before
}

// results are the CPU times of each cell, one for each round.
type results struct {
	proxies  []string // the columns of the table
	gateways []string // those of the proxies that the gateway of -before has too; empty without it
	times    map[cell][]time.Duration
	memory   []string // peak memory of the proxies' processes, in words
	dropped  string   // how many spans were dropped
}

// measure starts all parts, measures, and stops them.
func measure(ctx context.Context, o options, stderr io.Writer) (r results, err error) {
	p := &parts{ctx: ctx, profiles: o.profiles}
	if p.dir, err = os.MkdirTemp("", "proxybench-"); err != nil {
		return results{}, err
	}
	defer os.RemoveAll(p.dir)
	if p.self, err = os.Executable(); err != nil {
		return results{}, err
	}
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o777); err != nil {
			return results{}, err
		}
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.start(o, stderr); err != nil {
		return results{}, err
	}
	r.times = map[cell][]time.Duration{}
	for _, proxy := range p.proxies {
		if proxy.before {
			r.gateways = append(r.gateways, proxy.name)
		} else {
			r.proxies = append(r.proxies, proxy.name)
		}
	}
	for _, kind := range o.kinds {
		for _, connections := range o.numbers {
			if err := r.measure(p, o, kind, connections, stderr); err != nil {
				return results{}, err
			}
		}
	}
	var processes []*process
	for _, proxy := range p.proxies {
		if !slices.Contains(processes, proxy.process) {
			processes = append(processes, proxy.process)
		}
	}
	for _, process := range processes {
		peak, err := process.peakMemory()
		if err != nil {
			return results{}, err
		}
		r.memory = append(r.memory, fmt.Sprintf("%s %.1f MiB", process.name, float64(peak)/(1<<20)))
		if process.name == "traced" {
			if r.dropped, err = process.droppedSpans(); err != nil {
				return results{}, err
			}
		}
	}
	return r, nil
}

// measure measures one kind of request over a number of connections, and reports the medians.
func (r *results) measure(p *parts, o options, kind string, connections int, stderr io.Writer) error {
	fmt.Fprintf(stderr, "%s, %d connections:", kind, connections)
	defer fmt.Fprintln(stderr)
	times, err := rounds(p.ctx, o, p.proxies, kind, connections)
	if err != nil {
		return err
	}
	for _, proxy := range p.proxies {
		r.times[cell{kind, connections, proxy.name, proxy.before}] = times[proxy]
		before := ""
		if proxy.before {
			before = " before"
		}
		fmt.Fprintf(stderr, "  %s%s %.1f µs", proxy.name, before, micros(quantile(times[proxy], 0.5)))
	}
	return p.truncateLogs()
}

// rounds measures one kind of request over a number of connections. In a round, each proxy has
// a turn.
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
		// The next round has the opposite order, so that no proxy always follows the same one.
		slices.Reverse(loads)
	}
	return times, nil
}
