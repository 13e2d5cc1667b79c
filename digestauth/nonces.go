package digestauth

import (
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// A NonceVerdict is what a server makes of a nonce and its count.
type NonceVerdict uint8

// The verdicts. Whichever is not NonceGood, the client is to try again with the nonce of the 401's own challenge.
const (
	// NonceGood lets the request in.
	NonceGood NonceVerdict = iota
	// NonceUnknown: never issued here, or so long ago that it was forgotten.
	NonceUnknown
	// NonceExpired: issued longer ago than the lifetime.
	NonceExpired
	// NonceSpent: used as often as a nonce may be.
	NonceSpent
	// NonceReplayed: the count was seen before or, where it must rise, did not rise.
	NonceReplayed
	// NonceRefused: nothing is wrong; the policy refuses a share of the good ones.
	NonceRefused
)

var verdictNames = [...]string{"good", "unknown", "expired", "spent", "replayed", "refused"}

// String returns the verdict in one word, such as "expired".
func (v NonceVerdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "invalid"
}

// A NoncePolicy says how long and how often a nonce may be used. The zero policy lets the last 4,096 nonces be used for
// ever, with any count that did not occur before.
type NoncePolicy struct {
	// Max is how many nonces are remembered; when one more is issued, the oldest is forgotten. 0 means 4,096.
	Max int
	// Lifetime is how long a nonce is good for after it was issued. 0 means for ever.
	Lifetime time.Duration
	// Uses is how many requests a nonce is good for. 0 means any number, 1 makes every nonce single-use.
	Uses int
	// Rising demands that each count is greater than every earlier one on its nonce. Otherwise a count may come late, up to 63
	// behind the greatest, but not twice. Gaps are always allowed, at the start as well.
	Rising bool
	// Refuse is the share of good nonces that is refused all the same, 0 to 1. Such a nonce stays refused.
	Refuse float64
	// Rand returns numbers from 0 to 1 (exclusive), independent and evenly spread, for Refuse. Nil means math/rand/v2's.
	Rand func() float64
}

func (p *NoncePolicy) random() float64 {
	if p.Rand == nil {
		return mathrand.Float64()
	}
	return p.Rand()
}

// Nonces issues a server's nonces and remembers their counts, in memory. Whoever asks is issued one, so that a flood of
// questions makes it forget the nonces of honest clients early; that costs those clients a second request, never a failure.
// It may be used from several goroutines.
type Nonces struct {
	now func() time.Time

	mu     sync.Mutex
	policy NoncePolicy
	issued map[string]*issuedNonce
	order  []*issuedNonce // oldest first
}

type issuedNonce struct {
	value   string
	at      time.Time
	uses    int
	highest uint32 // greatest count seen
	seen    uint64 // bit i: the count highest-i was seen
	refused bool
}

// NewNonces returns an empty store. The clock is time.Now when now is nil.
func NewNonces(policy NoncePolicy, now func() time.Time) *Nonces {
	if now == nil {
		now = time.Now
	}
	return &Nonces{now: now, policy: policy, issued: make(map[string]*issuedNonce)}
}

// SetPolicy changes the policy, also for the nonces that were issued under another.
func (n *Nonces) SetPolicy(policy NoncePolicy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policy = policy
	n.forget(n.max())
}

// Forget makes every nonce unknown, as a restart of the server does.
func (n *Nonces) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(0)
}

// Issue returns a new nonce: 32 hexadecimal digits, all of them random.
func (n *Nonces) Issue() string {
	var random [16]byte
	rand.Read(random[:]) // never fails
	v := &issuedNonce{value: hex.EncodeToString(random[:]), at: n.now()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(n.max() - 1)
	n.issued[v.value] = v
	n.order = append(n.order, v)
	return v.value
}

// Check judges a request that came with this nonce and count, and counts it when both are good. Call it for requests
// whose response was right, so that nobody else can use up a nonce. It fits [Verifier.CheckNonce].
func (n *Nonces) Check(nonce string, nc uint32) NonceVerdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, p := n.issued[nonce], n.policy
	switch {
	case v == nil:
		return NonceUnknown
	case p.Lifetime > 0 && n.now().Sub(v.at) >= p.Lifetime:
		return NonceExpired
	case p.Uses > 0 && v.uses >= p.Uses:
		return NonceSpent
	case !v.fits(nc, p.Rising):
		return NonceReplayed
	case v.refused:
		return NonceRefused
	case p.Refuse > 0 && p.random() < p.Refuse:
		v.refused = true
		return NonceRefused
	}
	v.uses++
	v.count(nc)
	return NonceGood
}

// fits reports whether nc may come next.
func (v *issuedNonce) fits(nc uint32, rising bool) bool {
	if nc > v.highest {
		return true
	}
	behind := v.highest - nc
	return !rising && nc > 0 && behind < 64 && v.seen>>behind&1 == 0
}

func (v *issuedNonce) count(nc uint32) {
	if nc > v.highest {
		v.seen <<= nc - v.highest // all out when the gap is 64 or more
		v.highest = nc
	}
	v.seen |= 1 << (v.highest - nc)
}

func (n *Nonces) max() int {
	if n.policy.Max <= 0 {
		return 4096
	}
	return n.policy.Max
}

// forget drops the oldest nonces until at most keep are left.
func (n *Nonces) forget(keep int) {
	for len(n.order) > keep {
		delete(n.issued, n.order[0].value)
		n.order[0] = nil
		n.order = n.order[1:]
	}
}
