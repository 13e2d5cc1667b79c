package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/sim"
)

// failure is how Atlas fails.
type failure struct {
	name  string
	group string // for whom; empty for all
	do    func(w http.ResponseWriter, r *http.Request)
}

var failures = []failure{
	{"resets connections", "", func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}},
	{"answers 503", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
	{"hangs for one group", sim.GroupID, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	{"hangs", "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
}

// timeout is timeouts.upstream of the gateway.
const timeout = 20 * time.Second

// outage has Atlas fail in several ways, one after the other.
func outage(ctx context.Context, o options, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "limits")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	atlas, err := sim.New(sim.Config{Settings: sim.Settings{CountsOnly: true}})
	if err != nil {
		return err
	}
	defer atlas.Close()
	var now atomic.Pointer[failure] // how Atlas fails now; nil if it does not
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := now.Load(); f != nil && strings.Contains(r.URL.Path, f.group) {
			f.do(w, r)
			return
		}
		atlas.API().ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	defer server.Close()
	list := newCallers("a", "b")
	g, err := startGateway(ctx, o.gateway, dir, "gateway", "http://"+listener.Addr().String(), fmt.Sprintf("timeouts: {upstream: %s}\n", timeout), list)
	if err != nil {
		return err
	}
	defer g.stop()
	lasts := time.Duration(o.minutes * float64(time.Minute) / float64(len(failures)))
	if err := settle(ctx, g, list); err != nil {
		return err
	}
	var bad []error
	for i := range failures {
		p := &phase{failure: &failures[i], gateway: g, list: list, statuses: map[string]int{}}
		bad = append(bad, p.run(ctx, &now, lasts, stdout))
	}
	return errors.Join(bad...)
}

// settle makes a few requests, so that what the first ones take is not counted.
func settle(ctx context.Context, g *gateway, list []caller) error {
	for n := range 100 {
		if got, err := g.send(ctx, newClient(), list[n%2], http.MethodGet, buckets, "", ""); err != nil || got.status != http.StatusOK {
			return fmt.Errorf("before the outage: %d %s: %v", got.status, got.body, err)
		}
	}
	return nil
}

// phase is one outage.
type phase struct {
	*failure
	gateway *gateway
	list    []caller

	mu       sync.Mutex
	statuses map[string]int // of reads of the failing group, with the kind
	longest  time.Duration
	others   time.Duration // the longest that a read of another group took, where only one fails
	wrong    error
}

// size is what the gateway takes.
type size struct{ goroutines, memory float64 }

func (p *phase) size() (s size, err error) {
	http.DefaultClient.CloseIdleConnections()
	if s.goroutines, err = p.gateway.gauge("go_goroutines"); err == nil {
		s.memory, err = p.gateway.gauge("process_resident_memory_bytes")
	}
	return s, err
}

func (p *phase) run(ctx context.Context, now *atomic.Pointer[failure], lasts time.Duration, stdout io.Writer) error {
	before, err := p.size()
	if err != nil {
		return err
	}
	client := newClient()
	now.Store(p.failure)
	p.load(ctx, client, lasts)
	now.Store(nil)
	back := time.Now()
	for ctx.Err() == nil {
		got, err := p.gateway.send(ctx, client, p.list[0], http.MethodGet, buckets, "", "")
		if err == nil && got.status == http.StatusOK {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	recovered := time.Since(back)
	client.CloseIdleConnections()
	time.Sleep(time.Second)
	after, err := p.size()
	if err != nil {
		return err
	}
	answered := ""
	for _, status := range slices.Sorted(maps.Keys(p.statuses)) {
		answered += fmt.Sprintf(" %s: %d,", status, p.statuses[status])
	}
	fmt.Fprintf(stdout, "Atlas %s for %s:%s waiting for %.1f s at most; back after %.1f s; other groups waited for %.2f s; goroutines %.0f to %.0f, memory %.0f to %.0f MiB\n",
		p.name, lasts.Round(time.Second), answered, p.longest.Seconds(), recovered.Seconds(), p.others.Seconds(), before.goroutines, after.goroutines, before.memory/(1<<20), after.memory/(1<<20))
	var bad []error
	must := func(good bool, what string) {
		if !good {
			bad = append(bad, fmt.Errorf("while Atlas %s: %s", p.name, what))
		}
	}
	must(recovered < 5*time.Second, "it took more than 5 s to recover")
	must(p.longest < timeout+5*time.Second, "callers waited for longer than they may")
	must(p.others < 2*time.Second, "other groups waited")
	must(after.goroutines <= before.goroutines+30, "goroutines grow")
	must(after.memory <= before.memory+(64<<20), "memory grows")
	return errors.Join(append(bad, p.wrong, ctx.Err())...)
}

// load reads the failing group 40 times a second, and another one twice a second.
func (p *phase) load(ctx context.Context, client *http.Client, lasts time.Duration) {
	var working sync.WaitGroup
	begin := time.Now()
	for n := 0; time.Since(begin) < lasts && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(begin.Add(time.Duration(n) * 25 * time.Millisecond)))
		working.Go(func() {
			got, err := p.gateway.send(ctx, client, p.list[0], http.MethodGet, fmt.Sprintf("%s?itemsPerPage=%d", buckets, 1+n%500), "", "")
			p.mu.Lock()
			defer p.mu.Unlock()
			if err != nil || got.status < 500 && got.status != http.StatusOK {
				p.wrong = fmt.Errorf("a caller got %d %s: %v", got.status, got.body, err)
			}
			p.statuses[strings.TrimSpace(fmt.Sprint(got.status, " ", got.kind))]++
			p.longest = max(p.longest, got.took)
		})
		if p.group == "" || n%20 > 0 {
			continue
		}
		working.Go(func() {
			got, err := p.gateway.send(ctx, client, p.list[1], http.MethodGet, others, "", "")
			p.mu.Lock()
			defer p.mu.Unlock()
			if err != nil || got.status != http.StatusOK {
				p.wrong = fmt.Errorf("another group got %d %s: %v", got.status, got.body, err)
			}
			p.others = max(p.others, got.took)
		})
	}
	working.Wait()
}
