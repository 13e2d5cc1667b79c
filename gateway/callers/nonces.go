package callers

import (
	"container/heap"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"atlas-export-gateway/digestauth"
)

// A nonce is 24 bytes, which base64 turns into 32 characters, as many as Atlas's have:
// the time of issue in milliseconds since 1970, random bytes, and a signature of both.
type nonce [nonceSize]byte

const (
	nonceTime   = 6
	nonceRandom = 6
	nonceSize   = 24
)

// nonceAhead is by how much the clock of another process that issued a nonce may be ahead. It
// is also for how long a key pair's nonces issued here can be refused once those of such a
// process fill the memory.
const nonceAhead = 5 * time.Second

func (a *Authenticator) issueNonce() string {
	var n nonce
	binary.BigEndian.PutUint64(n[:], uint64(a.now().UnixMilli())<<16)
	rand.Read(n[nonceTime : nonceTime+nonceRandom]) // never fails
	n.sign(&a.keys[0])
	return base64.URLEncoding.EncodeToString(n[:])
}

func (n *nonce) sign(key *signingKey) {
	signed := nonceTime + nonceRandom
	copy(n[signed:], mac([]byte(key.nonces.Reveal()), n[:signed]))
}

func (n nonce) signedBy(key *signingKey) bool {
	ours := n
	ours.sign(key)
	return hmac.Equal(ours[:], n[:])
}

// issued is when the nonce was, in milliseconds since 1970.
func (n nonce) issued() int64 { return int64(binary.BigEndian.Uint64(n[:]) >> 16) }

// checkNonce judges a nonce and its count, of a key pair's credential that is right otherwise, and
// notes the count as used when both are good.
func (a *Authenticator) checkNonce(pair hash, text string, nc uint32) digestauth.NonceVerdict {
	var n nonce
	if len(text) != base64.URLEncoding.EncodedLen(nonceSize) {
		return digestauth.NonceUnknown
	}
	if _, err := base64.URLEncoding.Strict().Decode(n[:], []byte(text)); err != nil {
		return digestauth.NonceUnknown
	}
	ours := false
	for i := range a.keys {
		ours = n.signedBy(&a.keys[i]) || ours
	}
	age := a.now().Sub(time.UnixMilli(n.issued()))
	switch {
	case !ours:
		return digestauth.NonceUnknown
	case age >= a.settings.NonceLifetime || age < -nonceAhead:
		return digestauth.NonceExpired
	}
	return a.memory.counts.use(pair, n, nc)
}

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

// aging is a map whose oldest keys can be dropped.
type aging[K comparable, V any] struct {
	values map[K]V
	order  ages[K]
}

func (a *aging[K, V]) add(key K, value V, at int64) {
	if a.values == nil {
		a.values = map[K]V{}
	}
	a.values[key] = value
	heap.Push(&a.order, age[K]{key, at})
}

// drop drops the oldest key and returns its time.
func (a *aging[K, V]) drop() int64 {
	oldest := heap.Pop(&a.order).(age[K])
	delete(a.values, oldest.key)
	return oldest.at
}

// dropUntil drops the keys whose time is no later than at.
func (a *aging[K, V]) dropUntil(at int64) {
	for len(a.order) > 0 && a.order[0].at <= at {
		a.drop()
	}
}

type age[K comparable] struct {
	key K
	at  int64
}

// ages is a heap, the oldest first.
type ages[K comparable] []age[K]

func (a ages[K]) Len() int           { return len(a) }
func (a ages[K]) Less(i, j int) bool { return a[i].at < a[j].at }
func (a ages[K]) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *ages[K]) Push(x any)        { *a = append(*a, x.(age[K])) }
func (a *ages[K]) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}
