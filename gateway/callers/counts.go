package callers

import (
	"sync"

	"atlas-export-gateway/digestauth"
)

// maxNonces bounds the nonces whose counts are remembered, of less than 200 bytes each and so 13 MB
// in all. Most clients use a nonce for one request, so that this is 200 requests a second for a
// lifetime of 5 minutes.
const maxNonces = 1 << 16

// counts remembers which counts of which nonces each key pair used. Only callers that know their
// key add to it. Beyond its bound it takes room from the key pair that has the most nonces: one
// among N that has no more than the Nth part loses nothing, however many the others use. It
// forgets no nonce for its age alone, since a new configuration may make the lifetime longer.
type counts struct {
	max int // nonces remembered, of all key pairs

	mu    sync.Mutex
	known int // nonces remembered
	pairs map[hash]*used
}

// use notes a count of a nonce as used by a key pair.
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

// fullest returns the key pair with the most nonces: that which asks, if none has more.
func (c *counts) fullest(asks *used) *used {
	most := asks
	for _, u := range c.pairs {
		if len(u.windows.order) > len(most.windows.order) {
			most = u
		}
	}
	return most
}

// keep makes room by forgetting the nonces of all other key pairs. One that comes back is
// challenged again.
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
	floor   int64 // nonces issued up to then are refused, unless they are remembered
}

// forget forgets the oldest nonce. From then on all that were issued no later are refused, so that
// nothing forgotten can be replayed.
func (u *used) forget() { u.floor = max(u.floor, u.windows.drop()) }

// windowSize is how far a count may be behind the greatest that was used of its nonce. Clients
// that share a nonce among their connections send counts out of order.
const windowSize = 256

// window has a bit for each of the last counts up to the greatest, at its remainder.
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
