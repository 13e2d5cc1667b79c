package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"atlas-export-gateway/sim"
)

// loader is the load of a flood, and what came of it.
type loader struct {
	options
	gateways []*gateway
	client   *http.Client

	mu       sync.Mutex
	answered map[string]int // reads, by caller
	refused  int
	creates  []time.Duration // by Atlas's clock
	wrong    error           // an answer that nobody expects
}

// flood has five callers send ten times what Atlas allows.
func flood(ctx context.Context, o options, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "limits")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	begin := time.Now()
	atlas, err := sim.New(sim.Config{
		Now:      func() time.Time { return begin.Add(time.Duration(float64(time.Since(begin)) * o.speed)) },
		Settings: sim.Settings{CountsOnly: true, ParallelExports: true, TokensPerMinute: -1},
	})
	if err != nil {
		return err
	}
	defer atlas.Close()
	if err := atlas.Listen(); err != nil {
		return err
	}
	list := newCallers("a", "b", "c", "d", "e", "creator")
	l := &loader{options: o, client: newClient(), answered: map[string]int{}}
	for n := range o.gateways {
		g, err := startGateway(ctx, o.gateway, dir, fmt.Sprint("gateway", n), atlas.URL(), fmt.Sprintf(
			"budget: {per_minute: %.0f, wait: %s}\ntimeouts: {upstream: %s}\n", 500*o.speed, o.atGateway(20*time.Second), o.atGateway(time.Minute)), list)
		if err != nil {
			return err
		}
		defer g.stop()
		l.gateways = append(l.gateways, g)
	}
	export, err := prepare(ctx, l.gateways[0], list[5])
	if err != nil {
		return err
	}
	l.run(ctx, list, export)
	return errors.Join(ctx.Err(), l.report(atlas.Counts(), stdout))
}

// atGateway returns how long a time of Atlas's clock takes.
func (o options) atGateway(d time.Duration) time.Duration {
	return time.Duration(float64(d) / o.speed)
}

func (l *loader) run(ctx context.Context, list []caller, export string) {
	begin, lasts := time.Now(), l.atGateway(time.Duration(l.minutes*float64(time.Minute)))
	var working sync.WaitGroup
	each := func(pause time.Duration, send func(n int)) {
		working.Go(func() {
			for n := 0; time.Since(begin) < lasts && ctx.Err() == nil; n++ {
				// By the clock, so that a machine that is slow for a moment sends as much.
				time.Sleep(time.Until(begin.Add(time.Duration(n) * l.atGateway(pause))))
				working.Go(func() { send(n) })
			}
		})
	}
	for i, c := range list[:5] {
		each(60*time.Millisecond, func(n int) { // five times a thousand in a minute
			target := fmt.Sprintf("%s?itemsPerPage=%d&pageNum=%d", exports, 1+n%500, 1+n/500*5+i) // one of its own
			got, err := l.gateways[n%len(l.gateways)].send(ctx, l.client, c, http.MethodGet, target, "", "")
			l.count(c.name, got, err)
		})
	}
	each(5*time.Second, func(n int) {
		got, err := l.gateways[n%len(l.gateways)].send(ctx, l.client, list[5], http.MethodPost, exports, export, fmt.Sprint("create-", n))
		l.count("", got, err)
	})
	working.Wait()
}

// count notes an answer to a read of a caller, or to a create.
func (l *loader) count(name string, got answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && got.status == http.StatusOK && name == "":
		l.creates = append(l.creates, time.Duration(float64(got.took)*l.speed))
	case err == nil && got.status == http.StatusOK:
		l.answered[name]++
	case err == nil && name != "" && (got.status == http.StatusTooManyRequests || got.kind == "overloaded"):
		l.refused++
	case l.wrong == nil:
		l.wrong = fmt.Errorf("%q got %d %s: %v", name, got.status, got.body, err)
	}
}

// report writes the line, and returns what is out of bounds.
func (l *loader) report(counts sim.Counts, stdout io.Writer) error {
	sent, limited := counts.Requests-counts.Challenges, counts.ByStatus[http.StatusTooManyRequests]
	var each []int
	for _, n := range l.answered {
		each = append(each, n)
	}
	if len(each) < 5 || len(l.creates) == 0 {
		return fmt.Errorf("no caller may be left out: %v, %d creates; %v", l.answered, len(l.creates), l.wrong)
	}
	slices.Sort(each)
	slices.Sort(l.creates)
	median := l.creates[len(l.creates)/2]
	allowed := 1200 + 500*l.minutes
	share := 100 * float64(limited) / float64(sent)
	fmt.Fprintf(stdout, "%d gateways, %g minutes: %d requests of %.0f allowed, %d of them (%.2f %%) answered 429; each caller got %d to %d; %d creates took %.2f s at the median, %.2f s at most; %d refused by the gateway\n",
		len(l.gateways), l.minutes, sent, allowed, limited, share, each[0], each[4], len(l.creates), median.Seconds(), l.creates[len(l.creates)-1].Seconds(), l.refused)
	var bad []error
	must := func(good bool, what string) {
		if !good {
			bad = append(bad, errors.New(what))
		}
	}
	must(share <= map[bool]float64{true: 1, false: 2}[len(l.gateways) == 1], "too many requests were answered 429")
	must(float64(sent) >= .9*allowed, "less than nine tenths of what Atlas allows was used")
	must(10*each[4] <= 11*each[0], "a caller got more than another")
	must(median <= 2*time.Second, "creates took more than 2 s")
	return errors.Join(append(bad, l.wrong)...)
}
