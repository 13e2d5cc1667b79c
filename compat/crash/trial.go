package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/sim"
)

// trial is one run.
type trial struct {
	options
	atlas   *sim.Server
	server  *postgrestest.Server // nil without -journal postgres
	fleet   []*gateway
	callers [2]caller
	client  *http.Client
	answers answers

	answered             atomic.Int64 // creates
	begun                atomic.Int64 // kills of gateways for which creates are let through
	killed, serverKilled atomic.Int64
	caught               map[phase]int // kills of gateways
}

// try makes a run and counts what became of the creates.
func try(ctx context.Context, o options, stderr io.Writer) (result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	r := &trial{
		options: o,
		callers: [2]caller{newCaller("nightly"), newCaller("weekly")},
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * o.workers}},
		answers: answers{jobs: map[int][]string{}, kinds: map[string]int{}},
		caught:  map[phase]int{},
	}
	defer r.close()
	if err := r.start(ctx, dir); err != nil {
		return result{}, err
	}
	shown := r.showProgress(stderr, cancel)
	err = r.work(ctx)
	shown()
	if err == nil {
		err = r.settle(ctx)
	}
	r.tell(stderr)
	jobs := r.atlas.Jobs()
	counted := r.count(jobs, stderr)
	counted.withoutRecord = r.countUnrecorded(jobs, stderr)
	// Creates that were never answered are counted.
	if errors.Is(err, errStuck) {
		fmt.Fprintln(stderr, "crash:", err)
		err = nil
	}
	return counted, err
}

// start starts Atlas, PostgreSQL and the gateways.
func (r *trial) start(ctx context.Context, dir string) (err error) {
	if r.atlas, err = newAtlas(r.creates); err != nil {
		return err
	}
	url := ""
	if r.journal == "postgres" {
		if r.server, err = postgrestest.New(); err != nil {
			return err
		}
		if url, err = r.server.NewDatabase(); err != nil {
			return err
		}
	}
	for i := range r.gateways {
		g, err := newGateway(dir, i, r.options, r.callers[0].yaml+r.callers[1].yaml, url)
		if err != nil {
			return err
		}
		upstream, err := serveAtlas(ctx, r.atlas, g)
		if err != nil {
			return err
		}
		g.environ = append(g.environ, "ATLAS_GATEWAY_UPSTREAM_BASE_URL="+upstream)
		r.fleet = append(r.fleet, g)
		if err := g.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends all that start has started.
func (r *trial) close() {
	for _, g := range r.fleet {
		g.kill()
	}
	if r.server != nil {
		r.server.Close()
	}
	if r.atlas != nil {
		r.atlas.Close()
	}
}

// work has workers create everything, while gateways and the server are killed.
func (r *trial) work(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, kill := range []func(context.Context) error{r.killGateways, r.killServer} {
		group.Go(func() {
			if err := kill(ctx); err != nil {
				cancel(err)
			}
		})
	}
	var next atomic.Int64
	for range r.workers {
		group.Go(func() {
			var later request // of the create before
			for {
				number := int(next.Add(1)) - 1
				if number >= r.creates || r.awaitKills(ctx, number) != nil {
					return
				}
				for _, number := range r.createsFrom(number) {
					repeat := r.create(ctx, number)
					if later.caller.name != "" && number%4 == 0 {
						r.insist(ctx, later)
					}
					later = repeat
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// settle waits until the gateways know what became of every create, and ends them.
func (r *trial) settle(ctx context.Context) error {
	for _, g := range r.fleet {
		if r.journal != "off" {
			if err := g.settled(ctx); err != nil {
				return err
			}
		}
	}
	for _, g := range r.fleet {
		if err := g.stop(); err != nil {
			return err
		}
	}
	return nil
}

// tell says what happened in the run, beside what is counted.
func (r *trial) tell(stderr io.Writer) {
	struck := map[sim.FaultKind]int{}
	for _, fault := range r.atlas.Faults() {
		struck[fault.Kind] += fault.Struck
	}
	fmt.Fprintf(stderr, "Kills: %s.\nFaults of Atlas: %s.\nCallers got: %s.\n", list(r.caught), list(struck), list(r.answers.kinds))
}

// list writes how often each of several things happened.
func list[K ~string](counts map[K]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, "; ")
}
