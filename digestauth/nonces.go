package digestauth

import (
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// A NonceVerdict is a server's decision about a nonce and its count.
type NonceVerdict uint8

// The verdicts. After each of them except NonceGood, the client should try again with the nonce
// of the 401's challenge.
const (
	// NonceGood: the request is admitted.
	NonceGood NonceVerdict = iota
	// NonceUnknown: the server never issued it, or has forgotten it.
	NonceUnknown
	// NonceExpired: the server issued it longer ago than the lifetime.
	NonceExpired
	// NonceSpent: it was used as often as a nonce may be used.
	NonceSpent
	// NonceReplayed: the count occurred before or, if counts must rise, did not rise.
	NonceReplayed
	// NonceRefused: nothing is wrong, but the policy refuses a share of the good nonces.
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

// A NoncePolicy says how long and how often a nonce may be used. With the zero policy, the last
// 4,096 nonces may be used for ever, with any count that did not occur before.
type NoncePolicy struct {
	// Max is how many nonces are remembered. When one more is issued, the oldest is forgotten. 0
	// means 4,096.
	Max int
	// Lifetime is how long a nonce is good after it was issued. 0 means for ever.
	Lifetime time.Duration
	// Uses is how many requests a nonce is good for. 0 means any number; with 1, each nonce is
	// good for one request.
	Uses int
	// Rising requires that each count is greater than all earlier ones of its nonce. Otherwise a
	// count may come late, up to 63 behind the greatest, but not twice. Gaps are always allowed,
	// also at the start.
	Rising bool
	// Refuse is the share of good nonces that are refused, 0 to 1. Such a nonce stays refused.
	Refuse float64
	// Rand returns independent, uniform random numbers from 0 to 1 (exclusive), for Refuse. Nil
	// means those of math/rand/v2.
	Rand func() float64
}

func (p *NoncePolicy) random() float64 {
	if p.Rand == nil {
		return mathrand.Float64()
	}
	return p.Rand()
}

// Nonces issues the nonces of a server and remembers their counts, in memory. It issues a nonce
// for every request that asks for one. A flood of such requests therefore makes it forget the
// nonces of honest clients early, which costs those clients a second request and never a failure.
// Nonces may be used from several goroutines.
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
	highest uint32 // the greatest count that occurred
	seen    uint64 // bit i: the count highest-i occurred
	refused bool
}

// NewNonces returns a store without nonces. If now is nil, the clock is time.Now.
func NewNonces(policy NoncePolicy, now func() time.Time) *Nonces {
	if now == nil {
		now = time.Now
	}
	return &Nonces{now: now, policy: policy, issued: make(map[string]*issuedNonce)}
}

// SetPolicy changes the policy, also for nonces that were issued under another.
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

// Check decides about a request with this nonce and count, and counts the request if both are
// good. It is for [Verifier.CheckNonce]. Call it only for requests whose response was right, so
// that nobody else can use up a nonce.
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
		v.seen <<= nc - v.highest // leaves 0 if the gap is 64 or more
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
