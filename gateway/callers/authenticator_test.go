package callers_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

func refused(reason callers.Reason) answer { return answer{401, string(reason), "Digest"} }

func refusedBearer(reason callers.Reason) answer { return answer{401, string(reason), "Bearer"} }

func in(form callers.Form) answer { return answer{200, "reporting " + string(form), ""} }

// Every form, with everything that can be right or wrong about it.
func TestForms(t *testing.T) {
	k, config := issue(t)
	clock := newClock()
	server := serve(t, build(t, config, callers.Options{Now: clock.now}))
	strange := secret.New("another secret")
	token := k.token.Secret.Reveal()
	access := accessToken(t, server, k.account)
	expired := func(f field) field { clock.pass(2 * time.Hour); return f }
	digestField := func(mend func(*digest.Challenge)) field {
		c := challenge(t, server)
		if mend != nil {
			mend(c)
		}
		return field{sign(t, c, k.pair.ID, k.pair.Secret, 1)}
	}
	replace := func(f field, old, with string) field {
		if !strings.Contains(f[0], old) {
			t.Fatalf("%q is not in %q", old, f[0])
		}
		return field{strings.Replace(f[0], old, with, 1)}
	}
	bearer := func(token string) field { return field{"Bearer " + token} }
	forged := func(key any, method jwt.SigningMethod, claims jwt.RegisteredClaims) field {
		ours, _, err := jwt.NewParser().ParseUnverified(access, jwt.MapClaims{})
		if err != nil {
			t.Fatal(err)
		}
		unsigned := jwt.NewWithClaims(method, claims)
		unsigned.Header["kid"] = ours.Header["kid"]
		token, err := unsigned.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return bearer(token)
	}
	claims := jwt.RegisteredClaims{ID: "1", Issuer: "atlas-export-gateway", Subject: k.account.ID, ExpiresAt: jwt.NewNumericDate(clock.now().Add(time.Hour))}

	for _, tt := range []struct {
		name string
		send func() field
		want answer
	}{
		{"nothing", func() field { return nil }, refused(callers.NoCredential)},
		{"empty", func() field { return field{""} }, refused(callers.Malformed)},
		{"no scheme that we know", func() field { return field{"Negotiate abc"} }, refused(callers.Malformed)},

		{"digest", func() field { return digestField(nil) }, in(callers.Digest)},
		{"digest, the algorithm quoted", func() field {
			return replace(digestField(nil), "algorithm=MD5", `algorithm="MD5"`)
		}, in(callers.Digest)},
		{"digest, the algorithm missing", func() field {
			return digestField(func(c *digest.Challenge) { c.Algorithm = "" })
		}, in(callers.Digest)},
		{"digest, wrong secret", func() field {
			return field{sign(t, challenge(t, server), k.pair.ID, strange, 1)}
		}, refused(callers.WrongCredential)},
		{"digest, unknown caller", func() field {
			return field{sign(t, challenge(t, server), "agwnobody", k.pair.Secret, 1)}
		}, refused(callers.WrongCredential)},
		{"digest, expired", func() field { return expired(digestField(nil)) }, refused(callers.NonceExpired)},
		{"digest, replayed", func() field {
			f := digestField(nil)
			do(t, server, "GET", target, f)
			return f
		}, refused(callers.Replayed)},
		{"digest, a nonce of somebody else's", func() field {
			return digestField(func(c *digest.Challenge) { c.Nonce = strings.Repeat("A", 32) })
		}, refused(callers.NonceUnknown)},
		{"digest, a nonce of another length", func() field {
			return digestField(func(c *digest.Challenge) { c.Nonce = "abc" })
		}, refused(callers.NonceUnknown)},
		{"digest, a younger nonce by hand", func() field {
			return digestField(func(c *digest.Challenge) {
				first := "A"
				if c.Nonce[0] == 'A' {
					first = "B"
				}
				c.Nonce = first + c.Nonce[1:]
			})
		}, refused(callers.NonceUnknown)},
		{"digest, other realm", func() field {
			return digestField(func(c *digest.Challenge) { c.Realm = "another" })
		}, refused(callers.Mismatched)},
		{"digest, other algorithm", func() field {
			return digestField(func(c *digest.Challenge) { c.Algorithm = "SHA-256" })
		}, refused(callers.Mismatched)},
		{"digest, other target", func() field {
			return replace(digestField(nil), "exportBuckets", "exportbuckets")
		}, refused(callers.Mismatched)},
		{"digest, garbage", func() field { return field{"Digest username"} }, refused(callers.Malformed)},
		{"digest, two fields", func() field {
			return append(digestField(nil), digestField(nil)...)
		}, refused(callers.Malformed)},

		{"basic", func() field { return field{basic(k.pair.ID, k.pair.Secret)} }, in(callers.Basic)},
		{"basic, wrong secret", func() field { return field{basic(k.pair.ID, strange)} }, refused(callers.WrongCredential)},
		{"basic, unknown caller", func() field { return field{basic("agwnobody", k.pair.Secret)} }, refused(callers.WrongCredential)},
		{"basic, empty", func() field { return field{basic("", secret.Secret{})} }, refused(callers.WrongCredential)},
		{"basic, HA1 as the secret", func() field { return field{basic(k.pair.ID, k.pair.HA1File)} }, refused(callers.WrongCredential)},
		{"basic, a service account", func() field { return field{basic(k.account.ID, k.account.Secret)} }, refused(callers.WrongCredential)},
		{"basic, garbage", func() field { return field{"Basic !"} }, refused(callers.Malformed)},
		{"basic, two fields", func() field {
			return field{basic(k.pair.ID, k.pair.Secret), basic(k.pair.ID, k.pair.Secret)}
		}, refused(callers.Malformed)},

		{"static token", func() field { return bearer(token) }, in(callers.StaticToken)},
		{"static token, scheme in lower case", func() field { return field{"bearer " + token} }, in(callers.StaticToken)},
		{"static token, wrong", func() field { return bearer(token + "A") }, refusedBearer(callers.WrongCredential)},
		{"static token, its hash", func() field { return bearer(k.token.Entry.Tokens[0].SHA256) }, refusedBearer(callers.WrongCredential)},
		{"bearer, garbage", func() field { return bearer("a b") }, refusedBearer(callers.Malformed)},
		{"bearer, two in a field", func() field { return bearer(token + ", Bearer " + token) }, refusedBearer(callers.Malformed)},
		{"bearer, none", func() field { return field{"Bearer"} }, refusedBearer(callers.Malformed)},
		{"bearer, two fields", func() field { return field{"Bearer " + token, "Bearer " + token} }, refused(callers.Malformed)},
		{"bearer and digest", func() field { return append(digestField(nil), "Bearer "+token) }, refused(callers.Malformed)},

		{"access token, of another key", func() field { return forged([]byte("k"), jwt.SigningMethodHS256, claims) }, refusedBearer(callers.WrongCredential)},
		{"access token, unsigned", func() field {
			return forged(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, claims)
		}, refusedBearer(callers.WrongCredential)},
		{"access token, signature cut", func() field { return bearer(access[:strings.LastIndex(access, ".")+1]) }, refusedBearer(callers.WrongCredential)},
		{"access token, fresh", func() field { return bearer(accessToken(t, server, k.account)) }, in(callers.AccessToken)},
		{"access token, two fields", func() field {
			return append(bearer(accessToken(t, server, k.account)), bearer(token)...)
		}, refused(callers.Malformed)},
		{"access token, expired", func() field { return expired(bearer(accessToken(t, server, k.account))) }, refusedBearer(callers.TokenExpired)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := do(t, server, "GET", target, tt.send())
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// The challenge has the form that was recorded of Atlas, alone.
func TestChallenge(t *testing.T) {
	k, config := issue(t)
	for algorithm, want := range map[string]string{
		"":        `^Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9_-]{32}", algorithm=MD5, qop="auth", stale=false$`,
		"SHA-256": `^Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9_-]{32}", algorithm=SHA-256, qop="auth", stale=false$`,
	} {
		config.DigestAlgorithm = algorithm
		server := serve(t, build(t, config, callers.Options{}))
		for _, f := range []field{nil, {"Digest garbage"}, {basic("nobody", secret.Secret{})}} {
			_, resp := do(t, server, "GET", target, f)
			if got := resp.Header["Www-Authenticate"]; len(got) != 1 || !regexp.MustCompile(want).MatchString(got[0]) {
				t.Errorf("%q", got)
			}
		}
		if got, _ := do(t, server, "GET", target, field{sign(t, challenge(t, server), k.pair.ID, k.pair.Secret, 1)}); got != in(callers.Digest) {
			t.Error(got)
		}
		if got, _ := do(t, server, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != in(callers.Basic) {
			t.Error(got)
		}
		if _, resp := do(t, server, "GET", target, field{"Bearer x"}); cmp.Diff(resp.Header["Www-Authenticate"], []string{`Bearer error="invalid_token"`}) != "" {
			t.Error(resp.Header)
		}
	}
}

// A client library, sharing a nonce among many requests at a time.
func TestDigestClient(t *testing.T) {
	k, config := issue(t)
	server := serve(t, build(t, config, callers.Options{}))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: &digest.Transport{Username: k.pair.ID, Password: k.pair.Secret.Reveal(), Transport: transport}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				resp, err := client.Post(server.URL+target, "application/json", strings.NewReader(`{}`))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Error(resp.Status)
				}
			}
		})
	}
	wg.Wait()
}

// What curl sends for a POST: an empty first leg, then its own order of parameters.
func TestCurl(t *testing.T) {
	k, config := issue(t)
	server := serve(t, build(t, config, callers.Options{}))
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	const head = "POST /x/?pretty=true HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
	send := func(rest string) *http.Response {
		t.Helper()
		fmt.Fprint(conn, head+rest)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	first := send("Content-Length: 0\r\n\r\n")
	c, err := digest.ParseChallenge(first.Header.Get("WWW-Authenticate"))
	if first.StatusCode != 401 || err != nil {
		t.Fatal(first.Status, err)
	}
	credential, err := digest.Digest(c, digest.Options{Method: "POST", URI: "/x/?pretty=true", Count: 1, Username: k.pair.ID, Password: k.pair.Secret.Reveal(), Cnonce: "Y2Q="})
	if err != nil {
		t.Fatal(err)
	}
	second := send(fmt.Sprintf("Authorization: Digest username=\"%s\",realm=\"%s\",nonce=\"%s\",uri=\"/x/?pretty=true\",cnonce=\"Y2Q=\",nc=00000001,algorithm=MD5,response=\"%s\",qop=\"auth\"\r\nContent-Length: 2\r\n\r\n{}",
		k.pair.ID, c.Realm, c.Nonce, credential.Response))
	if second.StatusCode != 200 {
		t.Error(second.Status)
	}
}

// Counts may start anywhere, come late and leave gaps, but never twice.
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

// Of the same request sent many times at once, one is let in.
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

// reason sends a request past the network, for tests that take many, and says why it is refused.
func reason(a *callers.Authenticator, f field) callers.Reason {
	_, err := a.Authenticate(newRequest(f))
	if refusal, ok := err.(*callers.Refusal); ok {
		return refusal.Reason
	}
	return ""
}

// issueNonce returns a challenge, as reason sends.
func issueNonce(t testing.TB, a *callers.Authenticator) *digest.Challenge {
	t.Helper()
	_, err := a.Authenticate(newRequest(nil))
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

// remembered returns how many of the nonces are good for one more use, with that count: the
// newest. All others must be refused, and no first use be good again.
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

// Who uses many nonces is challenged again; who has no more than its share of the memory is not,
// and nor is a nonce refused that it was issued before and has not used yet.
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

// One key pair's use of a nonce is none of another's.
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

// A key pair that is added or removed makes no other forget what it used, and what was used
// before one was removed is not good again when it comes back.
func TestCountsOverReload(t *testing.T) {
	clock, users, config := issueUsers(t, "stays", "leaves", "comes")
	stays, leaves, comes := users["stays"], users["leaves"], users["comes"]
	memory := callers.NewMemory()
	with := func(list ...callers.Entry) *callers.Authenticator {
		t.Helper()
		config.List = list
		return reload(t, memory, config, callers.Options{Now: clock.now})
	}
	a := with(stays.pair.Entry, leaves.pair.Entry)
	a.Bound(60, 0)
	unused := issueNonce(t, a)
	leaves.spend(a, 10)
	stays.spend(a, 100)
	check := func(nc, left int, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for name, u := range users {
			got[name] = u.remembered(a, nc)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if nonces, _ := a.Remembered(); nonces != left {
			t.Errorf("%d nonces are remembered, want %d", nonces, left)
		}
	}
	a = with(comes.pair.Entry, stays.pair.Entry)
	if nonces, _ := a.Remembered(); nonces != 50 {
		t.Errorf("%d nonces are remembered of who stays", nonces)
	}
	if r := reason(a, leaves.used[9]); r != callers.WrongCredential {
		t.Error(r)
	}
	comes.spend(a, 10)
	a = with(leaves.pair.Entry, comes.pair.Entry, stays.pair.Entry)
	check(2, 60, map[string]int{"stays": 50, "leaves": 0, "comes": 10})
	if r := reason(a, field{sign(t, unused, leaves.pair.ID, leaves.pair.Secret, 1)}); r != callers.NonceUnknown {
		t.Error(r)
	}
	leaves.spend(a, 100)
	check(3, 60, map[string]int{"stays": 25, "leaves": 25, "comes": 10})
}

// Only callers with a key take memory.
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

// The time between the two legs of a request may see a restart, another process, and a
// rotation of the signing key; tokens too.
func TestSigningKeys(t *testing.T) {
	k, config := issue(t)
	dir := t.TempDir()
	one, two, three := callers.NewSigningKey().Reveal(), callers.NewSigningKey().Reveal(), callers.NewSigningKey().Reveal()
	with := func(name, content string) *callers.Authenticator {
		c := config
		c.SigningKeyFile = write(t, filepath.Join(dir, name), content)
		return build(t, c, callers.Options{})
	}
	before := serve(t, with("before", one))
	for _, tt := range []struct {
		name   string
		after  *callers.Authenticator
		accept bool
	}{
		{"restarted", with("same", one), true},
		{"rotated", with("rotated", two+one), true},
		{"to come", with("to come", "\n"+strings.TrimSpace(one)+"\r\n\n"+two), true},
		{"rotated twice", with("twice", three+two), false},
		{"made up", build(t, config, callers.Options{}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := serve(t, tt.after)
			legs := field{sign(t, challenge(t, before), k.pair.ID, k.pair.Secret, 1)}
			token := field{"Bearer " + accessToken(t, before, k.account)}
			wantDigest, wantToken := in(callers.Digest), in(callers.AccessToken)
			if !tt.accept {
				wantDigest, wantToken = refused(callers.NonceUnknown), refusedBearer(callers.WrongCredential)
			}
			if got, _ := do(t, after, "GET", target, legs); got != wantDigest {
				t.Error(got)
			}
			if got, _ := do(t, after, "GET", target, token); got != wantToken {
				t.Error(got)
			}
		})
	}
}

// Another process's clock may be a little ahead, not more.
func TestNonceFromTheFuture(t *testing.T) {
	k, config := issue(t)
	config.SigningKeyFile = write(t, filepath.Join(t.TempDir(), "key"), callers.NewSigningKey().Reveal())
	now := serve(t, build(t, config, callers.Options{}))
	for ahead, want := range map[time.Duration]answer{3 * time.Second: in(callers.Digest), 10 * time.Second: refused(callers.NonceExpired)} {
		clock := newClock()
		clock.pass(ahead)
		other := serve(t, build(t, config, callers.Options{Now: clock.now}))
		if got, _ := do(t, now, "GET", target, field{sign(t, challenge(t, other), k.pair.ID, k.pair.Secret, 1)}); got != want {
			t.Errorf("%s ahead: %v", ahead, got)
		}
	}
}

// A new configuration serves the next request; what is remembered stays, and no request in
// between is refused.
func TestReload(t *testing.T) {
	k, config := issue(t)
	var current atomic.Pointer[callers.Authenticator]
	memory := callers.NewMemory()
	apply := func(c callers.Config) { current.Store(reload(t, memory, c, callers.Options{})) }
	apply(config)
	server := httptest.NewServer(handler(current.Load))
	defer server.Close()
	c := challenge(t, server)
	used := field{sign(t, c, k.pair.ID, k.pair.Secret, 1)}
	do(t, server, "GET", target, used)
	token := field{"Bearer " + accessToken(t, server, k.account)}
	revoked := accessToken(t, server, k.account)
	oauth(t, server, "revoke", basic(k.account.ID, k.account.Secret), "token="+revoked)

	more := config
	more.List = append(more.List[:1:1], callers.NewToken("another").Entry)
	more.NonceLifetime = time.Hour
	apply(more)
	for _, tt := range []struct {
		name string
		f    field
		want answer
	}{
		{"replayed", used, refused(callers.Replayed)},
		{"second use", field{sign(t, c, k.pair.ID, k.pair.Secret, 2)}, in(callers.Digest)},
		{"token", token, in(callers.AccessToken)},
		{"revoked", field{"Bearer " + revoked}, refusedBearer(callers.TokenRevoked)},
	} {
		if got, _ := do(t, server, "GET", target, tt.f); got != tt.want {
			t.Error(tt.name, got)
		}
	}
	less := config
	less.List = more.List[1:]
	apply(less)
	for _, f := range []field{token, {"Bearer " + k.token.Secret.Reveal()}} {
		if got, _ := do(t, server, "GET", target, f); got != refusedBearer(callers.WrongCredential) {
			t.Error(got)
		}
	}
	if got, _ := do(t, server, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != refused(callers.WrongCredential) {
		t.Error(got)
	}
}

// Secrets are sent in the clear where nobody can listen, and nowhere else.
func TestPrivate(t *testing.T) {
	k, config := issue(t)
	public := serve(t, build(t, config, callers.Options{AllowBasic: func(*http.Request) bool { return false }}))
	if got, _ := do(t, public, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != refused(callers.NotPrivate) {
		t.Error(got)
	}
	if got, _ := oauth(t, public, "token", basic(k.account.ID, k.account.Secret), grant); got.Status != 401 {
		t.Error(got)
	}
	for _, tt := range []struct {
		r    http.Request
		want bool
	}{
		{http.Request{RemoteAddr: "127.0.0.1:5"}, true},
		{http.Request{RemoteAddr: "[::1]:5"}, true},
		{http.Request{RemoteAddr: "[::ffff:127.0.0.1]:5"}, true},
		{http.Request{RemoteAddr: "192.0.2.1:5"}, false},
		{http.Request{RemoteAddr: "@"}, false},
		{http.Request{}, false},
		{http.Request{RemoteAddr: "192.0.2.1:5", TLS: &tls.ConnectionState{}}, true},
	} {
		if got := callers.Private(&tt.r); got != tt.want {
			t.Errorf("%q: %t", tt.r.RemoteAddr, got)
		}
	}
}
