package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"
)

// phase is how far a create has come when the gateway is killed.
type phase string

// The phases, in the order that a create goes through them.
const (
	anytime    phase = "at a random moment"
	starting   phase = "while the gateway starts"
	unrecorded phase = "before the record" // the gateway fetches a challenge
	recording  phase = "while the record is written"
	recorded   phase = "after the record"
	ignored    phase = "after sending, not carried out"
	arrived    phase = "after sending, carried out later"
	worked     phase = "carried out, not answered"
	answered   phase = "answered"
	stored     phase = "the answer is stored"
)

// phasesOf returns the phases in which gateways with a kind of journal can be caught.
func phasesOf(journal string) []phase {
	all := []phase{anytime, unrecorded, ignored, arrived, worked, answered}
	switch journal {
	case "file":
		all = append(all, recording)
		fallthrough
	case "postgres":
		all = append(all, recorded, stored)
	}
	return all
}

// trap kills a gateway when a create comes to a phase.
type trap struct {
	phase  phase
	spared atomic.Int64 // creates that are let through
}

// reach tells that a create has come to a phase. If the gateway is killed for it, reach returns true
// once the gateway has ended.
func (g *gateway) reach(p phase) bool {
	t := g.trap.Load()
	if t == nil || t.phase != p || t.spared.Add(-1) >= 0 || !g.trap.CompareAndSwap(t, nil) {
		return false
	}
	g.killNow()
	// The log's reader gets here as well, and waits for no end: it has to read on until then.
	if p != recorded && p != stored {
		g.kill()
	}
	return true
}

// killNow kills the gateway and does not wait.
func (g *gateway) killNow() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.process.Process.Kill()
}

// killAt kills the gateway when a create comes to a phase that fewer than most others came to before,
// or else after a second. It returns the phase that it was, once the gateway has ended.
func (g *gateway) killAt(ctx context.Context, p phase, most int) phase {
	if p == anytime {
		time.Sleep(rand.N(200 * time.Millisecond))
		g.kill()
		return anytime
	}
	t := &trap{phase: p}
	t.spared.Store(int64(rand.IntN(most)))
	g.trap.Store(t)
	if p == recording {
		go g.watchJournal(t)
	}
	select {
	case <-g.ended:
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	if g.trap.CompareAndSwap(t, nil) {
		p = anytime
	}
	g.kill()
	return p
}

// watchJournal looks for changes of the journal's write-ahead log, until the trap is gone.
func (g *gateway) watchJournal(t *trap) {
	var last time.Time
	for g.trap.Load() == t {
		if info, err := os.Stat(g.journal + "-wal"); err == nil && !info.ModTime().Equal(last) {
			if !last.IsZero() {
				g.reach(recording)
			}
			last = info.ModTime()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// restartEvery is after how many kills one comes while the gateway starts again.
const restartEvery = 10

// killGateways kills gateways and starts them again, evenly over all creates.
func (r *trial) killGateways(ctx context.Context) error {
	phases := phasesOf(r.journal)
	most := 1 + min(20, r.creates/max(1, r.kills)/r.gateways/4)
	for n := int64(0); n < int64(r.kills); n = r.killed.Load() {
		if err := r.await(ctx, n, r.kills); err != nil {
			return err
		}
		g := r.fleet[rand.IntN(len(r.fleet))]
		r.begun.Store(n + 1)
		r.caught[g.killAt(ctx, phases[n%int64(len(phases))], most)]++
		n = r.killed.Add(1)
		if n%restartEvery == 0 && n < int64(r.kills) {
			if err := g.start(); err != nil {
				return err
			}
			time.Sleep(rand.N(200 * time.Millisecond))
			g.kill()
			r.killed.Add(1)
			r.caught[starting]++
		}
		if err := g.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killServer kills PostgreSQL and starts it again, evenly over all creates.
func (r *trial) killServer(ctx context.Context) error {
	for i := range int64(r.serverKills) {
		if err := r.await(ctx, i, r.serverKills); err != nil {
			return err
		}
		r.server.Kill()
		r.serverKilled.Add(1)
		time.Sleep(rand.N(time.Second))
		if err := r.server.Resume(); err != nil {
			return fmt.Errorf("PostgreSQL was killed and does not start: %w", err)
		}
	}
	return nil
}

// await waits until it is time for one of some kills: when as large a part of all creates has been
// answered.
func (r *trial) await(ctx context.Context, kill int64, kills int) error {
	return poll(ctx, func() bool { return r.answered.Load() >= kill*int64(r.creates)/int64(kills) })
}

// awaitKills waits until it is time for a create, so that some come while each kill waits for them.
// Creates whose gateway was killed, which all workers may wait for, hold no kill up.
func (r *trial) awaitKills(ctx context.Context, number int) error {
	return poll(ctx, func() bool {
		begun := int(r.begun.Load())
		return begun >= r.kills || number <= r.workers+begun*r.creates/r.kills
	})
}

// poll waits until a condition holds.
func poll(ctx context.Context, holds func() bool) error {
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return ctx.Err()
}
