package callers

import (
	"sync"

	"atlas-export-gateway/digestauth"
)

// maxNonces bounds the nonces whose counts are remembered. Each takes less than 200 bytes, all
// together 13 MB. Most clients use a nonce for one request, so the bound allows 200 requests a
// second with a lifetime of 5 minutes.
const maxNonces = 1 << 16

// counts remembers which counts of which nonces each key pair used. Only callers that know their
// key add to it. At its bound it takes room from the key pair with the most nonces. So, among N
// key pairs, one that has no more than an Nth of the room loses nothing, however many the others
// use. No nonce is forgotten only because it is old: a new configuration may make the lifetime
// longer.
type counts struct {
	max int // of known

	mu    sync.Mutex
	known int // nonces remembered, of all key pairs
	pairs map[hash]*used
}

// use notes that a key pair used a count of a nonce, unless it is to be refused.
func (c *counts) use(pair hash, n nonce, nc uint32) digestauth.NonceVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.pairs[pair]
	if u == nil {
		u = &used{}
		c.pairs[pair] = u
	}
	w, ok := u.windows.values[n]
	if !ok {
		if c.known >= c.max && n.issued() > u.floor {
			c.fullest(u).forget()
			c.known--
		}
		if n.issued() <= u.floor {
			return digestauth.NonceUnknown
		}
		w = &window{}
		u.windows.add(n, w, n.issued())
		c.known++
	}
	if !w.use(nc) {
		return digestauth.NonceReplayed
	}
	return digestauth.NonceGood
}

// fullest returns the key pair with the most nonces, which is asking if no other has more.
func (c *counts) fullest(asking *used) *used {
	most := asking
	for _, u := range c.pairs {
		if len(u.windows.order) > len(most.windows.order) {
			most = u
		}
	}
	return most
}

// keep forgets the nonces of all other key pairs. A key pair that comes back later is challenged
// again.
func (c *counts) keep(pairs map[hash]keyPair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, u := range c.pairs {
		if _, ok := pairs[id]; ok {
			continue
		}
		for len(u.windows.order) > 0 {
			u.forget()
			c.known--
		}
	}
}

// used are the nonces that a key pair used.
type used struct {
	windows aging[nonce, *window]
	floor   int64 // nonces issued until this time are refused, unless they are remembered
}

// forget forgets the oldest nonce. From then on, every nonce that was issued no later is refused,
// so that a forgotten one can't be replayed.
func (u *used) forget() { u.floor = max(u.floor, u.windows.drop()) }

// windowSize is how far a count may be behind the greatest count that was used of its nonce.
// Clients that share a nonce among their connections send counts out of order.
const windowSize = 256

// window has a bit for each of the last windowSize counts, at the count modulo windowSize.
type window struct {
	greatest uint32
	used     [windowSize / 64]uint64
}

func (w *window) use(nc uint32) bool {
	switch {
	case nc > w.greatest:
		for i := uint32(1); i <= min(nc-w.greatest, windowSize); i++ {
			at := (w.greatest + i) % windowSize
			w.used[at/64] &^= 1 << (at % 64)
		}
		w.greatest = nc
	case w.greatest-nc >= windowSize:
		return false
	}
	at := nc % windowSize
	if w.used[at/64]>>(at%64)&1 != 0 {
		return false
	}
	w.used[at/64] |= 1 << (at % 64)
	return true
}
