package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"atlas-export-gateway/sim"
)

// programs are the programs that the demonstration runs.
type programs struct {
	sim, gateway string // files
	speed        float64
}

// stack is the two programs while they run, and the directory that they share.
type stack struct {
	ctx        context.Context // ends when a program ends
	api        string          // of the simulated Atlas
	control    string
	gateway    string
	management string
	directory  string

	cancel  context.CancelCauseFunc
	running sync.WaitGroup
}

const (
	readyTimeout = 15 * time.Second
	endTimeout   = 5 * time.Second // between SIGTERM and SIGKILL
)

// start runs both programs and returns once they are ready. After an error neither runs.
func (p programs) start(ctx context.Context) (_ *stack, err error) {
	for _, program := range []string{p.sim, p.gateway} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w; make build builds the programs", err)
		}
	}
	directory, err := os.MkdirTemp("", "atlas-demo-") // which only its owner can read
	if err != nil {
		return nil, err
	}
	w := &stack{directory: directory}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(w.explain(w.ctx, err), w.stop())
		}
	}()
	if err := os.Mkdir(w.bucketDirectory(), 0o700); err != nil {
		return nil, err
	}

	ready, err := w.runProgram("atlas-sim", p.sim, "-listen", "127.0.0.1:0", "-control", "127.0.0.1:0",
		"-export-dir", w.bucketDirectory(), "-speed", strconv.FormatFloat(p.speed, 'f', -1, 64))
	if err != nil {
		return nil, err
	}
	w.api, w.control = ready["api"], ready["control"]

	config, err := w.configure()
	if err != nil {
		return nil, err
	}
	if ready, err = w.runProgram("atlas-gateway", p.gateway, "serve", config); err != nil {
		return nil, err
	}
	w.gateway, w.management = ready["listener"], ready["management"]
	return w, nil
}

// bucketDirectory is the directory that stands for all object storage.
func (w *stack) bucketDirectory() string { return filepath.Join(w.directory, "buckets") }

// configure writes the gateway's configuration, and the key into files of its own.
func (w *stack) configure() (file string, err error) {
	public, private := filepath.Join(w.directory, "public-key"), filepath.Join(w.directory, "private-key")
	file = filepath.Join(w.directory, "atlas-gateway.yaml")
	config := fmt.Sprintf(`listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
upstream:
  base_url: %q
  realm: MMS Public API
  credentials:
    - groups: [%q]
      public_key_file: %q
      private_key_file: %q
callers: {anonymous: true}
responses: {check: enforce}
creates: {file: %q}
timeouts: {drain: 1ms}
`, w.api, sim.GroupID, public, private, filepath.Join(w.directory, "creates.db"))
	return file, errors.Join(
		os.WriteFile(public, []byte(sim.PublicKey), 0o600),
		os.WriteFile(private, []byte(sim.PrivateKey), 0o600),
		os.WriteFile(file, []byte(config), 0o600),
	)
}

// runProgram starts a program and returns the addresses in its ready line. The program has an
// empty environment, and its standard error goes to NAME.log. When the program ends, w.ctx ends.
func (w *stack) runProgram(name, program string, args ...string) (map[string]string, error) {
	log, err := os.Create(w.log(name))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has a descriptor of its own
	command := exec.CommandContext(w.ctx, program, args...)
	command.Env = []string{}
	command.Stderr = log
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = endTimeout
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command.Stdout = in
	err = command.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}

	type ready struct {
		line []byte
		err  error
	}
	first := make(chan ready, 1)
	w.running.Go(func() {
		defer out.Close()
		reader := bufio.NewReader(out)
		line, err := reader.ReadBytes('\n')
		first <- ready{line, err}
		io.Copy(io.Discard, reader)
	})
	w.running.Go(func() {
		err := command.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		w.cancel(&ended{name, err}) // does nothing if w.ctx has ended already
	})

	var addresses map[string]string
	select {
	case r := <-first:
		if r.err != nil { // the program has ended: Wait is about to say how
			<-w.ctx.Done()
			return nil, r.err
		}
		var members map[string]any
		if err := json.Unmarshal(r.line, &members); err != nil {
			return nil, fmt.Errorf("%s printed %q where its addresses were expected", name, r.line)
		}
		addresses = map[string]string{}
		for key, value := range members {
			addresses[key] = fmt.Sprint(value)
		}
		return addresses, nil
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	case <-time.After(readyTimeout):
		return nil, fmt.Errorf("%s was not ready after %s; %s", name, readyTimeout, w.quoteLog(name))
	}
}

// ended is the error that a program ended by itself.
type ended struct {
	name string
	err  error
}

func (e *ended) Error() string { return fmt.Sprintf("%s ended: %v", e.name, e.err) }

// explain returns the cause of an error: a program ended, or the time was over. Without such a
// cause it returns the error itself.
func (w *stack) explain(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	var end *ended
	switch {
	case errors.As(cause, &end):
		return fmt.Errorf("%w; %s", end, w.quoteLog(end.name))
	case cause != nil:
		return cause
	default:
		return err
	}
}

func (w *stack) log(name string) string { return filepath.Join(w.directory, name+".log") }

// quoteLog returns the end of a program's log.
func (w *stack) quoteLog(name string) string {
	const most = 10
	content, err := os.ReadFile(w.log(name))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if lines[0] == "" {
		return "its log is empty"
	}
	return "its log ends in\n" + strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// stop ends the programs, waits for their end and removes the directory.
func (w *stack) stop() error {
	w.cancel(nil)
	w.running.Wait()
	return os.RemoveAll(w.directory)
}
