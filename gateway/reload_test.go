package gateway_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// replace puts a file in another's place in one step, as careful writers do.
func replace(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// rewrite replaces the configuration and asks for it to be read. It returns what the log
// says then.
func (r *running) rewrite(t testing.TB, yaml string) string {
	t.Helper()
	replace(t, r.file, yaml)
	return r.reload(t)
}

// reload sends the signal and returns the log's record of what came of it.
func (r *running) reload(t testing.TB) string {
	t.Helper()
	before := len(r.logs.String())
	r.hangup <- syscall.SIGHUP
	return r.await(t, before, "the configuration was")
}

// await returns the first line behind an offset of the log that holds a text.
func (r *running) await(t testing.TB, offset int, text string) string {
	t.Helper()
	for range 1000 {
		for line := range strings.Lines(r.logs.String()[offset:]) {
			if strings.Contains(line, text) {
				return line
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the log does not say %q: %s", text, r.logs.String()[offset:])
	return ""
}

func (r *running) current(t testing.TB) bool {
	t.Helper()
	return strings.Contains(send(t, "GET", r.management+"/metrics", nil, "").body, "\natlas_gateway_last_reload_successful 1\n")
}

// A configuration takes the place of the one before as a whole or not at all.
func TestReload(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly, weekly := issue(t, "nightly", everything), issue(t, "weekly", everything)
	config := func(settings string, list ...issued) string {
		text := settings + "\nupstream:\n  base_url: " + atlas.URL() + "\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  list:\n"
		for _, i := range list {
			text += i.yaml
		}
		return text
	}
	g := startWith(t, config("", nightly), "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	can := func(who issued, want int) {
		t.Helper()
		got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest, "Authorization": "Bearer " + who.token.Secret.Reveal()}, "")
		if got.status != want {
			t.Errorf("%s: %d %s, want %d", who.pair.Entry.Name, got.status, got.body, want)
		}
	}
	can(nightly, 200)
	can(weekly, 401)
	challenges := atlas.Counts().Challenges

	for _, test := range []struct{ name, yaml, want string }{
		{"not YAML", "a: [", ".yaml:1"},
		{"an unknown key", config("limit: {}", weekly), ".yaml:1: limit: unknown key; did you mean limits?"},
		{"a bad grant", strings.Replace(config("", weekly), "manage", "mange", 1), ".grants[0].operations[0]: "},
		{"no caller", config("", weekly) + "\n    grant: []", "unknown key"},
		{"another address", config("listener: {address: '127.0.0.1:1'}", weekly), ".yaml:1: listener.address: can't be changed without a restart"},
		{"other operators", config("management: {address: '127.0.0.1:1'}", weekly), ".yaml:1: management.address: can't be changed without a restart"},
		{"another header bound", config("limits: {request_header: 1000}", weekly), ".yaml:1: limits.request_header: can't"},
		{"other connections", config("limits: {connections: 7}", weekly), ".yaml:1: limits.connections: can't"},
		{"other times", config("timeouts: {upstream: 7s}", weekly), ".yaml:1: timeouts.upstream: can't"},
		{"another log", config("log: {level: debug}", weekly), ".yaml:1: log.level: can't"},
	} {
		line := g.rewrite(t, test.yaml)
		if !strings.Contains(line, "refused; the one before stays") || !strings.Contains(line, test.want) {
			t.Errorf("%s: %s, want %s", test.name, line, test.want)
		}
		if g.current(t) {
			t.Errorf("%s: the metrics don't tell", test.name)
		}
		can(nightly, 200)
		can(weekly, 401)
	}

	if line := g.rewrite(t, config("", nightly, weekly)); !strings.Contains(line, "reloaded") || !g.current(t) {
		t.Error(line)
	}
	can(nightly, 200)
	can(weekly, 200)
	if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest, "Authorization": "Bearer " + weekly.token.Secret.Reveal()}, ""); !strings.Contains(got.body, `"href":"`+g.url+`/`) {
		t.Errorf("links after a reload: %s", got.body)
	}
	if line := g.rewrite(t, config("limits: {in_flight: 7, request_values: 3}\nlistener: {public_url: 'https://gateway.example.com'}", weekly)); !strings.Contains(line, "reloaded") {
		t.Error(line)
	}
	can(nightly, 401)
	can(weekly, 200)
	bearer := map[string]string{"Accept": latest, "Content-Type": "application/json", "Authorization": "Bearer " + weekly.token.Secret.Reveal()}
	if got := send(t, "POST", g.url+v2Exports, bearer, `{"snapshotId":"`+snapshot+`","exportBucketId":"`+bucketID+`","customData":[]}`); got.status != 400 {
		t.Errorf("with a new limit: %d %s", got.status, got.body)
	}
	if got := send(t, "GET", g.url+v2Exports, bearer, ""); !strings.Contains(got.body, `"href":"https://gateway.example.com/`) {
		t.Errorf("with a new public URL: %s", got.body)
	}
	if n := atlas.Counts().Challenges; n != challenges {
		t.Errorf("%d challenges more, although nothing of Atlas changed", n-challenges)
	}

	// Another Atlas, and nothing for the one before.
	before, other := atlas.Counts().Requests, sim.Start(t, sim.Config{})
	if line := g.rewrite(t, strings.Replace(config("", weekly), atlas.URL(), other.URL(), 1)); !strings.Contains(line, "reloaded") {
		t.Error(line)
	}
	can(weekly, 200)
	if n := atlas.Counts().Requests - before; n != 0 || other.Counts().Requests != 2 {
		t.Errorf("%d requests at the old Atlas, %d at the new one", n, other.Counts().Requests)
	}
}

// What is remembered of a caller outlives a reload: a Digest credential is good once.
func TestReloadKeepsReplays(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g := startFor(t, atlas, "", nightly)
	challenge, err := icholy.ParseChallenge(send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "").header.Get("WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	get := func(count int) int {
		t.Helper()
		credential, err := icholy.Digest(challenge, icholy.Options{Method: "GET", URI: v2Exports, Count: count, Cnonce: "0a4f113b", Username: nightly.pair.ID, Password: nightly.pair.Secret.Reveal()})
		if err != nil {
			t.Fatal(err)
		}
		return send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest, "Authorization": credential.String()}, "").status
	}
	if status := get(1); status != 200 {
		t.Fatal(status)
	}
	if line := g.reload(t); !strings.Contains(line, "reloaded") {
		t.Fatal(line)
	}
	if status := get(1); status != 401 {
		t.Errorf("replayed: %d", status)
	}
	if status := get(2); status != 200 {
		t.Errorf("with the next count, and a key that was made up: %d", status)
	}
}

// Connections that a reload replaces are closed once no one uses them, long before they
// would time out.
func TestReloadClosesConnections(t *testing.T) {
	closed := make(chan struct{}, 2) // the test's end closes the other
	listener := listen(t)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(reader)
					if err != nil {
						closed <- struct{}{}
						return
					}
					answering(strings.Replace(jsonAnswer(200, job), "Connection: close\r\n", "", 1))(conn, r)
				}
			}()
		}
	}()
	config := func(connections int) string {
		return fmt.Sprintf("upstream:\n  base_url: http://%s\n  max_connections: %d\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers: {anonymous: true}\n", listener.Addr(), connections)
	}
	g := startWith(t, config(2), "PUBLIC=public", "PRIVATE="+privateKey)
	get := func() {
		t.Helper()
		if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, ""); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	get()
	if line := g.rewrite(t, config(3)); !strings.Contains(line, "reloaded") {
		t.Fatal(line)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open")
	}
	get()
}

// A key is rotated at Atlas while both are valid, a certificate replaced and the configuration
// reloaded, also such that all connections to Atlas are made anew, while 64 clients run: no
// request fails.
func TestChangesUnderLoad(t *testing.T) {
	seed := sim.DefaultSeed()
	rotated := seed.Keys[0]
	rotated.PublicKey, rotated.PrivateKey = "rotatedk", secret.New("c4na7y-rotated-private")
	seed.Keys = append(seed.Keys, rotated)
	atlas := sim.Start(t, sim.Config{Seed: seed, Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, TokensPerMinute: -1}})
	nightly := issue(t, "nightly", everything)
	dir := t.TempDir()
	public, private := filepath.Join(dir, "public"), filepath.Join(dir, "private")
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace(t, public, sim.PublicKey)
	replace(t, private, sim.PrivateKey)
	ca, caKey := certificate(t, nil, nil, time.Hour)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	serial := func() *x509.Certificate {
		c, k := certificate(t, ca, caKey, time.Hour, net.IPv4(127, 0, 0, 1))
		replace(t, keyFile, pemKey(t, k))
		replace(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		return c
	}
	serial()
	config := func(limits string) string {
		return fmt.Sprintf(`
listener: {tls_cert_file: %s, tls_key_file: %s}
upstream:
  base_url: %s
%s
  credentials: [{public_key_file: %s, private_key_file: %s}]
callers:
  list:
%s`, certFile, keyFile, atlas.URL(), limits, public, private, nightly.yaml)
	}
	g := startWith(t, config(""))

	var done atomic.Bool
	var calls atomic.Int64
	var presented sync.Map // certificates
	var clients sync.WaitGroup
	for i := range 64 {
		clients.Go(func() {
			connections := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: i%8 == 0}
			defer connections.CloseIdleConnections()
			var transport http.RoundTripper = connections
			if i%2 == 0 { // the others use a token
				signing, err := digestauth.NewTransport(digestauth.Config{Origin: "https://" + g.address, Base: connections, Credential: func(context.Context) (digestauth.Credential, error) {
					return digestauth.Credential{Username: nightly.pair.ID, Password: nightly.pair.Secret}, nil
				}})
				if err != nil {
					t.Error(err)
					return
				}
				transport = signing
			}
			client := http.Client{Transport: transport, Timeout: 30 * time.Second}
			for !done.Load() && !t.Failed() {
				request, err := http.NewRequest("GET", "https://"+g.address+v2Exports, nil)
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Accept", latest)
				if i%2 == 1 {
					request.Header.Set("Authorization", "Bearer "+nightly.token.Secret.Reveal())
				}
				response, err := client.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if response.StatusCode != 200 || err != nil {
					t.Errorf("%d %s %v", response.StatusCode, body, err)
				}
				presented.Store(string(response.TLS.PeerCertificates[0].Signature), true)
				calls.Add(1)
			}
		})
	}
	running := func(more int64) { // let so many calls pass
		for from := calls.Load(); calls.Load() < from+more && !t.Failed(); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	running(128)

	// The key: both files are replaced, and nothing else is done.
	offset := len(g.logs.String())
	replace(t, public, rotated.PublicKey)
	replace(t, private, rotated.PrivateKey.Reveal())
	g.await(t, offset, "the configuration was reloaded")
	running(64) // those that were under way
	since := last(atlas)
	running(128)
	for _, r := range atlas.Requests(since) {
		if r.Caller != rotated.PublicKey && r.Caller != "" {
			t.Errorf("signed with %s after the rotation", r.Caller)
			break
		}
	}

	// A handshake between the two files' replacement finds a pair that does not fit, and the
	// gateway then looks again a second later.
	second := serial()
	shown := func() bool { _, ok := presented.Load(string(second.Signature)); return ok }
	for deadline := time.Now().Add(20 * time.Second); !shown() && !t.Failed(); {
		if running(64); time.Now().After(deadline) {
			t.Error("nobody was shown the second certificate")
		}
	}

	for i := range 6 {
		if line := g.rewrite(t, config(fmt.Sprintf("  max_connections: %d", 200+i%3))); !strings.Contains(line, "reloaded") {
			t.Error(line)
		}
		running(64)
	}
	if line := g.rewrite(t, "nonsense"); !strings.Contains(line, "refused") {
		t.Error(line)
	}
	running(128)
	done.Store(true)
	clients.Wait()
	if strings.Contains(g.logs.String(), "c4na7y") {
		t.Error("a key is in the log")
	}
}

// last returns the number of the last request.
func last(atlas *sim.Server) int64 {
	requests := atlas.Requests(0)
	return requests[len(requests)-1].Seq
}

func pemKey(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A Config that was built by hand is reloaded as well, and the error says what is wrong.
func TestReloadOfAConfig(t *testing.T) {
	settings := config.Config{
		Upstream: config.Upstream{Credentials: []config.CredentialSource{{PublicKeyFile: "config/testdata/key", PrivateKeyFile: "config/testdata/key"}}},
		Callers:  config.Callers{Anonymous: true},
	}
	parts, err := config.Build(settings)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(parts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(parts); err != nil {
		t.Error(err)
	}
	settings.Timeouts.Idle = time.Hour
	if parts, err = config.Build(settings); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(parts); err == nil || !strings.Contains(err.Error(), "timeouts.idle: can't be changed") {
		t.Error(err)
	}
	settings.Responses.Check = "loose"
	if _, err := config.Build(settings); err == nil || !strings.Contains(err.Error(), "responses.check: ") {
		t.Error(err)
	}
}

// A request that is under way when the limits are read again still takes its place.
func TestReloadKeepsPlaces(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Second), Count: 1}}})
	g := start(t, atlas.URL(), sim.PublicKey, sim.PrivateKey, "limits: {in_flight: 1}")
	first := make(chan int)
	go func() { first <- send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "").status }()
	waitFor(t, "the first request", func() bool { return len(atlas.Requests(0)) > 0 || atlas.Counts().Connections > 0 })
	if line := g.reload(t); !strings.Contains(line, "reloaded") {
		t.Error(line)
	}
	if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, ""); got.status != 503 {
		t.Errorf("beside it: %d %s", got.status, got.body)
	}
	if status := <-first; status != 200 {
		t.Errorf("the first request: %d", status)
	}
}

// Whatever file the configuration names, a change to it is noticed, also where the file is a
// link into a folder that is swapped, as Kubernetes mounts secrets.
func TestFilesAreWatched(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	dir := t.TempDir()
	ca, _ := certificate(t, nil, nil, time.Hour)
	pemCA := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	signing, caFile, ha1 := filepath.Join(dir, "signing"), filepath.Join(dir, "ca"), nightly.pair.Entry.KeyPairs[0].HA1File
	replace(t, signing, callers.NewSigningKey().Reveal())
	replace(t, caFile, pemCA)
	mounted := filepath.Join(dir, "mounted")
	version := func(n int) {
		folder := fmt.Sprintf("..%d", n)
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(dir, folder, "public"), sim.PublicKey)
		replace(t, filepath.Join(dir, folder, "private"), sim.PrivateKey)
		if err := os.Symlink(folder, mounted+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(mounted+".new", mounted); err != nil {
			t.Fatal(err)
		}
	}
	version(1)
	g := startWith(t, fmt.Sprintf(`
upstream:
  base_url: %s
  ca_file: %s
  credentials: [{public_key_file: %[3]s/public, private_key_file: %[3]s/private}]
callers:
  signing_key_file: %s
  list:
%s`, atlas.URL(), caFile, mounted, signing, nightly.yaml))
	for _, change := range []struct {
		name string
		make func()
	}{
		{"the configuration", func() {
			text, err := os.ReadFile(g.file)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, g.file, string(text)+"\n# changed\n")
		}},
		{"HA1", func() { replace(t, ha1, nightly.pair.HA1File.Reveal()) }},
		{"the signing key", func() { replace(t, signing, callers.NewSigningKey().Reveal()) }},
		{"the authorities", func() { replace(t, caFile, pemCA+"\n") }},
		{"the mounted key", func() { version(2) }},
	} {
		offset := len(g.logs.String())
		change.make()
		if line := g.await(t, offset, "the configuration was"); !strings.Contains(line, "reloaded") {
			t.Errorf("%s: %s", change.name, line)
		}
	}
}

// While only one half of an API key was replaced, the old key signs.
func TestHalfOfAKeyWaits(t *testing.T) {
	seed := sim.DefaultSeed()
	rotated := seed.Keys[0]
	rotated.PublicKey, rotated.PrivateKey = "rotatedk", secret.New("c4na7y-rotated-private")
	seed.Keys = append(seed.Keys, rotated)
	atlas := sim.Start(t, sim.Config{Seed: seed})
	dir := t.TempDir()
	public, private := filepath.Join(dir, "public"), filepath.Join(dir, "private")
	replace(t, public, sim.PublicKey)
	replace(t, private, sim.PrivateKey)
	g := startWith(t, fmt.Sprintf("callers: {anonymous: true}\nupstream: {base_url: %q, credentials: [{public_key_file: %s, private_key_file: %s}]}\n", atlas.URL(), public, private))
	signs := func(want string) {
		t.Helper()
		if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		requests := atlas.Requests(0)
		if got := requests[len(requests)-1].Caller; got != want {
			t.Errorf("%s signed, want %s", got, want)
		}
	}
	signs(sim.PublicKey)
	replace(t, public, rotated.PublicKey)
	g.reload(t)
	signs(sim.PublicKey)
	g.reload(t)
	signs(sim.PublicKey)
	replace(t, private, rotated.PrivateKey.Reveal())
	g.reload(t)
	signs(rotated.PublicKey)
}
