package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the program when it is run under its name.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ATLAS_GATEWAY") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"atlas-gateway": main})
}

func TestScripts(t *testing.T) {
	example, err := filepath.Abs("atlas-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			return nil
		},
	})
}

const buckets = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets"

// process is a gateway that runs as a process of its own.
type process struct {
	Listener, Management string

	file    string // of the configuration
	command *exec.Cmd
	stdout  *bufio.Reader
	output  strings.Builder
	stderr  lockedBuffer
}

// lockedBuffer is what a process writes and a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
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

// serveProcess starts the program with a configuration, which lets everyone in unless it says
// who may call, and waits for its ready line.
func serveProcess(t *testing.T, config string, environ ...string) *process {
	t.Helper()
	if !strings.Contains(config, "callers:") {
		config += "callers: {anonymous: true}\n"
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(`
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
timeouts: {drain: 10ms}
log: {level: debug}
`+config), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{file: file, command: exec.Command(self, "serve", file)}
	p.command.Env = append(append(os.Environ(), "RUN_ATLAS_GATEWAY=1"), environ...)
	p.command.Stderr = &p.stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(2*time.Minute, func() { p.command.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop(); p.command.Process.Kill() })
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, &p.stderr)
	}
	p.output.WriteString(line)
	if err := json.Unmarshal([]byte(line), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// stop sends SIGTERM and waits for a clean end.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&p.output, p.stdout); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, &p.stderr)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// Garbage collection is set, unless the environment sets it.
func TestServeTunesCollector(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    string
	}{
		{[]string{"GOGC=", "GOMEMLIMIT="}, "percent 400, limit 2.68435456e+08"},
		{[]string{"GOGC=50", "GOMEMLIMIT="}, "percent 50, limit 2.68435456e+08"},
		{[]string{"GOGC=", "GOMEMLIMIT=1GiB"}, "percent 400, limit 1.073741824e+09"},
	} {
		p := serveProcess(t, "upstream: {base_url: http://127.0.0.1:1, credentials: [{public_key_env: A, private_key_env: B}]}\n", append(test.environ, "A=a", "B=b")...)
		_, metrics := get(t, p.Management+"/metrics")
		value := func(name string) string {
			_, rest, _ := strings.Cut(metrics, "\n"+name+" ")
			value, _, _ := strings.Cut(rest, "\n")
			return value
		}
		if got := "percent " + value("go_gc_gogc_percent") + ", limit " + value("go_gc_gomemlimit_bytes"); got != test.want {
			t.Errorf("%v: %s, want %s", test.environ, got, test.want)
		}
		p.stop(t)
	}
}

// The process serves a request, drains at SIGTERM and exits with 0; its key is in none of
// its output.
func TestServe(t *testing.T) {
	const private = "c4na7y-5d0c7a61-private"
	seed := sim.DefaultSeed()
	for i := range seed.Keys {
		seed.Keys[i].PrivateKey = secret.New(private)
	}
	atlas := sim.Start(t, sim.Config{Seed: seed})
	p := serveProcess(t, `
upstream:
  base_url: `+atlas.URL()+`
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC="+sim.PublicKey, "PRIVATE="+private)
	if status, body := get(t, p.Listener+buckets); status != 200 {
		t.Errorf("list: %d %s", status, body)
	}
	status, metrics := get(t, p.Management+"/metrics")
	if status != 200 || !strings.Contains(metrics, `atlas_gateway_requests_total{operation="listExportBuckets",status="200"} 1`) ||
		!strings.Contains(metrics, `atlas_gateway_upstream_requests_total{status="401"} 1`) {
		t.Errorf("metrics: %d %s", status, metrics)
	}
	p.stop(t)
	if strings.Contains(p.output.String()+p.stderr.String()+metrics, private) {
		t.Error("the private key was printed")
	}
	if !strings.Contains(p.stderr.String(), `"msg":"draining"`) {
		t.Errorf("no word of draining: %s", &p.stderr)
	}
}

// SIGHUP makes the process read its configuration again, and does not end it when that is bad.
func TestServeReloads(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	p := serveProcess(t, `
upstream:
  base_url: `+atlas.URL()+`
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ config, want string }{
		{string(good) + "responses: {check: loose}\n", p.file + ":11: responses.check: "},
		{string(good) + "responses: {check: \"off\"}\n", "the configuration was reloaded"},
		{"", "the configuration was reloaded"}, // nothing changed, so that it is the signal's doing
	} {
		before := len(p.stderr.String())
		if test.config == "" {
			time.Sleep(3 * time.Second) // so long that a change would have been noticed
			before = len(p.stderr.String())
		} else if err := os.WriteFile(p.file, []byte(test.config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if strings.Contains(p.stderr.String()[before:], test.want) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !strings.Contains(p.stderr.String()[before:], test.want) {
			t.Errorf("the log does not say %q: %s", test.want, &p.stderr)
		}
		if status, body := get(t, p.Listener+buckets); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	p.stop(t)
}

// A secret that every user may read is worth a record at start, which does not repeat it.
func TestServeWarns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "canary-file")
	if err := os.WriteFile(file, []byte("canary-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o444); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	p := serveProcess(t, "upstream: {credentials: [{public_key_file: "+file+", private_key_file: "+file+"}]}\n")
	p.stop(t)
	var warning struct{ Level, Msg, Warning string }
	line, _, _ := strings.Cut(p.stderr.String(), "\n")
	if err := json.Unmarshal([]byte(line), &warning); err != nil || warning.Level != "WARN" || warning.Msg != "configuration" ||
		!strings.HasSuffix(warning.Warning, ": upstream.credentials[0].private_key_file: every user may read the file, which holds a secret: its mode is 0444") {
		t.Errorf("%v: %s", err, line)
	}
	if strings.Contains(p.stderr.String(), "canary") {
		t.Errorf("the file's name or content was logged: %s", &p.stderr)
	}
}

// The configuration in deploy/ is good once the files are there that the unit beside it hands
// over, of which it uses each. The unit gives the gateway the time that its shutdown may take.
func TestDeployment(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join("../../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	server := httptest.NewTLSServer(nil) // has a certificate
	defer server.Close()
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"tls.crt":           string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
		"tls.key":           string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"atlas-public-key":  "public",
		"atlas-private-key": "private",
		"signing.key":       callers.NewSigningKey().Reveal(),
		"nightly.ha1":       callers.NewKeyPair("nightly", "", "").HA1File.Reveal(),
	}
	const credentials = "/run/credentials/atlas-gateway.service/"
	unit, yaml, dir := read("atlas-gateway.service"), read("atlas-gateway.yaml"), t.TempDir()
	for _, credential := range regexp.MustCompile(`(?m)^LoadCredential=(.+):/etc/atlas-gateway/(.+)$`).FindAllStringSubmatch(unit, -1) {
		name := credential[1]
		if secrets[name] == "" || credential[2] != name || !strings.Contains(yaml, ": "+credentials+name+"\n") {
			t.Errorf("the configuration doesn't use %s", credential)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secrets[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "atlas-gateway.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(yaml, credentials, dir+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	status := run(t.Context(), []string{"check", file}, nil, nil, &stdout, &stderr)
	if status != exitOK || stdout.String() != "the configuration is good: 0.0.0.0:8443 forwards to https://cloud.mongodb.com\n" || stderr.Len() > 0 {
		t.Errorf("exit status %d: %s%s", status, &stdout, &stderr)
	}
	loaded, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("the unit has no TimeoutStopSec in seconds")
	}
	if seconds, err := strconv.Atoi(stop[1]); err != nil || time.Duration(seconds)*time.Second <= loaded.Config.Timeouts.Drain+loaded.Config.Timeouts.Shutdown {
		t.Errorf("%s is too short: %v", stop[0], loaded.Config.Timeouts)
	}
}

// A proxy in the environment is not used: it would see what goes to Atlas.
func TestServeUsesNoProxy(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	asked := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			asked <- struct{}{}
			conn.Close()
		}
	}()
	p := serveProcess(t, `
upstream:
  base_url: https://atlas.invalid
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC=a", "PRIVATE=b", "HTTPS_PROXY=http://"+proxy.Addr().String(), "https_proxy=http://"+proxy.Addr().String())
	if status, body := get(t, p.Listener+buckets); status != 502 {
		t.Errorf("%d %s", status, body)
	}
	p.stop(t)
	if len(asked) > 0 {
		t.Error("the proxy was asked")
	}
}

// What an upstream sends unasked answers no one, and shows nowhere.
func TestStrayResponses(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	answer := func(result string) string {
		content := `{"results":[` + result + `]}`
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
	}
	stray := make(chan struct{}, 2)
	go func() {
		for {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for number := 1; ; number++ {
					r, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					sent := r.Header.Get("Authorization")
					switch {
					case sent == "":
						fmt.Fprint(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"c4na7y-nonce\", algorithm=MD5, qop=\"auth\"\r\nContent-Length: 0\r\n\r\n")
						number = 0
					case number%2 == 1: // at once, behind the response
						fmt.Fprint(conn, answer(""), answer(strconv.Quote(sent)))
						stray <- struct{}{}
					default: // while the connection is idle
						fmt.Fprint(conn, answer(""))
						time.Sleep(50 * time.Millisecond)
						fmt.Fprint(conn, answer(strconv.Quote(sent)))
						stray <- struct{}{}
					}
				}
			}()
		}
	}()
	p := serveProcess(t, `
upstream:
  base_url: http://`+upstream.Addr().String()+`
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC=c4na7y-public", "PRIVATE=b")
	for range 6 {
		if status, body := get(t, p.Listener+buckets); status != 200 || body != `{"results":[]}` {
			t.Errorf("%d %s", status, body)
		}
		<-stray
	}
	p.stop(t)
	if logs := p.stderr.String(); strings.Contains(logs, "c4na7y") {
		t.Errorf("logs: %s", logs)
	}
}

// What a library writes to the standard logger is a record like any other, without what it
// quotes.
func TestStrayLog(t *testing.T) {
	var out bytes.Buffer
	stray := log.New(strayLog{slog.New(slog.NewJSONHandler(&out, nil))}, "", 0)
	stray.Print("Unsolicited response\n {} starting with \"c4na7y\"; err=<nil>")
	var record struct{ Level, Msg, Message string }
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	if record.Level != "WARN" || record.Msg != "library" || record.Message != "Unsolicited response\n {} starting with " {
		t.Errorf("%+v", record)
	}
}

func TestExitStatus(t *testing.T) {
	keyPair := []string{"MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}
	for _, test := range []struct {
		args []string
		env  []string
		want int
	}{
		{[]string{"version"}, nil, exitOK},
		{[]string{"-h"}, nil, exitOK},
		{[]string{"help"}, nil, exitOK},
		{[]string{"serve", "-h"}, nil, exitOK},
		{[]string{"serve", "--bogus"}, nil, exitUsage},
		{nil, nil, exitUsage},
		{[]string{"fly"}, nil, exitUsage},
		{[]string{"version", "x"}, nil, exitUsage},
		{[]string{"check"}, nil, exitConfig},
		{[]string{"serve"}, nil, exitConfig},
		{[]string{"check", "none.yaml"}, nil, exitConfig},
		{[]string{"keys"}, nil, exitUsage},
		{[]string{"keys", "new", "-caller", "a", "-kind", "key"}, nil, exitUsage},
		{[]string{"keys", "signing-key", "testdata"}, nil, exitFailed},
		{[]string{"explain", "-caller", "a"}, nil, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "b", "-group", "c", "none.yaml"}, nil, exitConfig},
		{[]string{"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "64f0c1a2b3d4e5f607182930", "testdata/granted.yaml"}, keyPair, exitOK},
		{[]string{"explain", "-caller", "a", "-operation", "createExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "testdata/granted.yaml"}, keyPair, exitDenied},
		{[]string{"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "orders", "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "listBackupExports", "-group", "64f0c1a2b3d4e5f607182930", "-cluster", strings.Repeat("a", 65), "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "getExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "-export-bucket", "65A9", "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "createExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "-cloud-provider", "S3", "testdata/granted.yaml"}, keyPair, exitUsage},
		// 192.0.2.0/24 is for documentation (RFC 5737): no address of this machine.
		{[]string{"serve"}, []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=192.0.2.1:1", "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:0", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}, exitFailed},
	} {
		var stdout, stderr strings.Builder
		if got := run(t.Context(), test.args, test.env, nil, &stdout, &stderr); got != test.want {
			t.Errorf("%q: exit status %d, want %d: %s", test.args, got, test.want, &stderr)
		}
	}
}
