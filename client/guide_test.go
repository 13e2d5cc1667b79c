package client_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

// blocks returns the fenced blocks of a document in a language.
func blocks(t *testing.T, document, language string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	return found
}

// The Go code of the guide and of the README compiles in the module of the example.
func TestGuideCompiles(t *testing.T) {
	file := `package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"atlas-export-gateway/client"
)

var _ = []any{errors.New, fmt.Println, time.Now, client.New}
`
	snippets := append(blocks(t, "../docs/client.md", "go"), blocks(t, "../README.md", "go")...)
	if len(snippets) < 8 {
		t.Errorf("there are %d snippets", len(snippets))
	}
	for _, snippet := range snippets {
		if strings.HasPrefix(snippet, "package ") {
			continue // a whole file, which is about the simulation
		}
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

// The curl commands of the guide succeed, at Atlas and at a gateway.
func TestGuideCurl(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		bucket := createBucket(t, newClient(t, way))
		commands := 0
		for _, block := range blocks(t, "../docs/client.md", "sh") {
			if !strings.HasPrefix(block, "curl ") {
				continue
			}
			commands++
			command := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(block, "curl ", "curl --silent --show-error --fail-with-body ", 1))
			command.Env = []string{"PATH=" + os.Getenv("PATH"), "pair=" + sim.PublicKey + ":" + sim.PrivateKey, "MONGODB_ATLAS_BASE_URL=" + way.BaseURL,
				"GROUP=" + group, "CLUSTER=" + cluster, "SNAPSHOT=" + sim.OrdersSnapshot, "BUCKET=" + bucket.ID, "ROLE=" + sim.AWSRole}
			if output, err := command.CombinedOutput(); err != nil || !json.Valid(output) {
				t.Errorf("%v\n%s\n%s", err, block, output)
			}
		}
		if jobs := atlas.Jobs(); commands != 4 || len(jobs) != 2 {
			t.Errorf("%d commands, %d jobs", commands, len(jobs))
		}
	})
}
