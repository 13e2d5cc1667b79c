package digestauth_test

import (
	"testing"

	"atlas-export-gateway/digestauth"
)

// A clock that is set ahead or back by an hour while a Transport has nonces fails no call, and costs
// no more than new nonces.
func TestSetClock(t *testing.T) {
	for _, by := range []int64{-3600, 3600} {
		u := newUpstream(t, digestauth.NoncePolicy{})
		now := &clock{}
		c, _ := u.client(t, func(c *digestauth.Config) {
			u.confirmed(t)(c)
			c.Now = now.now
		})
		for range 3 {
			if failed, example := load(c, u.URL, 16, 160); failed > 0 {
				t.Errorf("set by %d s: %d calls failed: %s", by, failed, example)
			}
			now.seconds.Add(by)
		}
		if failed, example := load(c, u.URL, 16, 160); failed > 0 {
			t.Errorf("set by %d s: %d calls failed: %s", by, failed, example)
		}
		if n := u.requests.Load(); n > 4*(160+16) || u.refused.Load() > 0 {
			t.Errorf("set by %d s: %d requests, %d refused, for 640 calls", by, n, u.refused.Load())
		}
	}
}

// A key that is held back is tried again no later when the clock is set.
func TestSetClockOfABadKey(t *testing.T) {
	for _, confirms := range []bool{false, true} {
		for _, by := range []int64{-3600, 3600} {
			u := newUpstream(t, digestauth.NoncePolicy{})
			now := &clock{}
			c, _ := u.client(t, func(c *digestauth.Config) {
				if confirms {
					u.confirmed(t)(c)
				}
				c.Now = now.now
			})
			u.setKey(password("other"))
			if failed, _ := load(c, u.URL, 4, 16); failed != 16 {
				t.Fatalf("%d of 16 calls failed", failed)
			}
			u.setKey(goodKey)
			now.seconds.Add(by)
			if failed, example := load(c, u.URL, 4, 16); failed > 0 {
				t.Errorf("set by %d s: %d calls failed: %s", by, failed, example)
			}
		}
	}
}
