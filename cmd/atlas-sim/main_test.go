package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVersion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"-version"}, nil, strings.NewReader(""), &stdout, &stderr)
	if program, version, _ := strings.Cut(stdout.String(), " "); status != statusOK || program != "atlas-sim" || strings.TrimSpace(version) == "" || stderr.Len() > 0 {
		t.Errorf("status %d, %q, %s", status, &stdout, &stderr)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	stopped, stop := context.WithCancel(t.Context())
	stop() // if the program starts nevertheless, it ends at once
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-h"}, 0, "-listen-beyond-loopback"},
		{[]string{"-h"}, 0, "The exit status is 0 after"},
		{[]string{"-sped", "1"}, 2, "flag provided but not defined: -sped; did you mean -speed?"},
		{[]string{"-zebra", "1"}, 2, "flag provided but not defined: -zebra; -h lists the flags"},
		{[]string{"-listen", "localhost"}, 2, `atlas-sim: the address is "localhost"; expected host:port`},
		{[]string{"-control", "127.0.0.1:99999"}, 2, `atlas-sim: the address is "127.0.0.1:99999"; its port is no number up to 65535`},
		{[]string{"-control", "127.0.0.1:http"}, 2, `its port is no number up to 65535`},
		{[]string{"-seed", write("twice.yaml", "groups: []\nkeys: []\ngroups: []\n")}, 2, "twice.yaml:3: the key groups is there twice; the first is in line 1"},
		{[]string{"-seed", write("tab.yaml", "groups:\n\t- id: a\n")}, 2, "tab.yaml:2: a tab; indent with spaces"},
		{[]string{"serve"}, 2, `"serve" is not a flag`},
		{[]string{"-speed", "fast"}, 2, "invalid value"},
		{[]string{"-speed", "-1"}, 2, "atlas-sim: -speed is -1; it must be a finite number above 0"},
		{[]string{"-speed", "0"}, 2, "-speed is 0; it must be"},
		{[]string{"-speed", "NaN"}, 2, "-speed is NaN; it must be"},
		{[]string{"-speed", "Inf"}, 2, "-speed is +Inf; it must be"},
		{[]string{"-log-requests", "-1"}, 2, "atlas-sim: -log-requests is -1; it must be 1 or more"},
		{[]string{"-log-requests", "0"}, 2, "-log-requests is 0; it must be"},
		{[]string{"-listen", "0.0.0.0:0"}, 2, `atlas-sim: the address "0.0.0.0:0" is not loopback`},
		{[]string{"-tls-cert", "x"}, 2, "-tls-cert and -tls-key go together"},
		{[]string{"-tls-cert", "x", "-tls-key", "y"}, 2, "the certificate: open x"},
		{[]string{"-seed", write("seed.yaml", "group: []\n")}, 2, "seed.yaml:1: group: unknown key; did you mean groups?"},
		{[]string{"-state", write("state.json", "")}, 2, "state.json is damaged"},
		{[]string{"-state", filepath.Join(dir, "none", "state.json")}, 2, "none/state.json can't be written: no such file or directory"},
		{[]string{"-settings", write("settings.json", `{"nonce":{}}`)}, 2, "settings.json: line 1, column 2: /nonce: is not a known member; did you mean nonces?"},
		{[]string{"-faults", write("faults.json", `[] []`)}, 2, "faults.json: line 1, column 4: not valid JSON"},
		{[]string{"-faults", write("fault.json", `{"kind":"reset"}`)}, 2, "fault.json: line 1, column 1: must be an array"},
		{[]string{"-export-dir", filepath.Join(dir, "none")}, 2, "the export directory"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(stopped, test.args, nil, strings.NewReader(""), &stdout, &stderr)
		if status != test.status || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%v: status %d, want %d\nstdout: %s\nstderr: %s", test.args, status, test.status, &stdout, &stderr)
		}
	}
}

// start runs the program until stop is called, which returns its exit status.
func start(t *testing.T, args ...string) (addresses ready, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"-listen", "127.0.0.1:0", "-control", "127.0.0.1:0"}, args...), nil, strings.NewReader(""), writer, t.Output())
		writer.Close()
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), &addresses); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return addresses, func() int {
		cancel()
		select {
		case s := <-status:
			return s
		case <-time.After(10 * time.Second):
			return -1
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "settings.json")
	if err := os.WriteFile(settings, []byte(`{"nonces":{"uses":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	addresses, stop := start(t, "-settings", settings, "-state", filepath.Join(dir, "state.json"), "-speed", "150", "-public-url", "https://cloud.mongodb.com")
	if addresses.PID != os.Getpid() {
		t.Errorf("pid %d", addresses.PID)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: &digest.Transport{Username: sim.PublicKey, Password: sim.PrivateKey, Transport: transport}}
	response, err := client.Get(addresses.API + "/api/atlas/v1.0/groups/" + sim.GroupID + "/backup/exportBuckets")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 200 || !strings.Contains(string(body), `"https://cloud.mongodb.com/api`) {
		t.Errorf("status %d: %s", response.StatusCode, body)
	}
	client.Transport = transport
	response, err = client.Get(addresses.Control + "/settings")
	if err != nil {
		t.Fatal(err)
	}
	var shown sim.Settings
	err = json.NewDecoder(response.Body).Decode(&shown)
	response.Body.Close()
	if err != nil || shown.Nonces.Uses != 1 {
		t.Errorf("%v: %+v", err, shown)
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err != nil {
		t.Error(err)
	}

	// A port that is taken is no error of the command line.
	addresses, stop = start(t)
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"-control", "127.0.0.1:0", "-listen", strings.TrimPrefix(addresses.API, "http://")}, nil, strings.NewReader(""), io.Discard, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("exit status %d: %s", status, &stderr)
	}
	stop()
}
