package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	icholy "github.com/icholy/digest"
)

// The test binary is each of the parts when it is run as such.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
	}
	os.Exit(m.Run())
}

// TestRun measures everything, each a little: every response through every proxy has the
// status that it should have, and every cell of the table is filled.
func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of another process is read on Linux alone")
	}
	gateway := filepath.Join(t.TempDir(), "atlas-gateway")
	build := exec.Command("go", "build", "-o", gateway, "./cmd/atlas-gateway")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"-gateway", gateway, "-rounds", "2", "-requests", "20", "-connections", "1,3"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit status %d\n%s", code, &stderr)
	}
	_, table, _ := strings.Cut(stdout.String(), "\n\n")
	got := regexp.MustCompile(`[0-9]+\.[0-9]+`).ReplaceAllString(table, "N")
	row := " N µs | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) |\n"
	want := "| request | connections | plain | pooled | chain | token | digest |\n|---|---|---|---|---|---|---|\n" +
		"| GET | 1 |" + row + "| GET | 3 |" + row +
		"| POST | 1 |" + row + "| POST | 3 |" + row +
		"| rejected | 1 |" + row + "| rejected | 3 |" + row +
		"\nPeak memory: plain N MiB, pooled N MiB, chain N MiB, gateway N MiB.\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// upstreams serves both upstreams for a test, and returns where.
func upstreams(t *testing.T) (signed, open string) {
	t.Helper()
	serve := func(u *upstream) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go u.serve(listener)
		return listener.Addr().String()
	}
	asking := newUpstream("http://127.0.0.1")
	if err := asking.askForCredential(); err != nil {
		t.Fatal(err)
	}
	return serve(asking), serve(newUpstream("http://127.0.0.1"))
}

// TestWrongStatus loads what answers with another status than it should.
func TestWrongStatus(t *testing.T) {
	signed, open := upstreams(t)
	for _, test := range []struct {
		kind  string
		proxy proxyUnderTest
		want  string
	}{
		{"GET", proxyUnderTest{address: signed}, `answered "HTTP/1.1 401 Unauthorized", not 200`},
		{"rejected", proxyUnderTest{address: open, validates: true}, `answered "HTTP/1.1 200 OK", not 400`},
		{"GET", proxyUnderTest{address: open, digest: &icholy.Options{}}, `answered "HTTP/1.1 200 OK", not 401`},
	} {
		_, err := newLoad(t.Context(), &test.proxy, test.kind, 2)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: the error is %v, want %s", test.kind, err, test.want)
		}
	}
}

// TestUpstream shows credentials to the upstream, of which it accepts the right one alone.
func TestUpstream(t *testing.T) {
	signed, _ := upstreams(t)
	client := &http.Client{Timeout: 10 * time.Second}
	get := func(authorization string) *http.Response {
		t.Helper()
		r, err := http.NewRequest("GET", "http://"+signed+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	challenge, err := icholy.FindChallenge(get("").Header)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, nonce string
		options     icholy.Options
		want        int
	}{
		{"right", challenge.Nonce, icholy.Options{Method: "GET", URI: target, Username: publicKey, Password: privateKey, Count: 1}, 200},
		{"right, again", challenge.Nonce, icholy.Options{Method: "GET", URI: target, Username: publicKey, Password: privateKey, Count: 2}, 200},
		{"of another user", challenge.Nonce, icholy.Options{Method: "GET", URI: target, Username: "stranger", Password: privateKey, Count: 3}, 401},
		{"with another key", challenge.Nonce, icholy.Options{Method: "GET", URI: target, Username: publicKey, Password: "other", Count: 3}, 401},
		{"for another method", challenge.Nonce, icholy.Options{Method: "POST", URI: target, Username: publicKey, Password: privateKey, Count: 3}, 401},
		{"for another target", challenge.Nonce, icholy.Options{Method: "GET", URI: "/", Username: publicKey, Password: privateKey, Count: 3}, 401},
		{"with an unknown nonce", "unknown", icholy.Options{Method: "GET", URI: target, Username: publicKey, Password: privateKey, Count: 1}, 401},
	} {
		asked := *challenge
		asked.Nonce = test.nonce
		credential, err := icholy.Digest(&asked, test.options)
		if err != nil {
			t.Fatal(err)
		}
		if got := get(credential.String()).StatusCode; got != test.want {
			t.Errorf("%s: status %d, want %d", test.name, got, test.want)
		}
	}
}
