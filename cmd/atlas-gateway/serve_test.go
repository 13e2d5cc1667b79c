package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// The program serves a request, drains at SIGTERM and exits with 0. Its key is in none of its
// output.
func TestServe(t *testing.T) {
	gatewaytest.Concurrent(t)
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

// At SIGHUP the program reads its configuration again. A bad configuration does not end the
// program.
func TestServeReloads(t *testing.T) {
	gatewaytest.Concurrent(t)
	t.Parallel() // it waits most of the time
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
		{string(good) + "responses: {check: loose}\n", p.file + ":12: responses.check: "},
		{string(good) + "responses: {check: \"off\"}\n", "the configuration was reloaded"},
		{"", "the configuration was reloaded"}, // for the signal only
	} {
		before := p.stderr.Len()
		if test.config == "" {
			time.Sleep(3 * time.Second) // in which a change would have been noticed
			before = p.stderr.Len()
		} else if err := os.WriteFile(p.file, []byte(test.config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		gatewaytest.WaitFor(t, "the log to say "+test.want, func() bool { return strings.Contains(p.stderr.String()[before:], test.want) })
		if status, body := get(t, p.Listener+buckets); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	p.stop(t)
}

// At start the program warns of a file with a secret that every user may read. The record holds
// neither the file's name nor the secret.
func TestServeWarns(t *testing.T) {
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "canary-file"), "canary-key")
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

// The program sets the garbage collection, unless the environment does.
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

// A proxy in the environment is not used: it would see what goes to Atlas.
func TestServeUsesNoProxy(t *testing.T) {
	proxy, reached := gatewaytest.Tap(t)
	p := serveProcess(t, `
upstream:
  base_url: https://atlas.invalid
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC=a", "PRIVATE=b", "HTTPS_PROXY=http://"+proxy, "https_proxy=http://"+proxy)
	if status, body := get(t, p.Listener+buckets); status != 502 {
		t.Errorf("%d %s", status, body)
	}
	p.stop(t)
	if reached.Load() > 0 {
		t.Error("the proxy was asked")
	}
}

// A response that nobody has asked for answers no request, and shows nowhere.
func TestStrayResponses(t *testing.T) {
	results := func(result string) string { return gatewaytest.JSON(http.StatusOK, `{"results":[`+result+`]}`) }
	stray := make(chan struct{}, 2)
	upstream := gatewaytest.Serve(t, func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		for number := 1; ; number++ {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			sent := r.Header.Get("Authorization")
			switch {
			case sent == "":
				io.WriteString(conn, gatewaytest.Refusing(`WWW-Authenticate: Digest realm="r", nonce="c4na7y-nonce", algorithm=MD5, qop="auth"`))
				number = 0
			case number%2 == 1: // directly behind the response
				io.WriteString(conn, results("")+results(strconv.Quote(sent)))
				stray <- struct{}{}
			default: // while the connection is idle
				io.WriteString(conn, results(""))
				time.Sleep(50 * time.Millisecond)
				io.WriteString(conn, results(strconv.Quote(sent)))
				stray <- struct{}{}
			}
		}
	})
	p := serveProcess(t, `
upstream:
  base_url: http://`+upstream.Addr().String()+`
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, "PUBLIC=c4na7y-public", "PRIVATE=b")
	for range 6 {
		if status, body := get(t, p.Listener+buckets); status != 200 || body != `{"results":[]}` {
			t.Errorf("%d %s", status, body)
		}
		gatewaytest.Receive(t, "a stray response", stray)
	}
	p.stop(t)
	if logs := p.stderr.String(); strings.Contains(logs, "c4na7y") {
		t.Errorf("logs: %s", logs)
	}
}
