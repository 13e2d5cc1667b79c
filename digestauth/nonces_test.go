package digestauth_test

import (
	"regexp"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
)

func TestNoncesCounts(t *testing.T) {
	const (
		good     = digestauth.NonceGood
		spent    = digestauth.NonceSpent
		replayed = digestauth.NonceReplayed
	)
	type use struct {
		nc   uint32
		want digestauth.NonceVerdict
	}
	for _, tt := range []struct {
		name   string
		policy digestauth.NoncePolicy
		uses   []use
	}{
		{"any order", digestauth.NoncePolicy{}, []use{{2, good}, {1, good}, {1, replayed}, {2, replayed}, {3, good}, {0, replayed}}},
		{"starts late", digestauth.NoncePolicy{Rising: true}, []use{{3, good}, {4, good}}},
		{"rising", digestauth.NoncePolicy{Rising: true}, []use{{1, good}, {3, good}, {2, replayed}, {3, replayed}, {9, good}}},
		{"window", digestauth.NoncePolicy{}, []use{{1, good}, {100, good}, {37, good}, {36, replayed}, {37, replayed}, {99, good}, {164, good}, {101, good}, {100, replayed}, {1<<32 - 1, good}, {1<<32 - 1, replayed}}},
		{"single use", digestauth.NoncePolicy{Uses: 1}, []use{{1, good}, {2, spent}}},
		{"two uses", digestauth.NoncePolicy{Uses: 2}, []use{{1, good}, {1, replayed}, {2, good}, {3, spent}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := digestauth.NewNonces(tt.policy, nil)
			nonce := n.Issue()
			for i, u := range tt.uses {
				if got := n.Check(nonce, u.nc); got != u.want {
					t.Fatalf("use %d, nc=%d: %v, want %v", i, u.nc, got, u.want)
				}
			}
		})
	}
}

func TestNoncesLifeAndNumber(t *testing.T) {
	now := time.Unix(1e9, 0)
	n := digestauth.NewNonces(digestauth.NoncePolicy{Max: 2, Lifetime: time.Second}, func() time.Time { return now })
	check := func(nonce string, nc uint32, want digestauth.NonceVerdict) {
		t.Helper()
		if got := n.Check(nonce, nc); got != want {
			t.Errorf("nc=%d: %v, want %v", nc, got, want)
		}
	}
	a := n.Issue()
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(a) || a == n.Issue() {
		t.Errorf("issued %q", a)
	}
	check(a, 1, digestauth.NonceGood)
	check("", 1, digestauth.NonceUnknown)
	b := n.Issue() // the third: a is forgotten
	check(a, 2, digestauth.NonceUnknown)
	now = now.Add(time.Second - 1)
	check(b, 1, digestauth.NonceGood)
	now = now.Add(1)
	check(b, 2, digestauth.NonceExpired)

	// The policy changes while nonces are in use.
	n.SetPolicy(digestauth.NoncePolicy{Refuse: 1, Rand: func() float64 { return 0.999 }})
	check(b, 2, digestauth.NonceRefused)
	n.SetPolicy(digestauth.NoncePolicy{})
	check(b, 2, digestauth.NonceRefused)
	c := n.Issue()
	check(c, 1, digestauth.NonceGood)
	n.SetPolicy(digestauth.NoncePolicy{Max: 1})
	check(b, 3, digestauth.NonceUnknown)
	check(c, 2, digestauth.NonceGood)
	n.Forget()
	check(c, 3, digestauth.NonceUnknown)
}
