package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"atlas-export-gateway/sim"
)

// gateway is one gateway, which is started again each time that it was killed.
type gateway struct {
	program, file string // the configuration
	environ       []string
	url           string // of the listener
	journal       string // the file of its journal, or empty
	audit         *stream
	log           io.Writer

	trap atomic.Pointer[trap]

	mu       sync.Mutex // guards what follows
	process  *exec.Cmd
	ended    chan struct{} // closed when the process has ended
	ready    chan string   // gets the management URL
	tail     []string      // of the log, for errors
	operator string        // the management URL
}

// newGateway writes the configuration of a gateway for an Atlas.
func newGateway(dir string, number int, o options, callers, journalURL string) (*gateway, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	g := &gateway{program: o.gateway, file: filepath.Join(dir, fmt.Sprintf("gateway%d.yaml", number)), url: "http://" + address, log: io.Discard}
	g.audit = newStream(filepath.Join(dir, fmt.Sprintf("audit%d.jsonl", number)))
	g.environ = append(os.Environ(), "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "JOURNAL="+journalURL)
	creates := "journal: " + o.journal
	switch o.journal {
	case "file":
		g.journal = filepath.Join(dir, "creates.db")
		creates += ", file: " + g.journal
	case "postgres":
		creates += ", postgres_url_env: JOURNAL"
	}
	if o.logs != "" {
		if g.log, err = os.Create(filepath.Join(o.logs, fmt.Sprintf("gateway%d.log", number))); err != nil {
			return nil, err
		}
	}
	return g, os.WriteFile(g.file, fmt.Appendf(nil, `
listener: {address: "%s"}
management: {address: "127.0.0.1:0"}
callers:
  list:
%stimeouts: {drain: 1ms, upstream: %s}
budget: {requests: 1000000, per_minute: 1000000}
creates: {%s, quarantine: 300ms, wait: 5s, open_per_caller: 1000000}
audit: {file: %s, required: true}
upstream:
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
`, address, callers, upstreamTimeout, creates, g.audit.path), 0o600)
}

// freeAddress returns an address on loopback that nothing listens on. Its port is below those that
// outgoing connections get: one of them could have it while the gateway is down.
func freeAddress() (string, error) {
	for range 1000 {
		address := "127.0.0.1:" + strconv.Itoa(10_000+rand.IntN(20_000))
		if listener, err := net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", errors.New("no port is free")
}

// start starts the process, and returns before the gateway is ready.
func (g *gateway) start() error {
	process := exec.Command(g.program, "serve", g.file)
	process.Env = g.environ
	stdout, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := process.StderrPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	ended, ready := make(chan struct{}), make(chan string, 1)
	g.mu.Lock()
	g.process, g.ended, g.ready, g.tail = process, ended, ready, nil
	g.mu.Unlock()
	var reading sync.WaitGroup
	reading.Go(func() {
		var line struct{ Management string }
		if json.NewDecoder(stdout).Decode(&line) == nil {
			ready <- line.Management
		}
	})
	reading.Go(func() { g.readLog(stderr) })
	go func() {
		reading.Wait()
		process.Wait()
		close(ended)
	}()
	return nil
}

// readLog reads the log of a process to its end.
func (g *gateway) readLog(log io.Reader) {
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadSlice('\n')
		switch {
		case bytes.Contains(line, []byte(`"state":"sent"`)):
			g.reach(recorded)
		case bytes.Contains(line, []byte(`"state":"answered"`)):
			g.reach(stored)
		case len(line) > 0 && !bytes.Contains(line, []byte(`"level":"INFO"`)):
			g.mu.Lock()
			g.tail = append(g.tail[max(0, len(g.tail)-4):], string(line))
			g.mu.Unlock()
		}
		g.log.Write(line)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// run starts the gateway, and returns when it is ready. A gateway that ends, since its database is
// down or as it was killed, is started again.
func (g *gateway) run(ctx context.Context) error {
	for until := time.Now().Add(2 * time.Minute); ; {
		if err := g.start(); err != nil {
			return err
		}
		select {
		case g.operator = <-g.ready:
			return nil
		case <-g.ended:
			if time.Now().After(until) {
				return fmt.Errorf("the gateway does not start: %s", g.tail)
			}
		case <-ctx.Done():
			g.kill()
			return context.Cause(ctx)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// kill ends the gateway with SIGKILL, and returns when it has ended.
func (g *gateway) kill() {
	g.mu.Lock()
	process, ended := g.process, g.ended
	g.mu.Unlock()
	if process != nil {
		process.Process.Kill()
		<-ended
	}
}

// stop ends the gateway with SIGTERM. It must end by itself, and without an error.
func (g *gateway) stop() error {
	g.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
	case <-time.After(time.Minute):
		g.kill()
		return errors.New("the gateway does not end")
	}
	if !g.process.ProcessState.Success() {
		return fmt.Errorf("the gateway ended with %s: %s", g.process.ProcessState, g.tail)
	}
	return nil
}

// openCreates matches the metric that counts the creates whose outcome is open, once for each
// state.
var openCreates = regexp.MustCompile(`(?m)^atlas_gateway_open_creates\{.*\} ([0-9]+)$`)

// settled waits until no create is open any more in the journal.
func (g *gateway) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.operator+"/metrics", nil)
		if err != nil {
			return err
		}
		var text []byte
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			text, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		states := openCreates.FindAllSubmatch(text, -1)
		if len(states) > 0 && !slices.ContainsFunc(states, func(s [][]byte) bool { return string(s[1]) != "0" }) {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("at the end, the journal has creates whose outcome is open: %q, %v", states, err)
		}
	}
}
