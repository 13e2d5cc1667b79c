package callers_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"

	"github.com/icholy/digest"
)

// A client library shares a nonce among many requests at a time.
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

// curl sends a POST without content first, and then the credential with its own order of
// parameters.
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

// Between the challenge and the answer to it, the process may restart, another process may take
// over, and the signing key may be rotated. The same holds for tokens.
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

// The clock of another process may be a little ahead, but not much.
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
