package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/canary"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind, on either side of the gateway.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections() // the generated client's
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The ids of the simulation's default seed, which are those of the contract's examples.
const (
	group    = "64f0c1a2b3d4e5f607182930"
	snapshot = "6a01e0b45be2d84417c09f10"
	bucketID = "65a9d3e1f20b4c7788990011"
	jobID    = "6a01f3c95be2d84417c0aa01"
	role     = "65a9d2f4f20b4c7788990001"

	v1Exports = "/api/atlas/v1.0/groups/" + group + "/clusters/orders/backup/exports"
	v2Exports = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"
	v1Buckets = "/api/atlas/v1.0/groups/" + group + "/backup/exportBuckets"
	v2Buckets = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"

	v2Clusters = "/api/atlas/v2/groups/" + group + "/clusters"

	latest     = "application/vnd.atlas.2025-03-12+json"
	privateKey = "c4na7y-3f1c6b0e-private"
)

// running is a gateway that serves on loopback.
type running struct {
	url        string
	address    string
	management string
	file       string // of the configuration
	hangup     chan os.Signal
	logs       *lockedBuffer
	stop       context.CancelFunc
	stopped    chan error
}

// lockedBuffer is a buffer that a server writes and a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start serves a gateway for the upstream with settings, lines of YAML, added to the least
// that a configuration needs. It stops with the test.
func start(t testing.TB, upstream, publicKey, private string, settings ...string) *running {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return startWith(t, fmt.Sprintf(`
callers: {anonymous: true}
upstream:
  base_url: %s
  credentials:
    - public_key_file: %s
      private_key_file: %s
`, upstream, write("public", publicKey+"\n"), write("private", private+"\n"))+strings.Join(settings, "\n"))
}

// startWith serves a gateway with a configuration and an environment. It stops with the test,
// and neither its log nor its metrics may then hold a secret: see secretsOf.
func startWith(t testing.TB, yaml string, environ ...string) *running {
	t.Helper()
	return startAt(t, nil, yaml, environ...)
}

// startAt is startWith on a clock of the test's, if it has one.
func startAt(t testing.TB, now func() time.Time, yaml string, environ ...string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(yaml, "drain:") {
		environ = append(environ, "ATLAS_GATEWAY_TIMEOUTS_DRAIN=1ms")
	}
	source := config.NewSource(file, environ)
	parts, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{file: file, hangup: make(chan os.Signal), logs: &lockedBuffer{}, stopped: make(chan error, 1)}
	keepConfigured(t, &parts.Config, environ)
	g, err := gateway.New(parts, slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	if now != nil {
		g.SetClock(now)
	}
	callers, management := listen(t), listen(t)
	r.address = callers.Addr().String()
	r.url, r.management = "http://"+r.address, "http://"+management.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go g.Watch(ctx, source, r.hangup)
	go func() { r.stopped <- g.Serve(ctx, callers, management) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.stopped:
			r.stopped <- nil
			if err != nil {
				t.Errorf("the gateway stopped with: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the gateway did not stop")
		}
		keepConfigured(t, &parts.Config, environ) // files may have changed
		findSecrets(t, "the log", r.logs.String())
	})
	t.Cleanup(func() {
		if ctx.Err() == nil { // else the test has stopped it
			if got := send(t, "GET", r.management+"/metrics", nil, ""); got.status != 200 {
				t.Errorf("metrics: %d %s", got.status, got.body)
			}
		}
	})
	return r
}

// secrets are those of each test, by its name: what its gateways are configured with, the
// keys of its callers, and whatever they sent to be let in. No log, metric or answer may hold
// any of them.
var secrets sync.Map

func secretsOf(t testing.TB) *canary.Secrets {
	test, _, _ := strings.Cut(t.Name(), "/")
	s, _ := secrets.LoadOrStore(test, new(canary.Secrets))
	return s.(*canary.Secrets)
}

// keepSecret adds a secret, but for one that is as short as a word.
func keepSecret(t testing.TB, name, secret string) {
	if len(secret) >= 8 {
		secretsOf(t).Add(name, secret)
	}
}

// keepConfigured adds the secrets that a configuration names, as they are now.
func keepConfigured(t testing.TB, c *config.Config, environ []string) {
	keepFile := func(name, file string) {
		content, _ := os.ReadFile(file) // there may be none
		for line := range strings.Lines(string(content)) {
			line = strings.TrimSpace(line)
			keepSecret(t, name, line)
			if _, ha1, ok := strings.Cut(line, ":"); ok {
				keepSecret(t, name, ha1)
			}
			if key, err := base64.StdEncoding.DecodeString(line); err == nil {
				keepSecret(t, name, string(key))
			}
		}
	}
	for _, credential := range c.Upstream.Credentials {
		keepFile("Atlas's private key", credential.PrivateKeyFile)
		keepFile("Atlas's client secret", credential.ClientSecretFile)
		for _, variable := range environ {
			if name, value, _ := strings.Cut(variable, "="); name == credential.PrivateKeyEnv || name == credential.ClientSecretEnv {
				keepSecret(t, "Atlas's secret "+name, value)
			}
		}
	}
	keepFile("the signing key", c.Callers.SigningKeyFile)
	keepFile("the listener's key", c.Listener.TLSKeyFile)
	for _, caller := range c.Callers.List {
		for _, pair := range caller.KeyPairs {
			keepFile("HA1 of "+caller.Name, pair.HA1File)
		}
	}
}

// findSecrets fails the test where a text holds one of its secrets.
func findSecrets(t testing.TB, where, text string) {
	t.Helper()
	for _, found := range secretsOf(t).Find(text) {
		t.Errorf("a secret is in %s: %s", where, found)
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// response is an answer that was read in full.
type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request as it is and reads the answer, which may hold no secret. What it sends
// as a credential is one from then on, and so is the access token that it gets.
func send(t testing.TB, method, url string, header map[string]string, body string) response {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	keepSecret(t, "the Authorization field", request.Header.Get("Authorization"))
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	findSecrets(t, "an answer's header", fmt.Sprint(answer.Header))
	findSecrets(t, "an answer", string(text))
	checkOutcome(t, method, url, answer.Header, string(text))
	if strings.HasSuffix(url, "/api/oauth/token") {
		var content struct {
			AccessToken string `json:"access_token"`
		}
		json.Unmarshal(text, &content) // where it was refused, there is none
		keepSecret(t, "an access token", content.AccessToken)
	}
	return response{answer.StatusCode, answer.Header, string(text)}
}

// checkOutcome holds every answer of a gateway to what is promised of Gateway-Outcome: each answer to
// a create has it and no other answer has, and it agrees with the sentence and with who answers.
func checkOutcome(t testing.TB, method, url string, header http.Header, body string) {
	t.Helper()
	outcomes, own := header.Values("Gateway-Outcome"), header.Get("Gateway-Error") != ""
	if header.Get("Gateway-Request-Id") == "" || method != "POST" || strings.Contains(url, "/api/oauth/") {
		if len(outcomes) > 0 {
			t.Errorf("%s %s: the outcome %q of what is no create", method, url, outcomes)
		}
		return
	}
	want := []string{"answered"}
	switch {
	case own && strings.Contains(body, "not known whether the request was carried out"):
		want = []string{"unknown"}
	case own:
		want = []string{"not_sent"}
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("%s %s: the outcome %q, want %q: %s", method, url, outcomes, want, body)
	}
}

// raw sends bytes over TCP and returns all bytes that come back until the server closes
// the connection. None of them may be of a secret.
func raw(t testing.TB, address, bytes string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatalf("no answer: %v", err)
	}
	findSecrets(t, "an answer", string(answer))
	return string(answer)
}
