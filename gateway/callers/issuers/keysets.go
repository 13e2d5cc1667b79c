package issuers

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// KeySets are the keys of issuers that are fetched. They outlive a configuration: one KeySets
// serves all configurations of a process. It may be used from several goroutines.
type KeySets struct {
	// Tell, if not nil, is called with the first of several fetches of an issuer's keys that fail in
	// a row, and once one succeeds. It is set before the first Keep.
	Tell func(State)

	mu     sync.Mutex
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	sets   map[source]*keySet // of the configuration in force
	states []*issuer          // of the configuration in force, in its order
	wg     sync.WaitGroup
}

// A State is what became of the keys of an issuer.
type State struct {
	// Issuer is its name.
	Issuer string
	// Age is the time since the keys were fetched; negative where they never were.
	Age time.Duration
	// Err is why the last fetch failed; nil if it did not.
	Err error
}

// NewKeySets returns KeySets that fetch nothing until [KeySets.Keep].
func NewKeySets() *KeySets {
	ctx, cancel := context.WithCancel(context.Background())
	return &KeySets{ctx: ctx, cancel: cancel, sets: map[source]*keySet{}}
}

// of returns the keys of an issuer that are fetched. They may be new: then nobody fetches them
// until Keep.
func (k *KeySets) of(i *issuer) *keySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	if set := k.sets[i.source]; set != nil {
		return set
	}
	return newKeySet(i.source)
}

// Keep tells k that a Verifier's configuration is in force: k fetches the keys of its issuers, and
// those of no others.
func (k *KeySets) Keep(v *Verifier) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.sets
	k.sets, k.states = map[source]*keySet{}, nil
	for _, i := range v.set.list {
		if i.keys != nil {
			continue
		}
		set := v.sets[i]
		k.sets[i.source] = set
		k.states = append(k.states, i)
		set.every(i.Refresh)
		if before[i.source] == set {
			delete(before, i.source)
			continue
		}
		var ctx context.Context
		ctx, set.stop = context.WithCancel(k.ctx)
		if ctx.Err() != nil { // k is closed
			set.end()
			continue
		}
		set.begin() // whoever comes from now on waits for the first fetch
		k.wg.Go(func() { set.run(ctx, k.Tell) })
	}
	for _, set := range before {
		set.stop()
	}
}

// States returns how old the keys are that are fetched, in the order of the configuration in
// force.
func (k *KeySets) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := make([]State, len(k.states))
	for n, i := range k.states {
		states[n] = State{Issuer: i.Name, Age: -1}
		if keys := k.sets[i.source].keys.Load(); keys != nil {
			states[n].Age = time.Since(keys.at)
		}
	}
	return states
}

// Close ends all fetching, and waits until it has ended. Keys that were fetched stay.
func (k *KeySets) Close() {
	k.mu.Lock()
	k.cancel()
	k.mu.Unlock()
	k.wg.Wait()
}

// The pauses after a fetch that failed begin with minPause, double, and end at maxPause.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// keySet has the keys of one source. One goroutine fetches them; whoever looks for a key only
// reads, or waits for that goroutine.
type keySet struct {
	fetcher *fetcher
	keys    atomic.Pointer[keys]
	refresh atomic.Int64  // a time.Duration
	wake    chan struct{} // holds one: fetch at once
	stop    context.CancelFunc

	mu    sync.Mutex
	asked time.Time     // when an unknown key last caused a fetch
	ended bool          // nobody fetches any more
	round chan struct{} // closed when the fetch has ended that is under way or about to begin; nil if none is
}

func newKeySet(s source) *keySet {
	set := &keySet{fetcher: newFetcher(s), wake: make(chan struct{}, 1)}
	set.refresh.Store(int64(time.Hour))
	return set
}

// every sets the time between two fetches. If it is shorter than before, a fetch is due now.
func (s *keySet) every(refresh time.Duration) {
	if before := time.Duration(s.refresh.Swap(int64(refresh))); refresh < before {
		s.due()
	}
}

func (s *keySet) due() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// current returns the keys, unless they were fetched longer ago than keep.
func (s *keySet) current(keep time.Duration) *keys {
	keys := s.keys.Load()
	if keys == nil || time.Since(keys.at) > keep {
		return nil
	}
	return keys
}

// missed notes that a token names a key that the set does not have. It returns what is closed when
// the fetch has ended that may bring the key, and nil where the interval allows none. Where there
// are no keys at all, they are being asked for already.
func (s *keySet) missed(interval time.Duration) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round != nil {
		return s.round
	}
	now := time.Now()
	if s.ended || s.keys.Load() == nil || !s.asked.IsZero() && now.Sub(s.asked) < interval {
		return nil
	}
	s.asked = now
	s.round = make(chan struct{})
	s.due()
	return s.round
}

// run fetches the keys until the context ends.
func (s *keySet) run(ctx context.Context, tell func(State)) {
	defer s.end()
	failing, pause := false, minPause
	for ctx.Err() == nil {
		s.begin()
		fetched, err := s.fetcher.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		refresh := time.Duration(s.refresh.Load())
		next := refresh
		if err == nil {
			fetched.at = time.Now()
			s.keys.Store(fetched)
			pause = minPause
		} else {
			next = min(pause, refresh)
			pause = min(2*pause, maxPause)
		}
		if failing != (err != nil) {
			failing = err != nil
			if tell != nil {
				tell(s.state(err))
			}
		}
		s.finish()
		// Jitter keeps the replicas of a gateway from asking at the same time.
		timer := time.NewTimer(next - rand.N(next/8+1))
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (s *keySet) state(err error) State {
	state := State{Issuer: s.fetcher.name, Age: -1, Err: err}
	if keys := s.keys.Load(); keys != nil {
		state.Age = time.Since(keys.at)
	}
	return state
}

// begin and finish enclose a fetch.
func (s *keySet) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round == nil {
		s.round = make(chan struct{})
	}
	select {
	case <-s.wake: // this fetch is the one that is due
	default:
	}
}

func (s *keySet) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.finish()
}

func (s *keySet) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round != nil {
		close(s.round)
		s.round = nil
	}
}
