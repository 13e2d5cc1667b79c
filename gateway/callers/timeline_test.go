package callers_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
)

// setClock is a clock that a test sets while time passes.
type setClock struct {
	wall    time.Time
	elapsed time.Duration
}

func (c *setClock) now() time.Time       { return c.wall }
func (c *setClock) set(by time.Duration) { c.wall = c.wall.Add(by) }

func (c *setClock) pass(d time.Duration) {
	c.wall = c.wall.Add(d)
	c.elapsed += d
}

// newSetClock returns a clock without a monotonic reading, and a Memory that knows how much time
// passes.
func newSetClock() (*setClock, *callers.Memory) {
	c, m := &setClock{wall: time.Now().Round(0)}, callers.NewMemory()
	m.SetElapsed(func() time.Duration { return c.elapsed })
	return c, m
}

// tokenOf returns a new access token of a service account.
func tokenOf(t *testing.T, a *callers.Authenticator, account callers.Issued) string {
	t.Helper()
	var issued struct {
		Token string `json:"access_token"`
	}
	w := post(a.ServeToken, basic(account.ID, account.Secret), grant)
	if err := json.Unmarshal(w.Body.Bytes(), &issued); err != nil || issued.Token == "" {
		t.Fatal(w.Code, w.Body, err)
	}
	return issued.Token
}

// A clock that is set back makes no nonce bad. One that is set ahead costs a challenge. In neither
// case is a use of a nonce good twice.
func TestNoncesOfASetClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, -time.Minute, -time.Second, time.Second, time.Minute, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			k, config := issue(t)
			clock, memory := newSetClock()
			a := reload(t, memory, config, callers.Options{Now: clock.now})
			before := issueNonce(t, a)
			use := func(nc int) field { return field{sign(t, before, k.pair.ID, k.pair.Secret, nc)} }
			check := func(when string, nc int, want callers.Reason) {
				t.Helper()
				if r := reason(a, use(nc)); r != want {
					t.Errorf("%s: use %d: %q, want %q", when, nc, r, want)
				}
			}
			check("before", 1, "")
			clock.set(by)
			clock.pass(time.Second)
			expired := by >= 5*time.Minute // the lifetime
			if expired {
				check("afterwards", 1, callers.NonceExpired)
				check("afterwards", 2, callers.NonceExpired)
			} else {
				check("afterwards", 1, callers.Replayed)
				check("afterwards", 2, "")
			}
			for range 100 {
				clock.pass(10 * time.Millisecond)
				c := issueNonce(t, a)
				for nc := 1; nc <= 2; nc++ {
					f := field{sign(t, c, k.pair.ID, k.pair.Secret, nc)}
					if first, again := reason(a, f), reason(a, f); first != "" || again != callers.Replayed {
						t.Fatalf("a new nonce: use %d: %q, then %q", nc, first, again)
					}
				}
			}
			clock.set(-by)
			check("put right", 1, callers.Replayed)
			check("put right", 3, "")
			// No nonce is good for ever.
			clock.pass(10*time.Minute + max(-by, 0))
			check("in the end", 4, callers.NonceExpired)
		})
	}
}

// A key pair whose nonces fill the memory is let in as before when the clock is set back, and a
// forgotten nonce stays refused.
func TestFullMemoryOfASetClock(t *testing.T) {
	k, config := issue(t)
	clock, memory := newSetClock()
	a := reload(t, memory, config, callers.Options{Now: clock.now})
	a.Bound(50, 50)
	var used []field
	spend := func(n int) {
		t.Helper()
		for i := range n {
			clock.pass(2 * time.Millisecond)
			c := issueNonce(t, a)
			f := field{sign(t, c, k.pair.ID, k.pair.Secret, 1)}
			if r := reason(a, f); r != "" {
				t.Fatalf("nonce %d: %q", i, r)
			}
			if r := reason(a, field{sign(t, c, k.pair.ID, k.pair.Secret, 2)}); r != "" {
				t.Fatalf("nonce %d, the second use: %q", i, r)
			}
			used = append(used, f)
		}
	}
	for _, by := range []time.Duration{0, -time.Hour, time.Hour, -time.Minute, 2 * time.Hour, -3 * time.Hour} {
		clock.set(by)
		spend(120)
		for i, f := range used {
			if r := reason(a, f); r == "" {
				t.Fatalf("after %v: the use of nonce %d of %d was good again", by, i, len(used))
			}
		}
	}
}

// A nonce of a process whose clock is right is good here while the clock here is ahead, and after it
// was put right.
func TestNoncesOfTwoProcesses(t *testing.T) {
	k, config := issue(t)
	config.SigningKeyFile = write(t, filepath.Join(t.TempDir(), "signing.key"), callers.NewSigningKey().Reveal())
	clock, memory := newSetClock()
	other, otherMemory := newSetClock()
	other.wall = clock.wall
	a := reload(t, memory, config, callers.Options{Now: clock.now})
	b := reload(t, otherMemory, config, callers.Options{Now: other.now})
	issueNonce(t, a)
	clock.set(time.Hour)
	issueNonce(t, a)
	clock.set(-time.Hour)
	for range 10 {
		clock.pass(time.Minute)
		other.pass(time.Minute)
		if r := reason(a, field{sign(t, issueNonce(t, b), k.pair.ID, k.pair.Secret, 1)}); r != "" {
			t.Fatal(r)
		}
	}
}

// An access token is good for its lifetime while the clock is set, for no more than the lifetime and
// what the clock was set back, and never for ever.
func TestTokensOfASetClock(t *testing.T) {
	const lifetime = time.Hour
	for _, by := range []time.Duration{-time.Hour, time.Hour, -time.Minute, 10 * 365 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			k, config := issue(t)
			config.TokenLifetime = lifetime
			clock, memory := newSetClock()
			a := reload(t, memory, config, callers.Options{Now: clock.now})
			check := func(when, token string, want callers.Reason) {
				t.Helper()
				if r := reason(a, field{"Bearer " + token}); r != want {
					t.Errorf("%s: %q, want %q", when, r, want)
				}
			}
			before := tokenOf(t, a, k.account)
			check("before", before, "")
			clock.set(by)
			during := tokenOf(t, a, k.account)
			check("a token of the set clock", during, "")
			if by < 0 {
				check("a token of before", before, "")
			} else if by >= lifetime {
				check("a token of before", before, callers.TokenExpired)
			}
			clock.set(-by)
			after := tokenOf(t, a, k.account)
			check("a token of the clock that was put right", after, "")
			check("a token of before, the clock put right", before, "")
			for range 13 {
				clock.pass(10 * time.Minute)
			}
			for name, token := range map[string]string{"before": before, "during": during, "after": after} {
				check("after more than two hours: "+name, token, callers.TokenExpired)
			}
		})
	}
}

// A revoked token stays revoked when the clock was ahead by more than its life and is put right, and
// when the clock is set back.
func TestRevocationsOfASetClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 2 * time.Hour, 24 * time.Hour} {
		for _, ahead := range []time.Duration{0, 20 * time.Minute} { // how long the clock stays so
			t.Run(fmt.Sprint(by, " for ", ahead), func(t *testing.T) {
				k, config := issue(t)
				clock, memory := newSetClock()
				a := reload(t, memory, config, callers.Options{Now: clock.now})
				revoke := func(token string) {
					t.Helper()
					if w := post(a.ServeRevoke, basic(k.account.ID, k.account.Secret), "token="+token); w.Code != 200 {
						t.Fatal(w.Code, w.Body)
					}
				}
				token := tokenOf(t, a, k.account)
				revoke(token)
				clock.set(by)
				clock.pass(ahead)
				revoke(tokenOf(t, a, k.account)) // forgets what may be forgotten
				clock.set(-by)
				revoke(tokenOf(t, a, k.account))
				if r := reason(a, field{"Bearer " + token}); r != callers.TokenRevoked {
					t.Errorf("%q", r)
				}
				for range 30 {
					clock.pass(10 * time.Minute)
					if r := reason(a, field{"Bearer " + token}); r == "" {
						t.Fatal("the token is good again")
					}
					revoke(tokenOf(t, a, k.account))
				}
				if _, revoked := a.Remembered(); revoked > 10+int(max(by, 0)/(10*time.Minute)) {
					t.Errorf("%d tokens are remembered after 5 hours", revoked)
				}
			})
		}
	}
}

// The limits of the token endpoint let nobody wait for longer when the clock is set.
func TestLimitsOfASetClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		k, config := issue(t)
		config.Attempts = callers.Attempts{PerClient: 3, Overall: 100}
		clock, memory := newSetClock()
		a := reload(t, memory, config, callers.Options{Now: clock.now})
		if n := try(t, a, k.account.ID, k.account.Secret, 200); n != 3 {
			t.Fatalf("%d attempts", n)
		}
		clock.set(by)
		if n := try(t, a, k.account.ID, k.account.Secret, 200); n > 3 {
			t.Errorf("set by %v: %d attempts", by, n)
		}
		clock.pass(time.Minute)
		if n := try(t, a, k.account.ID, k.account.Secret, 200); n != 3 {
			t.Errorf("a minute after the clock was set by %v: %d attempts", by, n)
		}
	}
}
