package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a part that is running.
type process struct {
	name      string
	command   *exec.Cmd
	stdin     io.Closer
	addresses map[string]string
}

// start starts a program and waits for the line with its addresses.
func start(ctx context.Context, name string, stderr io.Writer, program string, args ...string) (*process, error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	command.Stderr = stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, command: command, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.addresses)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s did not say where it listens: %w", name, err)
	}
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() error {
	p.stdin.Close()
	p.command.Process.Signal(syscall.SIGTERM)
	return p.command.Wait()
}

// droppedSpans returns how many spans a gateway has dropped.
func (p *process) droppedSpans() (string, error) {
	response, err := http.Get(p.addresses["management"] + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	_, behind, _ := strings.Cut(string(page), "\natlas_gateway_trace_spans_dropped_total ")
	number, _, _ := strings.Cut(behind, "\n")
	return number, nil
}

// peakMemory returns the most memory that the process has had resident, in bytes.
func (p *process) peakMemory() (int64, error) { return peakMemory(p.command.Process.Pid) }

// cpuTime returns the CPU time that the process has used so far: user and system, all threads.
func (p *process) cpuTime() (time.Duration, error) {
	return cpuTime(p.command.Process.Pid)
}
