package client_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"
)

// The Go of docs/client.md compiles, in the module of the example.
func TestGuideCompiles(t *testing.T) {
	file := `package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/client"
)

var _ = []any{errors.New, fmt.Println, os.Stderr, time.Now, bearertoken.File, client.New}
`
	snippets := pages.Blocks(t, "..", "docs/client.md go")
	if len(snippets) < 8 {
		t.Errorf("there are %d snippets", len(snippets))
	}
	for _, snippet := range snippets {
		file += "\nfunc _(ctx context.Context, c *client.Client, err error, groupID, clusterName, snapshotID, bucketID, roleID, clientID, clientSecret, publicKey, privateKey string) error {\n\t{\n" + snippet + "\t}\n\treturn nil\n}\n"
	}
	dir := t.TempDir()
	guide := filepath.Join(dir, "guide.go")
	if err := os.WriteFile(guide, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	example, err := filepath.Abs("../docs/example")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(example, "guide.go"): guide}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "example"), ".")
	build.Dir = example
	if output, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// The curl commands of docs/client.md are answered, by Atlas and by a gateway.
func TestGuideCurl(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		bucket := createBucket(t, newClient(t, way))
		for _, selector := range []string{
			"docs/client.md#register-a-bucket-v10 sh 1",
			"docs/client.md#find-the-newest-snapshot-v2 sh 1",
			"docs/client.md#start-an-export-v10 sh 1",
			"docs/client.md#start-an-export-v2 sh 1",
			"docs/client.md#list-the-jobs-of-a-cluster-v10 sh 1",
		} {
			block := pages.Blocks(t, "..", selector)[0]
			command := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(block, "curl ", "curl --silent --show-error --fail-with-body ", 1))
			command.Env = []string{"PATH=" + os.Getenv("PATH"), "pair=" + sim.PublicKey + ":" + sim.PrivateKey, "MONGODB_ATLAS_BASE_URL=" + way.BaseURL,
				"GROUP=" + group, "CLUSTER=" + cluster, "SNAPSHOT=" + sim.OrdersSnapshot, "BUCKET=" + bucket.ID, "ROLE=" + sim.AWSRole}
			if output, err := command.CombinedOutput(); err != nil || !json.Valid(output) {
				t.Errorf("%v\n%s\n%s", err, block, output)
			}
		}
		if jobs := atlas.Jobs(); len(jobs) != 2 {
			t.Errorf("%d jobs", len(jobs))
		}
	})
}
