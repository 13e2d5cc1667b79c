package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/sim"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the program when it is run under its name.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ATLAS_GATEWAY") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"atlas-gateway": main})
}

func TestScripts(t *testing.T) {
	example, err := filepath.Abs("atlas-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			return nil
		},
	})
}

// The process serves a request, drains at SIGTERM and exits with 0; its key is in none of
// its output.
func TestServe(t *testing.T) {
	const private = "canary-5d0c7a61-private"
	seed := sim.DefaultSeed()
	for i := range seed.Keys {
		seed.Keys[i].PrivateKey = digestauth.NewSecret(private)
	}
	atlas := sim.Start(t, sim.Config{Seed: seed})
	dir := t.TempDir()
	config := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(config, []byte(`
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
upstream:
  base_url: `+atlas.URL()+`
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
callers: {anonymous: true}
timeouts: {drain: 10ms}
log: {level: debug}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, "serve", config)
	command.Env = append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "PUBLIC="+sim.PublicKey, "PRIVATE="+private, "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(20*time.Second, func() { command.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, &stderr)
	}
	var ready struct{ Listener, Management string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatal(err)
	}
	get := func(url string) (int, string) {
		request, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
		answer, err := http.DefaultClient.Do(request)
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
	if status, body := get(ready.Listener + "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets"); status != 200 {
		t.Errorf("list: %d %s", status, body)
	}
	status, metrics := get(ready.Management + "/metrics")
	if status != 200 || !strings.Contains(metrics, `atlas_gateway_requests_total{operation="listExportBuckets",status="200"} 1`) ||
		!strings.Contains(metrics, `atlas_gateway_upstream_requests_total{status="401"} 1`) {
		t.Errorf("metrics: %d %s", status, metrics)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, &stderr)
	}
	if output := line + string(rest) + stderr.String() + metrics; strings.Contains(output, private) {
		t.Error("the private key was printed")
	}
	if !strings.Contains(stderr.String(), `"msg":"draining"`) {
		t.Errorf("no word of draining: %s", &stderr)
	}
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  []string
		want int
	}{
		{[]string{"version"}, nil, exitOK},
		{[]string{"-h"}, nil, exitOK},
		{nil, nil, exitUsage},
		{[]string{"fly"}, nil, exitUsage},
		{[]string{"version", "x"}, nil, exitUsage},
		{[]string{"check"}, nil, exitConfig},
		{[]string{"serve"}, nil, exitConfig},
		{[]string{"check", "none.yaml"}, nil, exitConfig},
		// 192.0.2.0/24 is for documentation (RFC 5737): no address of this machine.
		{[]string{"serve"}, []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=192.0.2.1:1", "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:0", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}, exitFailed},
	} {
		var stdout, stderr strings.Builder
		if got := run(t.Context(), test.args, test.env, nil, &stdout, &stderr); got != test.want {
			t.Errorf("%q: exit status %d, want %d: %s", test.args, got, test.want, &stderr)
		}
	}
}
