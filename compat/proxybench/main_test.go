package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"

	icholy "github.com/icholy/digest"
)

// The test binary is a part if it runs with the arguments of one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
	}
	os.Exit(m.Run())
}

// buildGateway builds the gateway's program.
func buildGateway(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of another process is read only on Linux")
	}
	return gatewaytest.BuildProgram(t, filepath.Join("..", ".."))
}

// runBench runs the program and returns its tables, with N for each number that has a fraction.
func runBench(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit status %d\n%s", code, &stderr)
	}
	_, tables, _ := strings.Cut(stdout.String(), "\n\n")
	return regexp.MustCompile(`[0-9]+\.[0-9]+`).ReplaceAllString(tables, "N")
}

const (
	header = "| request | connections | plain | pooled | chain | token | digest | jwt | journal | traced |\n|---|---|---|---|---|---|---|---|---|---|\n"
	row    = " N µs | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) | N µs, N (N to N) |\n"
)

// TestRun measures everything, each a little. Every response through every proxy has the right
// status, and every cell of the table is filled.
func TestRun(t *testing.T) {
	got := runBench(t, "-gateway", buildGateway(t), "-rounds", "2", "-requests", "20", "-connections", "1,3")
	want := header +
		"| GET | 1 |" + row + "| GET | 3 |" + row +
		"| shared | 1 |" + row + "| shared | 3 |" + row +
		"| watched | 1 |" + row + "| watched | 3 |" + row +
		"| POST | 1 |" + row + "| POST | 3 |" + row +
		"| rejected | 1 |" + row + "| rejected | 3 |" + row +
		"\nPeak memory: plain N MiB, pooled N MiB, chain N MiB, gateway N MiB, journal N MiB, traced N MiB. Spans that were dropped: 0.\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestBefore measures two gateways in the same rounds.
func TestBefore(t *testing.T) {
	gateway := buildGateway(t)
	got := runBench(t, "-gateway", gateway, "-before", gateway, "-rounds", "2", "-requests", "20", "-connections", "2")
	const compared = " N µs | N µs | N (N to N) |\n"
	want := header + "| GET | 2 |" + row + "| shared | 2 |" + row + "| watched | 2 |" + row + "| POST | 2 |" + row + "| rejected | 2 |" + row +
		"\n| request | connections | caller | before | after | after / before |\n|---|---|---|---|---|---|\n" +
		"| GET | 2 | token |" + compared + "| GET | 2 | digest |" + compared + "| GET | 2 | jwt |" + compared +
		"| shared | 2 | token |" + compared + "| shared | 2 | digest |" + compared + "| shared | 2 | jwt |" + compared +
		"| watched | 2 | token |" + compared + "| watched | 2 | digest |" + compared + "| watched | 2 | jwt |" + compared +
		"| POST | 2 | token |" + compared + "| POST | 2 | digest |" + compared + "| POST | 2 | jwt |" + compared +
		"| rejected | 2 | token |" + compared + "| rejected | 2 | digest |" + compared + "| rejected | 2 | jwt |" + compared +
		"\nPeak memory: plain N MiB, pooled N MiB, chain N MiB, before N MiB, gateway N MiB, journal N MiB, traced N MiB. Spans that were dropped: 0.\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestJournal measures a journal, a little.
func TestJournal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"-gateway", buildGateway(t), "-journal", "-rounds", "2", "-requests", "4", "-keys", "2000", "-dir", t.TempDir()}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit status %d\n%s", code, &stderr)
	}
	want := `^go.*, [0-9]+ CPUs; the journal is in /.*\.\n\n` +
		`\| callers \| .*\n[|-]+\n(\| (1|64) \| [0-9]+ \| [0-9]+ \| [0-9.]+ \([0-9.]+ to [0-9.]+\) \|\n){2}\n` +
		`\| keys \| .*\n[|-]+\n(\| [12]000 \| [0-9]+ MiB \| [0-9.]+m?s (\| [0-9]+ µs, [0-9]+ µs ){4}(\| [0-9]+ MiB ){2}\|\n){2}$`
	if !regexp.MustCompile(want).MatchString(stdout.String()) {
		t.Errorf("%s", &stdout)
	}
}

// The tables have medians, and the medians and quartiles of the ratios in the same round.
func TestTables(t *testing.T) {
	us := func(micros ...int) (times []time.Duration) {
		for _, n := range micros {
			times = append(times, time.Duration(n)*time.Microsecond)
		}
		return times
	}
	r := results{
		proxies:  []string{"plain", "token"},
		gateways: []string{"token"},
		times: map[cell][]time.Duration{
			{"GET", 4, "plain", false}: us(100, 200, 100, 100, 100),
			{"GET", 4, "token", true}:  us(100, 50, 100, 200, 400),
			{"GET", 4, "token", false}: us(110, 100, 90, 300, 400), // ratios to before: 1.1, 2, 0.9, 1.5, 1
		},
		memory:  []string{"plain 1.0 MiB"},
		dropped: "0",
	}
	var got strings.Builder
	r.write(&got, options{kinds: []string{"GET"}, numbers: []int{4}})
	want := `| request | connections | plain | token |
|---|---|---|---|
| GET | 4 | 100.0 µs | 110.0 µs, 1.10 (0.90 to 3.00) |

| request | connections | caller | before | after | after / before |
|---|---|---|---|---|---|
| GET | 4 | token | 100.0 µs | 110.0 µs | 1.10 (1.00 to 1.50) |

Peak memory: plain 1.0 MiB. Spans that were dropped: 0.
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-before program"},
		{[]string{"-befor", "x"}, 2, "flag provided but not defined: -befor"},
		{[]string{"x"}, 2, `"x" is not a flag`},
		{[]string{"-connections", "1,no"}, 2, `-connections: "no" is not a number of connections`},
		{[]string{"-only", "PUT"}, 2, `-only: "PUT" is none of GET, shared, watched, POST, rejected`},
		{[]string{"-journal", "-keys", "0"}, 2, "-keys must be 1 or more"},
		{[]string{"-rounds", "-1"}, 2, "-rounds and -requests must be 1 or more"},
		{[]string{"-before", "x", "-profile", t.TempDir()}, 2, "-before and -profile do not go together"},
		{[]string{"-before", "none/atlas-gateway"}, 1, "none/atlas-gateway: no such file"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), test.args, &stdout, &stderr); code != test.code || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%q: exit status %d, want %d; %s%s", test.args, code, test.code, &stdout, &stderr)
		}
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

// TestWrongStatus measures proxies that answer with the wrong status.
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

// The upstream accepts only the right credential.
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
