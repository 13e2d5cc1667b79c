package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// process is a gateway that runs as a process of its own.
type process struct {
	Listener, Management string

	patience time.Duration // how long it may run; 0 means two minutes
	file     string        // the configuration
	command  *exec.Cmd
	stdout   *bufio.Reader
	output   strings.Builder
	stderr   gatewaytest.Buffer
}

// serveProcess starts the program with a configuration, and waits for the line that says that it
// is ready. A configuration without callers lets everyone in, and one without creates keeps no
// journal.
func serveProcess(t *testing.T, config string, environ ...string) *process {
	t.Helper()
	p := newProcess(t, config, environ...)
	p.start(t, p.command.Start)
	return p
}

// newProcess is serveProcess without the start.
func newProcess(t *testing.T, config string, environ ...string) *process {
	t.Helper()
	gatewaytest.NeedProcess(t)
	if !strings.Contains(config, "callers:") {
		config += "callers: {anonymous: true}\n"
	}
	if !strings.Contains(config, "creates:") { // many tests repeat one create, and count
		config += "creates: {journal: off}\n"
	}
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), `
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
timeouts: {drain: 10ms}
log: {level: debug}
`+config)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{file: file, command: exec.Command(self, "serve", file)}
	p.command.Env = append(append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "STATE_DIRECTORY="+filepath.Dir(file)), environ...)
	p.command.Stderr = &p.stderr
	return p
}

// start starts the program by a function, which is the command's Start as a rule, and waits for
// the line that says that the program is ready.
func (p *process) start(t *testing.T, start func() error) {
	t.Helper()
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := start(); err != nil {
		t.Fatal(err)
	}
	limit := cmp.Or(p.patience, 2*time.Minute)
	watchdog := time.AfterFunc(limit, func() {
		t.Errorf("the program has not ended after %s, and is killed", limit)
		p.command.Process.Kill()
	})
	t.Cleanup(func() {
		watchdog.Stop()
		p.command.Process.Kill()
		gatewaytest.FindRaces(t, p.stderr.String())
	})
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, &p.stderr)
	}
	p.output.WriteString(line)
	if err := json.Unmarshal([]byte(line), p); err != nil {
		t.Fatal(err)
	}
}

// stop sends SIGTERM, and waits for the program to end without an error.
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

// runProgram runs a command of the program, which soon ends, with the key pair public and private
// in its environment. It returns the exit status and everything that was printed.
func runProgram(t *testing.T, arguments []string, environ ...string) (status int, output string) {
	t.Helper()
	gatewaytest.NeedProcess(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // serve ends even if it starts
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0], arguments...)
	// No test keeps a journal outside of its folder.
	command.Env = append(append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "PUBLIC=public", "PRIVATE=private", "STATE_DIRECTORY="+os.DevNull), environ...)
	printed, _ := command.CombinedOutput()
	return command.ProcessState.ExitCode(), string(printed)
}

// get returns the status and the content of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	client := http.Client{Timeout: patience}
	answer, err := client.Do(request)
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

// serveFor starts the program in front of an upstream, with the simulation's API key, more
// settings in YAML, and variables of the environment.
func serveFor(t *testing.T, upstream, settings string, environ ...string) *process {
	t.Helper()
	p := newProcessFor(t, upstream, settings, environ...)
	p.start(t, p.command.Start)
	return p
}

// newProcessFor is serveFor without the start. Upstreams of tests do not tell what is left of a
// rate limit, and get more than Atlas would take.
func newProcessFor(t *testing.T, upstream, settings string, environ ...string) *process {
	t.Helper()
	return newProcess(t, "upstream:\n  base_url: "+upstream+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n"+settings,
		append(environ, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey,
			"ATLAS_GATEWAY_BUDGET_REQUESTS=1000000", "ATLAS_GATEWAY_BUDGET_PER_MINUTE=1000000")...)
}

// forToken returns settings for one caller, who has a token and may do everything.
func forToken(token string) string {
	return "callers: {list: [{name: nightly, tokens: [{sha256: " + hash(token) + `}], grants: [{operations: [manage], groups: ["*"]}]}]}` + "\n"
}

const (
	group   = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930"
	buckets = group + "/backup/exportBuckets"
	exports = group + "/clusters/orders/backup/exports"
	export  = `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`
	bucket  = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"65a9d2f4f20b4c7788990001"}`
	accept  = "Accept: application/vnd.atlas.2025-03-12+json"
	isJSON  = "Content-Type: application/json"
)

// request writes a request as bytes; the connection is closed after the answer.
func request(line, body string, fields ...string) string {
	lines := append([]string{line + " HTTP/1.1", "Host: localhost", "Connection: close"}, fields...)
	if body != "" {
		lines = append(lines, fmt.Sprint("Content-Length: ", len(body)))
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// chunked writes a request whose content is one chunk, followed by trailers, each with its line
// end.
func chunked(line, body, trailers string, fields ...string) string {
	return request(line, "", append(fields, "Transfer-Encoding: chunked")...) + fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, trailers)
}

// patience is how long a test waits for an answer, also on a busy machine.
const patience = 30 * time.Second

// send sends bytes and returns the responses that come back until the gateway ends the
// connection. The gateway must end it, and no error may be longer than 16 KiB.
func (p *process) send(t *testing.T, bytes string) (list []gatewaytest.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
	if err != nil {
		t.Error(err)
		return nil
	}
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, bytes) // an error means that the answer came first
	return receive(t, conn, bytes)
}

// receive returns the responses to bytes that were sent on a connection, as send does.
func receive(t *testing.T, conn net.Conn, bytes string) (list []gatewaytest.Response) {
	t.Helper()
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %.300q", text)
	}
	for reader := bufio.NewReader(strings.NewReader(string(text))); ; {
		if _, err := reader.Peek(1); err != nil {
			for i, got := range list {
				checkOutcome(t, got, i == 0 && strings.HasPrefix(bytes, "POST /api/atlas/"))
			}
			return list
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%v: %.300q", err, text)
			return list
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Errorf("%v: %.300q", err, text)
		}
		if response.StatusCode >= 400 && len(body) > 16<<10 {
			t.Errorf("an error of %d bytes: %.300s", len(body), body)
		}
		list = append(list, gatewaytest.Response{Status: response.StatusCode, Header: response.Header, Body: string(body)})
	}
}

// checkOutcome fails the test unless Gateway-Outcome is in the answer to a create, and says what
// the sentence for the caller says.
func checkOutcome(t *testing.T, got gatewaytest.Response, create bool) {
	t.Helper()
	outcome := got.Header.Values("Gateway-Outcome")
	if len(outcome) == 0 && (!create || got.Header.Get("Gateway-Request-Id") == "") {
		return
	}
	if want := gatewaytest.Outcome(got.Header, got.Body); len(outcome) != 1 || outcome[0] != want {
		t.Errorf("the outcome is %q, want %s: %v", outcome, want, got)
	}
}

// untouched fails the test if there was a connection to Atlas.
func untouched(t *testing.T, atlas *sim.Server, what string) {
	t.Helper()
	if n := atlas.Counts(); n.Connections > 0 {
		t.Errorf("%s: Atlas was reached: %+v", what, n)
	}
}
