package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A key is rotated at Atlas while both keys are valid, a certificate is replaced, and the
// configuration is reloaded, also so that all connections to Atlas are made anew. Meanwhile 64
// clients run, and no request fails.
func TestChangesUnderLoad(t *testing.T) {
	seed, rotated := rotatedSeed()
	atlas := sim.Start(t, sim.Config{Seed: seed, Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, TokensPerMinute: -1}})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	dir := t.TempDir()
	public := gatewaytest.WriteFile(t, filepath.Join(dir, "public"), sim.PublicKey)
	private := gatewaytest.WriteFile(t, filepath.Join(dir, "private"), sim.PrivateKey)
	authority := gatewaytest.NewAuthority(t)
	certFile, keyFile := authority.Loopback(t).WriteFiles(t)
	configured := func(limits string) string {
		return fmt.Sprintf(`
listener: {tls_cert_file: %s, tls_key_file: %s}
budget: {requests: 1000000, per_minute: 1000000}
upstream:
  base_url: %s
%s
  credentials: [{public_key_file: %s, private_key_file: %s}]
callers:
  list:
%s`, certFile, keyFile, atlas.URL(), limits, public, private, nightly.YAML)
	}
	g := gatewaytest.Start(t, configured(""))
	l := startLoad(t, g, nightly, authority.Pool)
	l.pass(128)

	// Both files of the key are replaced, and nothing else is done.
	offset := g.Log.Len()
	gatewaytest.ReplaceFile(t, public, rotated.PublicKey)
	gatewaytest.ReplaceFile(t, private, rotated.PrivateKey.Reveal())
	g.Await(t, offset, inForce(rotated.PublicKey))
	l.pass(64) // the calls that were under way
	since := last(atlas)
	l.pass(128)
	for _, r := range atlas.Requests(since) {
		if r.Caller != rotated.PublicKey && r.Caller != "" {
			t.Errorf("signed with %s after the rotation", r.Caller)
			break
		}
	}

	// A reload between the replacements of the two files finds a pair that does not fit. The
	// gateway looks again a second later.
	second := authority.Loopback(t)
	gatewaytest.ReplaceFile(t, keyFile, second.KeyPEM)
	gatewaytest.ReplaceFile(t, certFile, second.CertPEM)
	for deadline := time.Now().Add(20 * time.Second); !l.wasShown(second.Leaf) && !t.Failed(); {
		if l.pass(64); time.Now().After(deadline) {
			t.Error("nobody was shown the second certificate")
		}
	}

	for i := range 6 {
		reloaded(t, g.Rewrite(t, configured(fmt.Sprintf("  max_connections: %d", 200+i%3))))
		l.pass(64)
	}
	if record := g.Rewrite(t, "nonsense"); !strings.Contains(record, "refused") {
		t.Error(record)
	}
	l.pass(128)
	l.stop()
	if strings.Contains(g.Log.String(), "c4na7y") {
		t.Error("a key is in the log")
	}
}

// inForce is in the record of a credential for Atlas that signs from then on.
func inForce(key string) string {
	return `"msg":"a credential for Atlas is in force","credential":"upstream.credentials[0]","key":"` + key + `"`
}

// last returns the number of the last request.
func last(atlas *sim.Server) int64 {
	requests := atlas.Requests(0)
	return requests[len(requests)-1].Seq
}

// A constantLoad is 64 clients of a gateway, which call it until they are stopped. A call that is
// not answered 200 fails the test.
type constantLoad struct {
	t       *testing.T
	g       *gatewaytest.Gateway
	caller  *gatewaytest.Caller
	done    atomic.Bool
	calls   atomic.Int64
	shown   sync.Map // signatures of certificates
	clients sync.WaitGroup
}

func startLoad(t *testing.T, g *gatewaytest.Gateway, caller *gatewaytest.Caller, roots *x509.CertPool) *constantLoad {
	l := &constantLoad{t: t, g: g, caller: caller}
	for i := range 64 {
		connections := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: i%8 == 0, ResponseHeaderTimeout: 20 * time.Second}
		l.clients.Go(func() {
			defer connections.CloseIdleConnections()
			if i%2 == 1 {
				l.run(connections, caller.Bearer())
				return
			}
			signing, err := digestauth.NewTransport(digestauth.Config{Origin: g.URL, Base: connections, Credential: func(context.Context) (digestauth.Credential, error) {
				return digestauth.Credential{Username: caller.Pair.ID, Password: caller.Pair.Secret}, nil
			}})
			if err != nil {
				t.Error(err)
				return
			}
			l.run(signing, "")
		})
	}
	return l
}

// run calls the gateway again and again.
func (l *constantLoad) run(transport http.RoundTripper, authorization string) {
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	for !l.done.Load() && !l.t.Failed() {
		request, err := http.NewRequest("GET", l.g.URL+v2Exports, nil)
		if err != nil {
			l.t.Error(err)
			return
		}
		request.Header.Set("Accept", latest)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		response, err := client.Do(request)
		if err != nil {
			l.t.Error(err)
			return
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || err != nil {
			l.t.Errorf("%d %s %v", response.StatusCode, body, err)
		}
		l.shown.Store(string(response.TLS.PeerCertificates[0].Signature), true)
		l.calls.Add(1)
	}
}

// pass waits until so many more calls were answered.
func (l *constantLoad) pass(more int64) {
	for from := l.calls.Load(); l.calls.Load() < from+more && !l.t.Failed(); {
		time.Sleep(5 * time.Millisecond)
	}
}

// wasShown reports whether the gateway has presented a certificate.
func (l *constantLoad) wasShown(certificate *x509.Certificate) bool {
	_, ok := l.shown.Load(string(certificate.Signature))
	return ok
}

// stop ends the calls.
func (l *constantLoad) stop() {
	l.done.Store(true)
	l.clients.Wait()
}
