package callers

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"

	"atlas-export-gateway/digestauth"
)

// A nonce is 24 bytes: the time of issue in milliseconds since 1970, random bytes, and a signature
// of both. Base64 turns them into 32 characters, the length of Atlas's nonces.
type nonce [nonceSize]byte

const (
	nonceTime   = 6
	nonceRandom = 6
	nonceSize   = 24
)

// nonceAhead is how far ahead the clock of another process that issued a nonce or a token may be. Once a key
// pair's nonces from such a process fill the memory, those issued here can be refused for as long.
const nonceAhead = 5 * time.Second

// nonces issues nonces and judges those that come back.
type nonces struct {
	keys     []signingKey // the first signs
	lifetime time.Duration
	counts   *counts
	timeline *timeline
	now      func() time.Time
}

func (s *nonces) issue() string {
	var n nonce
	at, _ := s.timeline.read(s.now())
	binary.BigEndian.PutUint64(n[:], uint64(at.UnixMilli())<<16)
	rand.Read(n[nonceTime : nonceTime+nonceRandom]) // never fails
	n.sign(&s.keys[0])
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

// issued returns the time of issue, in milliseconds since 1970.
func (n nonce) issued() int64 { return int64(binary.BigEndian.Uint64(n[:]) >> 16) }

// check judges the nonce and the count of a key pair's credential that is right otherwise. When
// both are good, it notes the count as used.
func (s *nonces) check(pair hash, text string, nc uint32) digestauth.NonceVerdict {
	var n nonce
	if len(text) != base64.URLEncoding.EncodedLen(nonceSize) {
		return digestauth.NonceUnknown
	}
	if _, err := base64.URLEncoding.Strict().Decode(n[:], []byte(text)); err != nil {
		return digestauth.NonceUnknown
	}
	ours := false
	for i := range s.keys {
		ours = n.signedBy(&s.keys[i]) || ours
	}
	now, issued := s.now(), time.UnixMilli(n.issued())
	at, _ := s.timeline.read(now)
	expiry := issued.Add(s.lifetime)
	switch {
	case !ours:
		return digestauth.NonceUnknown
	case !lasts(now, issued, expiry) && !lasts(at, issued, expiry):
		return digestauth.NonceExpired
	}
	return s.counts.use(pair, n, nc)
}
