package callers_test

import (
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

// Counts may start anywhere, come late and leave gaps, but each may come only once.
func TestCounts(t *testing.T) {
	k, config := issue(t)
	server := serve(t, build(t, config, callers.Options{}))
	for _, sequence := range []struct {
		counts []int
		want   string // one letter for each: good, replayed
	}{
		{[]int{1, 2, 3, 1, 2, 3}, "gggrrr"},
		{[]int{2, 3, 1, 1, 2}, "gggrr"},
		{[]int{3, 3, 2, 1}, "grgg"},
		{[]int{256, 1, 257, 2, 1, 256}, "ggggrr"},
		{[]int{257, 1, 2, 513, 257, 258, 514, 258}, "grggrggr"},
		{[]int{1, 1000, 1, 744, 745, 745, 1001, 1000}, "ggrrgrgr"},
		{[]int{0x7fffffff, 1, 0x7fffffff, 0x7ffffffe}, "grrg"},
	} {
		c := challenge(t, server)
		got := ""
		for _, nc := range sequence.counts {
			switch a, _ := do(t, server, "GET", target, field{sign(t, c, k.pair.ID, k.pair.Secret, nc)}); a {
			case in(callers.Digest):
				got += "g"
			case refused(callers.Replayed):
				got += "r"
			default:
				t.Error(a)
			}
		}
		if got != sequence.want {
			t.Errorf("%d: %s, want %s", sequence.counts, got, sequence.want)
		}
	}
}

// When the same request is sent many times at once, one is let in.
func TestReplaysAtOnce(t *testing.T) {
	k, config := issue(t)
	server := serve(t, build(t, config, callers.Options{}))
	f := field{sign(t, challenge(t, server), k.pair.ID, k.pair.Secret, 1)}
	var let atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if a, _ := do(t, server, "GET", target, f); a.Status == 200 {
				let.Add(1)
			}
		})
	}
	wg.Wait()
	if let.Load() != 1 {
		t.Errorf("%d were let in", let.Load())
	}
}

// reason returns why a request is refused. It goes past the network, for tests of many requests.
func reason(a *callers.Authenticator, f field) callers.Reason {
	_, err := a.Authenticate(newRequest(f), netip.Addr{})
	if refusal, ok := err.(*callers.Refusal); ok {
		return refusal.Reason
	}
	return ""
}

// issueNonce returns a challenge. It goes past the network like reason.
func issueNonce(t testing.TB, a *callers.Authenticator) *digest.Challenge {
	t.Helper()
	_, err := a.Authenticate(newRequest(nil), netip.Addr{})
	c, err := digest.ParseChallenge(err.(*callers.Refusal).Challenge[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Memory is bounded, and what is forgotten can't be replayed.
func TestCountsBounded(t *testing.T) {
	k, config := issue(t)
	clock := newClock()
	a := build(t, config, callers.Options{Now: clock.now})
	const bound = 1000
	a.Bound(bound, 0)
	unused := issueNonce(t, a)
	first := field{sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 1)}
	if r := reason(a, first); r != "" {
		t.Fatal(r)
	}
	clock.pass(time.Millisecond)
	for i := range bound + 10 {
		if r := reason(a, field{sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 1)}); r != "" {
			t.Fatal(i, r)
		}
		if i%100 == 0 {
			clock.pass(time.Millisecond)
		}
	}
	if nonces, _ := a.Remembered(); nonces != bound {
		t.Errorf("%d nonces are remembered", nonces)
	}
	if r := reason(a, first); r != callers.NonceUnknown {
		t.Errorf("a forgotten request was replayed: %q", r)
	}
	if r := reason(a, field{sign(t, unused, k.pair.ID, k.pair.Secret, 1)}); r != callers.NonceUnknown {
		t.Errorf("a nonce as old as a forgotten one: %q", r)
	}
	if r := reason(a, field{sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 2)}); r != "" {
		t.Errorf("a new nonce: %q", r)
	}
}

// user is a key pair that uses nonces.
type user struct {
	t      *testing.T
	clock  *clock
	pair   callers.Issued
	nonces []*digest.Challenge
	used   []field // the first use of each
}

// spend uses n new nonces, each issued a millisecond after the last.
func (u *user) spend(a *callers.Authenticator, n int) {
	u.t.Helper()
	for range n {
		u.clock.pass(time.Millisecond)
		u.nonces = append(u.nonces, issueNonce(u.t, a))
		u.used = append(u.used, u.sign(len(u.nonces)-1, 1))
		if r := reason(a, u.used[len(u.used)-1]); r != "" {
			u.t.Fatal(u.pair.Entry.Name, r)
		}
	}
}

func (u *user) sign(nonce, nc int) field {
	u.t.Helper()
	return field{sign(u.t, u.nonces[nonce], u.pair.ID, u.pair.Secret, nc)}
}

// remembered returns how many of the nonces are good for one more use, with the count nc. These
// must be the newest nonces, all others must be refused, and no first use may be good again.
func (u *user) remembered(a *callers.Authenticator, nc int) int {
	u.t.Helper()
	good := 0
	for i := range u.nonces {
		want := callers.Replayed
		switch r := reason(a, u.sign(i, nc)); {
		case r == "":
			good++
		case r != callers.NonceUnknown || good > 0:
			u.t.Errorf("%s: nonce %d of %d: %q", u.pair.Entry.Name, i, len(u.nonces), r)
		default:
			want = callers.NonceUnknown
		}
		if r := reason(a, u.used[i]); r != want {
			u.t.Errorf("%s: the first use of nonce %d of %d: %q, want %s", u.pair.Entry.Name, i, len(u.nonces), r, want)
		}
	}
	return good
}

// issueUsers makes key pairs, and the configuration that knows them.
func issueUsers(t *testing.T, names ...string) (clock *clock, users map[string]*user, config callers.Config) {
	t.Helper()
	clock, users = newClock(), map[string]*user{}
	for _, name := range names {
		ha1 := filepath.Join(t.TempDir(), name)
		pair := callers.NewKeyPair(name, "", ha1)
		write(t, ha1, pair.HA1File.Reveal())
		users[name] = &user{t: t, clock: clock, pair: pair}
		config.List = append(config.List, pair.Entry)
	}
	return clock, users, config
}

// A key pair that uses many nonces is challenged again. A key pair that has no more than its share
// of the memory is not, and can still use a nonce that was issued to it before.
func TestCountsAreFair(t *testing.T) {
	clock, users, config := issueUsers(t, "noisy", "quiet", "late")
	noisy, quiet, late := users["noisy"], users["quiet"], users["late"]
	a := build(t, config, callers.Options{Now: clock.now})
	a.Bound(90, 0)
	check := func(nc int, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for name, u := range users {
			got[name] = u.remembered(a, nc)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	unused := issueNonce(t, a)
	quiet.spend(a, 10)
	noisy.spend(a, 200)
	check(2, map[string]int{"noisy": 80, "quiet": 10, "late": 0})
	if r := reason(a, field{sign(t, unused, late.pair.ID, late.pair.Secret, 1)}); r != "" {
		t.Error(r)
	}
	if r := reason(a, field{sign(t, unused, noisy.pair.ID, noisy.pair.Secret, 1)}); r != callers.NonceUnknown {
		t.Error(r)
	}
	late.spend(a, 50)
	noisy.spend(a, 50)
	check(3, map[string]int{"noisy": 40, "quiet": 10, "late": 40})
	quiet.spend(a, 100)
	late.spend(a, 100)
	check(4, map[string]int{"noisy": 30, "quiet": 30, "late": 30})
	noisy.spend(a, 200)
	check(5, map[string]int{"noisy": 30, "quiet": 30, "late": 30})
	if nonces, _ := a.Remembered(); nonces != 90 {
		t.Errorf("%d nonces are remembered", nonces)
	}
}

// Two key pairs may use the same count of the same nonce.
func TestCountsApart(t *testing.T) {
	clock, users, config := issueUsers(t, "one", "other")
	a := build(t, config, callers.Options{Now: clock.now})
	c := issueNonce(t, a)
	for _, u := range users {
		for _, want := range []callers.Reason{"", callers.Replayed} {
			if r := reason(a, field{sign(t, c, u.pair.ID, u.pair.Secret, 1)}); r != want {
				t.Errorf("%s: %q, want %q", u.pair.Entry.Name, r, want)
			}
		}
	}
}

// A request with a wrong key takes no memory.
func TestStrangersTakeNoMemory(t *testing.T) {
	k, config := issue(t)
	a := build(t, config, callers.Options{})
	server := serve(t, a)
	for range 20 {
		do(t, server, "GET", target, field{sign(t, challenge(t, server), k.pair.ID, secret.New("wrong"), 1)})
	}
	if nonces, _ := a.Remembered(); nonces != 0 {
		t.Errorf("%d nonces are remembered", nonces)
	}
}
