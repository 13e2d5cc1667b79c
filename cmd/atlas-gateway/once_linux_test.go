package main

import (
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"

	"github.com/google/go-cmp/cmp"
)

// One start reads each file once, parses and compiles the contract once, and compiles the grants
// of each caller once. The kernel counts how often the program opens a file (inotify), and a
// program that was built for test coverage counts how often its functions run.
func TestStartsDoEverythingOnce(t *testing.T) {
	gatewaytest.NeedProcess(t)
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "atlas-gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-cover", "-covermode=atomic",
		"-coverpkg=./,atlas-export-gateway/contract,atlas-export-gateway/gateway/policy,atlas-export-gateway/gateway/callers", "-o", program, ".")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	config := filepath.Join(dir, "config")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	file := writeEverything(t, config)
	group := "64f0c1a2b3d4e5f607182930"
	for _, command := range [][]string{
		{"check", file},
		{"serve", file},
		{"explain", "-caller", "nightly", "-operation", "listExportBuckets", "-group", group, file},
	} {
		counters := filepath.Join(dir, command[0])
		if err := os.Mkdir(counters, 0o700); err != nil {
			t.Fatal(err)
		}
		opened := watchOpens(t, config)
		runOnce(t, program, counters, command)
		want := map[string]int{}
		entries, err := os.ReadDir(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			want[entry.Name()] = 1
		}
		if diff := cmp.Diff(want, opened()); diff != "" || len(want) != 11 {
			t.Errorf("%s opens files (-want +got):\n%s", command[0], diff)
		}
		profile := profileOf(t, counters)
		for function, want := range map[string]int{"contract.parse": 1, "contract.Compile": 1, "gateway/policy.Compile": 2, "gateway/callers.Compile": 1} {
			if got := timesRun(t, profile, function); got != want {
				t.Errorf("%s runs %s %d times, want %d", command[0], function, got, want)
			}
		}
	}
}

// writeEverything writes a configuration that names a file of every kind, with two callers.
func writeEverything(t *testing.T, dir string) string {
	t.Helper()
	in := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	certificate := gatewaytest.NewAuthority(t).Loopback(t)
	pair := callers.NewKeyPair("nightly", "", filepath.Join(dir, "ha1"))
	return in("gateway.yaml", fmt.Sprintf(`
listener: {address: "127.0.0.1:0", tls_cert_file: %s, tls_key_file: %s}
management: {address: "127.0.0.1:0"}
timeouts: {drain: 1ms}
upstream:
  base_url: http://127.0.0.1:9
  ca_file: %s
  proxy_url: https://127.0.0.1:9
  proxy_ca_file: %s
  proxy_user_file: %s
  proxy_password_file: %s
  credentials: [{public_key_file: %s, private_key_file: %s}]
callers:
  signing_key_file: %s
  list:
    - {name: nightly, key_pairs: [{public_key: %s, ha1_file: %s}], grants: [{operations: [manage], groups: ["*"]}]}
    - {name: weekly, tokens: [{sha256: "%s"}], grants: [{operations: [read], groups: ["*"]}]}
`, in("cert.pem", certificate.CertPEM), in("key.pem", certificate.KeyPEM), in("ca.pem", certificate.CertPEM), in("proxy-ca.pem", certificate.CertPEM), in("user", "gateway"), in("password", "c4na7y-password"), in("public", "public\n"), in("private", "c4na7y-private\n"),
		in("signing", callers.NewSigningKey().Reveal()), pair.ID, in("ha1", pair.HA1File.Reveal()), strings.Repeat("0a", 32)))
}

// runOnce runs a command of the program to its end. One that serves is ended once it is ready.
func runOnce(t *testing.T, program, counters string, args []string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = []string{"GOCOVERDIR=" + counters, "STATE_DIRECTORY=" + filepath.Dir(counters)}
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // all of them print a line when all is read
		t.Errorf("%s prints nothing: %v", args[0], err)
	}
	if args[0] == "serve" {
		time.Sleep(100 * time.Millisecond) // it must not open a file now
		command.Process.Signal(syscall.SIGTERM)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%s: %v", args[0], err)
	}
}

// watchOpens watches a folder. The function that it returns tells how often each file was opened.
func watchOpens(t *testing.T, dir string) func() map[string]int {
	t.Helper()
	watch, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(watch) })
	// Equal events in a row become one: the closing between two openings keeps them apart.
	if _, err := syscall.InotifyAddWatch(watch, dir, syscall.IN_OPEN|syscall.IN_CLOSE); err != nil {
		t.Fatal(err)
	}
	return func() map[string]int {
		opened := map[string]int{}
		events := make([]byte, 64<<10)
		n, err := syscall.Read(watch, events)
		if err != nil {
			t.Errorf("no file was opened: %v", err)
			return opened
		}
		for events = events[:n]; len(events) > 0; {
			mask := binary.NativeEndian.Uint32(events[4:])
			length := binary.NativeEndian.Uint32(events[12:]) // of the name, behind the event's 16 bytes
			if name := strings.TrimRight(string(events[16:16+length]), "\x00"); name != "" && mask&syscall.IN_OPEN != 0 {
				opened[name]++
			}
			events = events[16+length:]
		}
		return opened
	}
}

// profileOf returns the counters of a run as text.
func profileOf(t *testing.T, counters string) string {
	t.Helper()
	profile := filepath.Join(t.TempDir(), "profile")
	if output, err := exec.CommandContext(t.Context(), "go", "tool", "covdata", "textfmt", "-i="+counters, "-o="+profile).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// timesRun returns how often a function of the project ran, such as gateway/policy.Compile.
func timesRun(t *testing.T, profile, function string) int {
	t.Helper()
	folder, name, _ := strings.Cut(function, ".")
	files, err := filepath.Glob("../../" + folder + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok || f.Name.Name != name || f.Recv != nil {
				continue
			}
			// A function's first block begins behind its brace.
			brace := set.Position(f.Body.Lbrace)
			block := fmt.Sprintf("atlas-export-gateway/%s/%s:%d.%d,", folder, filepath.Base(file), brace.Line, brace.Column)
			for line := range strings.Lines(profile) {
				if rest, ok := strings.CutPrefix(line, block); ok {
					var end string
					var statements, count int
					if _, err := fmt.Sscan(rest, &end, &statements, &count); err != nil {
						t.Fatal(err)
					}
					return count
				}
			}
		}
	}
	t.Fatalf("the profile does not count %s", function)
	return 0
}
