package client_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

// docs/example is another module. It builds with what its go.mod lists, and exports a snapshot.
func TestOutsideModule(t *testing.T) {
	t.Parallel() // it waits most of the time
	program := filepath.Join(t.TempDir(), "example")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "docs", "example")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	atlas := sim.Start(t, sim.Config{Speed: 1e6})
	bucket := createBucket(t, newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key}))
	run := func(args ...string) (status int, stdout, stderr string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), program, args...)
		command.Env = []string{"MONGODB_ATLAS_BASE_URL=" + atlas.URL(), "MONGODB_ATLAS_PUBLIC_API_KEY=" + sim.PublicKey, "MONGODB_ATLAS_PRIVATE_API_KEY=" + sim.PrivateKey}
		var out, errs bytes.Buffer
		command.Stdout, command.Stderr = &out, &errs
		err := command.Run()
		if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		return command.ProcessState.ExitCode(), out.String(), errs.String()
	}

	status, stdout, stderr := run(group, cluster, sim.OrdersSnapshot, bucket.ID)
	if status != 0 || !regexp.MustCompile(`^[0-9a-f]{24}\n(Queued\n|InProgress\n)*Successful\nexported_snapshots/\S+\n$`).MatchString(stdout) || stderr != "" {
		t.Errorf("%d\n%s%s", status, stdout, stderr)
	}
	setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailableAfter, Operation: "createBackupExport", Count: 1})
	status, stdout, stderr = run(group, cluster, sim.OrdersSnapshot2, bucket.ID)
	if jobs := atlas.Jobs(); status != 0 || len(jobs) != 2 || !strings.HasPrefix(stdout, jobs[1].ID+"\n") {
		t.Errorf("with an unknown outcome: %d\n%s%s%+v", status, stdout, stderr, jobs)
	}
	status, _, stderr = run(group, cluster, sim.FailingSnapshot, bucket.ID)
	if status != 1 || !strings.Contains(stderr, "is Failed: CANNOT_ASSUME_ROLE: ") {
		t.Errorf("a failing one: %d\n%s", status, stderr)
	}
	if status, _, stderr = run(); status != 2 || !strings.HasPrefix(stderr, "usage: ") {
		t.Errorf("without arguments: %d\n%s", status, stderr)
	}
}
