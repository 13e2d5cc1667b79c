package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Row 43: nobody reads standard error, its reader goes away, or its disk is full. 64 callers are
// answered as before, each create is carried out once, and SIGTERM ends the program in time.
func TestUnreadLog(t *testing.T) {
	gatewaytest.NeedProcess(t)
	t.Parallel()
	for _, test := range []struct {
		name string
		open func(t *testing.T) (stderr, reader *os.File)
	}{
		{"a reader that sleeps", pipe},
		{"a reader that went away", func(t *testing.T) (*os.File, *os.File) {
			stderr, reader := pipe(t)
			reader.Close()
			return stderr, nil
		}},
		{"a full disk", func(t *testing.T) (*os.File, *os.File) {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			return full, nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			stderr, reader := test.open(t)
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}})
			p := serveUnread(t, atlas.URL(), stderr)
			creates := p.call(t)
			var made struct {
				Count int64 `json:"totalCount"`
			}
			if _, list := get(t, p.Listener+buckets+"?itemsPerPage=1"); json.Unmarshal([]byte(list), &made) != nil || made.Count != creates {
				t.Errorf("%d creates were answered, and then there are %s", creates, list)
			}
			if status, body := p.get(t, "/readyz"); status != 200 {
				t.Errorf("readyz: %d %s", status, body)
			}
			_, metrics := p.get(t, "/metrics")
			dropped := regexp.MustCompile(`(?m)^atlas_gateway_log_records_dropped_total (\S+)$`).FindStringSubmatch(metrics)
			if dropped == nil || dropped[1] == "0" {
				t.Errorf("the metrics count no dropped record: %q", dropped)
			}
			var log bytes.Buffer
			var reading sync.WaitGroup
			if reader != nil { // it wakes up
				reading.Go(func() { io.Copy(&log, reader) })
			}
			p.end(t)
			stderr.Close()
			reading.Wait()
			if reader != nil {
				checkUnread(t, log.String(), creates)
			}
		})
	}
}

// checkUnread holds a log that was read late to what is promised: every line is a record, no
// create is missing, and one record at least says that others are.
func checkUnread(t *testing.T, log string, creates int64) {
	t.Helper()
	outcomes, notices := int64(0), 0
	for line := range strings.Lines(log) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("not a record: %q", line)
			continue
		}
		if record["outcome"] == "answered" {
			outcomes++
		}
		if record["msg"] == "records of the log were dropped" {
			notices++
		}
	}
	if outcomes != creates || notices == 0 || !strings.Contains(log, `"msg":"draining"`) {
		t.Errorf("the log has %d of %d creates, %d records about dropped ones, and %d bytes", outcomes, creates, notices, len(log))
	}
}

// pipe returns the two ends of a pipe.
func pipe(t *testing.T) (written, read *os.File) {
	t.Helper()
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); written.Close() })
	return written, read
}

// unread is the program with a standard error of the test's.
type unread struct {
	Listener, Management string

	command *exec.Cmd
	ended   chan error
}

func serveUnread(t *testing.T, upstream string, stderr *os.File) *unread {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "listener: {address: '127.0.0.1:0'}\nmanagement: {address: '127.0.0.1:0'}\ntimeouts: {drain: 10ms, shutdown: 5s}\ncallers: {anonymous: true}\ncreates: {journal: off}\n" +
		"upstream:\n  base_url: " + upstream + "\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u := &unread{command: exec.Command(self, "serve", file), ended: make(chan error, 1)}
	u.command.Env = append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	u.command.Stderr = stderr
	stdout, err := u.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.command.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), u); err != nil {
		t.Fatal(err)
	}
	go func() { u.ended <- u.command.Wait() }()
	return u
}

// call has 64 callers send 70 requests each. The first 60 are refused, so that their records fill
// the room that all records share, and Atlas is not asked. One of the others is a create. Every
// one of them must be answered with 200. It returns how many creates were answered.
func (u *unread) call(t *testing.T) (creates int64) {
	t.Helper()
	var answered atomic.Int64
	var callers sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for range 64 {
		callers.Go(func() {
			for i := range 70 {
				method, target, content, want := "GET", buckets, "", 200
				switch {
				case i < 60:
					target, want = group+"/databaseUsers", 403
				case i == 65:
					method, content = "POST", bucket
				}
				request, err := http.NewRequest(method, u.Listener+target, strings.NewReader(content))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Accept", strings.TrimPrefix(accept, "Accept: "))
				request.Header.Set("Content-Type", "application/json")
				response, err := client.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if response.StatusCode != want || err != nil {
					t.Errorf("%s: %d %s %v", method, response.StatusCode, body, err)
					return
				}
				if method == "POST" {
					answered.Add(1)
				}
			}
		})
	}
	callers.Wait()
	return answered.Load()
}

func (u *unread) get(t *testing.T, path string) (int, string) {
	t.Helper()
	response, err := (&http.Client{Timeout: 5 * time.Second}).Get(u.Management + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(body)
}

// end sends SIGTERM. The program must end within timeouts.drain and timeouts.shutdown, with a
// second for its last words.
func (u *unread) end(t *testing.T) {
	t.Helper()
	began := time.Now()
	u.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-u.ended:
		if err != nil {
			t.Errorf("the program ended with: %v", err)
		}
		t.Logf("ended after %s", time.Since(began).Round(time.Millisecond))
	case <-time.After(10*time.Millisecond + 5*time.Second + time.Second):
		t.Error("the program did not end")
	}
}
