package atlas

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/secret"
)

// A pair is the two halves of a credential.
type pair struct {
	account bool
	id      string
	secret  secret.Secret
}

func (p pair) equal(q pair) bool {
	return p.account == q.account && p.id == q.id && p.secret.Equal(q.secret)
}

// halfOf reports whether p has one half of q, so that the other half has not been written yet. A
// new API key has two new halves, and a new service account too. A service account may also have
// a new secret, which is whole.
func (p pair) halfOf(q pair) bool {
	sameID, sameSecret := p.id == q.id, p.secret.Equal(q.secret)
	return p.account == q.account && (sameSecret && !sameID || sameID && !sameSecret && !p.account)
}

// A signing is a pair that signs.
type signing struct {
	pair
	identity uint64 // of this signing, in this process
	signer   signer
	since    time.Time
	works    atomic.Bool // Atlas has accepted the pair, and has not refused it since
}

// Waiting says why a pair that the configuration has does not sign yet.
type Waiting string

// The reasons.
const (
	// WaitingNot: the pair that the configuration has signs.
	WaitingNot Waiting = ""
	// WaitingHalf: only one half of the pair is new.
	WaitingHalf Waiting = "half"
	// WaitingRefused: Atlas refuses the pair.
	WaitingRefused Waiting = "refused"
	// WaitingUntried: Atlas has not told yet whether it accepts the pair.
	WaitingUntried Waiting = "untried"
)

// CredentialState says which pair of a credential signs, and whether another one waits for its
// place.
type CredentialState struct {
	// Name is the name of the credential, such as "upstream.credentials[0]".
	Name string
	// ID is the public key or client id of the pair that signs, and Offered that of the pair that
	// waits, both as [secret.ShowID] shows them.
	ID, Offered string
	// Since is when the pair began to sign.
	Since time.Time
	// Waiting is why the other pair does not sign yet.
	Waiting Waiting
	// Awaited names the half that is still to come, such as "private key", for WaitingHalf.
	Awaited string
	// Cause is why Atlas refuses the pair that waits, or why that is not known.
	Cause error
	// Retry is after how long the pair that waits is tried again.
	Retry time.Duration
}

// A rotation is one credential over time. It outlives a configuration. A pair takes another one's
// place only once Atlas has accepted it; until then the other one signs. Therefore neither half a
// pair nor a wrong one stops the gateway. While Atlas refuses the pair, or does not answer, it is
// tried again and again, and at once when Atlas refuses the pair that signs.
type rotation struct {
	way     *way
	tell    func(CredentialState)
	current atomic.Pointer[signing]

	mu      sync.Mutex
	name    string
	offered *offer // nil if no other pair waits
	retired bool   // no configuration in force has the credential
}

// An offer is a pair that waits.
type offer struct {
	pair
	waiting Waiting
	cause   error
	trying  chan struct{} // closed at the end of the try under way; nil if there is none
	next    time.Time     // when it may be tried again
	pause   time.Duration // behind the next try
}

// minPause and maxPause are the first and the longest pause before a pair is tried again.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// newRotation returns a rotation whose first pair signs at once, since there is none before it.
func newRotation(w *way, tell func(CredentialState), first pair) (*rotation, error) {
	s, err := w.signing(first)
	if err != nil {
		return nil, err
	}
	r := &rotation{way: w, tell: tell}
	r.current.Store(s)
	return r, nil
}

// over returns a rotation that goes on with the pair that signs, by itself, over w.
func (r *rotation) over(w *way) (*rotation, error) {
	before := r.current.Load()
	again, err := newRotation(w, r.tell, before.pair)
	if err == nil {
		s := again.current.Load()
		s.since = before.since
		s.works.Store(before.works.Load())
	}
	return again, err
}

// configure takes the name and the pair that the configuration in force has. samePlace means that
// the pair that signs was read from the same place.
func (r *rotation) configure(name string, p pair, samePlace bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current, known := r.current.Load(), r.name != "" && r.offered == nil
	r.name = name
	if p.equal(current.pair) {
		if r.offered = nil; !known {
			r.tell(r.state())
		}
		return
	}
	r.offer(p)
	if samePlace && p.halfOf(current.pair) && current.works.Load() {
		r.offered.waiting = WaitingHalf
		r.tell(r.state())
		return
	}
	r.try()
}

// offer lets a pair wait, unless it waits already. r.mu is held.
func (r *rotation) offer(p pair) {
	if r.offered == nil || !r.offered.equal(p) {
		r.offered = &offer{pair: p, waiting: WaitingUntried, pause: minPause}
	}
}

// try begins to try the pair that waits, unless that is under way. r.mu is held.
func (r *rotation) try() {
	if o := r.offered; o.trying == nil {
		o.trying = make(chan struct{})
		go r.ask(o)
	}
}

// ask asks Atlas whether it accepts the pair that waits, and lets it sign if Atlas does.
func (r *rotation) ask(o *offer) {
	s, err := r.way.signing(o.pair)
	if err != nil {
		panic(err) // the pair that signs was made with the same settings
	}
	answer := r.way.ask(context.Background(), s.signer)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(o.trying)
	defer func() { o.trying = nil }()
	if r.offered != o {
		return // the configuration has another pair by now
	}
	current := r.current.Load()
	switch {
	case answer.Verdict == Accepted:
		s.works.Store(true)
		s.since = time.Now()
		r.current.Store(s)
		r.offered = nil
		r.tell(r.state())
		return
	case answer.Verdict == Undecided:
		o.waiting = WaitingUntried
	case o.halfOf(current.pair):
		o.waiting = WaitingHalf
	default:
		o.waiting = WaitingRefused
	}
	o.cause, o.next = answer.Err, time.Now().Add(max(o.pause, answer.RetryAfter))
	o.pause = min(2*o.pause, maxPause)
	r.tell(r.state())
}

// retry tries the pair that waits if its pause is over, and if it is more than half a pair.
func (r *rotation) retry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.offered; o != nil && o.waiting != WaitingHalf && !time.Now().Before(o.next) {
		r.try()
	}
}

// replace is called when Atlas refuses the pair that signs. It tries the pair that its files hold
// now, or the one that waits, and reports whether another pair signs. The error is that of
// reading.
func (r *rotation) replace(ctx context.Context, c *Credential, refused *signing) (replaced bool, err error) {
	refused.works.Store(false)
	id, half, err := c.Read()
	r.mu.Lock()
	if now := (pair{c.Account, id, half}); err == nil && !now.equal(refused.pair) && !r.retired && r.current.Load() == refused {
		r.offer(now)
	}
	var trying chan struct{}
	if o := r.offered; o != nil && r.current.Load() == refused {
		if !time.Now().Before(o.next) {
			r.try()
		}
		trying = o.trying
	}
	r.mu.Unlock()
	if trying != nil {
		select {
		case <-trying:
		case <-ctx.Done():
		}
	}
	return r.current.Load() != refused, err
}

// retire ends a rotation that no configuration in force has.
func (r *rotation) retire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired, r.offered = true, nil
}

// state returns the state. r.mu is held.
func (r *rotation) state() CredentialState {
	current := r.current.Load()
	state := CredentialState{Name: r.name, ID: secret.ShowID(current.id), Since: current.since}
	o := r.offered
	if o == nil {
		return state
	}
	state.Waiting, state.Offered = o.waiting, secret.ShowID(o.id)
	if o.waiting == WaitingHalf {
		state.Awaited = awaited(current.pair, o.pair)
	} else {
		state.Cause, state.Retry = o.cause, max(time.Until(o.next), 0)
	}
	return state
}

// awaited names the half of a pair that is still the one of the pair before.
func awaited(before, offered pair) string {
	names := [2]string{"public key", "private key"}
	if offered.account {
		names = [2]string{"client id", "client secret"}
	}
	if before.id == offered.id {
		return names[0]
	}
	return names[1]
}
