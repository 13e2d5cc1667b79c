package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needsRoot skips a test that can't mount file systems.
func needsRoot(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount file systems and change its root")
	}
	for _, program := range append(programs, "unshare", "mount", "chroot", "setpriv") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if output, err := exec.Command("unshare", "--mount", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		t.Skipf("unshare: %v, %s", err, output)
	}
}

// built builds programs of the checkout as make build does.
func built(t *testing.T, programs ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, program := range programs {
		if _, err := shell("../..", nil, `go build -o "$1" "./cmd/$2"`, folder, program); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// simulation starts the simulated Atlas and returns its origin.
func simulation(t *testing.T) string {
	t.Helper()
	return ready(t, exec.Command(programOf(t, "atlas-sim"), "-listen", "127.0.0.1:0", "-control", "127.0.0.1:0", "-speed", "2000"))["api"]
}

// ready starts a program, which ends with the test, and returns the addresses that it prints.
func ready(t *testing.T, command *exec.Cmd) map[string]string {
	t.Helper()
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		command.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	members, addresses := map[string]any{}, map[string]string{}
	if err == nil {
		err = json.Unmarshal(line, &members)
	}
	if err != nil {
		command.Wait()
		t.Fatalf("%s: %v\n%s", command, err, log)
	}
	for key, value := range members {
		addresses[key] = fmt.Sprint(value)
	}
	return addresses
}

// container returns the command that runs a program in a root, with the image's own variables and
// further ones.
func container(t *testing.T, root string, mounts []string, variables []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs("testdata/container.sh")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("unshare", append([]string{"--mount", "sh", script, program}, args...)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "ROOT=" + root, "USER=65532:65532", "MOUNTS=" + strings.Join(mounts, " ")}
	for _, variable := range append(images[0].config.Env, variables...) {
		command.Env = append(command.Env, "IN_"+variable)
	}
	return command
}

// The demonstration exports a snapshot through a gateway in the image.
func TestDemoInContainer(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	root, programs, folder := rootOf(t, "atlas-gateway"), built(t, "demo"), filepath.Join(rehearsed, "demonstration")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	// demo starts this as the gateway, with its configuration as the second argument.
	script := "#!/bin/sh -eu\nwork=${2%/*}\nchown -R 65532:65532 \"$work\"\nexec env " +
		strings.Join(quoted(container(t, root, nil, nil, "").Env), " ") +
		" MOUNTS=\"$work:$work\" unshare --mount sh " + must(filepath.Abs("testdata/container.sh")) + " /atlas-gateway \"$@\"\n"
	gateway := filepath.Join(folder, "gateway")
	if err := os.WriteFile(gateway, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), filepath.Join(programs, "demo"), "-sim", programOf(t, "atlas-sim"), "-gateway", gateway, "-speed", "2000")
	demo.Env = append(os.Environ(), "TMPDIR="+folder)
	output, err := demo.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "is Successful, and .complete is written\n") {
		t.Errorf("%v\n%s", err, output)
	}
}

func quoted(words []string) []string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, "'"+word+"'")
	}
	return quoted
}

func must(value string, err error) string {
	if err != nil {
		panic(err)
	}
	return value
}

// The configuration of deploy/ is served at the places that docs/operate.md names: the image's
// root and the configuration can't be written to, and the process has no more rights than it
// needs.
func TestContainer(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	root, origin := rootOf(t, "atlas-gateway"), simulation(t)
	settings, state := filepath.Join(rehearsed, "settings"), filepath.Join(rehearsed, "state")
	configuration, err := os.ReadFile("../../deploy/atlas-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	configuration = bytes.ReplaceAll(configuration, []byte("/run/credentials/atlas-gateway.service/"), []byte("/etc/atlas-gateway/"))
	caller := configure(t, programOf(t, "atlas-gateway"), settings, configuration)
	// A new volume has what the image has there.
	if _, err := shell(".", nil, `chown -R 65532 "$1"; cp -a "$3/var/lib/atlas-gateway" "$2"`, settings, state, root); err != nil {
		t.Fatal(err)
	}
	mounts := []string{settings + ":/etc/atlas-gateway:ro", state + ":/var/lib/atlas-gateway"}
	variables := []string{"ATLAS_GATEWAY_UPSTREAM_BASE_URL=" + origin, "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:0", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=" + free(t)}
	gateway := container(t, root, mounts, variables, "/atlas-gateway", images[0].config.Cmd...)
	addresses := ready(t, gateway)
	health := container(t, root, mounts, variables, "/atlas-gateway", "health", "/etc/atlas-gateway/atlas-gateway.yaml")
	if output, err := health.CombinedOutput(); err != nil {
		t.Errorf("atlas-gateway health: %v, %s", err, output)
	}
	confined(t, gateway.Process.Pid, 65532)
	if _, err := os.Stat(filepath.Join(state, "creates.db")); err != nil {
		t.Error(err)
	}
	// The command line's image, too.
	settingsOfCaller := filepath.Join(rehearsed, "caller")
	if _, err := shell(".", nil, `mkdir "$1"; cp "$2/tls.crt" "$1/authority.crt"; printf %s "$3" >"$1/private-key"; chown -R 65532 "$1"`, settingsOfCaller, settings, caller.private); err != nil {
		t.Fatal(err)
	}
	export := container(t, rootOf(t, "atlas-export"), []string{settingsOfCaller + ":/etc/atlas-export:ro"}, nil, "/atlas-export", "exports", "list",
		"--base-url", addresses["listener"], "--ca-file", "/etc/atlas-export/authority.crt", "--public-key", caller.public,
		"--private-key-file", "/etc/atlas-export/private-key", "--group", caller.group, "--cluster", "orders")
	if output, err := export.CombinedOutput(); err != nil {
		t.Errorf("atlas-export: %v, %s", err, output)
	}
}

// confined fails for a process that could do more than its service needs.
func confined(t *testing.T, pid, uid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var status string
	for !strings.Contains(status, "Name:\tatlas-gateway\n") && time.Now().Before(deadline) {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		status = string(content)
	}
	for _, line := range []string{fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d", uid), "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(status, line+"\n") {
			t.Errorf("the process lacks %q:\n%s", line, status)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil || !strings.Contains(string(mounts), " / ro,") {
		t.Errorf("the root can be written to: %v\n%s", err, mounts)
	}
}
