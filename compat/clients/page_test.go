package clients_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	atlasclient "atlas-export-gateway/client"
	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"
)

// The examples of docs/callers.md, each in its language, list the one job that there is.

func TestPageShell(t *testing.T) {
	_, err := exec.LookPath("curl")
	require(t, err == nil, "curl is not installed")
	for _, block := range pages.Blocks(t, "../..", "docs/callers.md#clients sh") {
		example(t, block, "sh", "-euc", block)
	}
}

func TestPageNode(t *testing.T) {
	_, err := exec.LookPath("node")
	require(t, err == nil, "node is not installed")
	_, err = os.Stat("npm/node_modules")
	require(t, err == nil, "the npm packages are not installed: make clients")
	for _, block := range pages.Blocks(t, "../..", "docs/callers.md#clients js") {
		// Where it is started is where it finds its packages.
		example(t, block, "node", "--input-type=module", "--eval", block)
	}
}

func TestPagePython(t *testing.T) {
	require(t, hasRequests(), "python3 has no package requests")
	for _, block := range pages.Blocks(t, "../..", "docs/callers.md#clients python") {
		example(t, block, "python3", "-c", block)
	}
}

// The Go is compiled to one program, which runs the snippet whose number it is given.
func TestPageGo(t *testing.T) {
	program := `package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"atlas-export-gateway/client"
	"atlas-export-gateway/gen"

	"github.com/mongodb-forks/digest"
	"go.mongodb.org/atlas-sdk/v20250312002/admin"
	"go.mongodb.org/atlas/mongodbatlas"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	e := os.Getenv
	err := examples[os.Args[1]](context.Background(), e("MONGODB_ATLAS_BASE_URL"), e("MONGODB_ATLAS_PUBLIC_API_KEY"), e("MONGODB_ATLAS_PRIVATE_API_KEY"),
		e("MONGODB_ATLAS_CLIENT_ID"), e("MONGODB_ATLAS_CLIENT_SECRET"), e("GROUP"), e("CLUSTER"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var examples = map[string]func(ctx context.Context, baseURL, publicKey, privateKey, clientID, clientSecret, group, cluster string) error{
`
	snippets := pages.Blocks(t, "../..", "docs/callers.md#clients go")
	for i, snippet := range snippets {
		program += fmt.Sprintf("%q: func(ctx context.Context, baseURL, publicKey, privateKey, clientID, clientSecret, group, cluster string) error {\n{\n%s}\nreturn nil\n},\n", fmt.Sprint(i), snippet)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	compat, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// As if the file were in this module, in a folder of its own.
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(compat, "page", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{file: program + "}\n", filepath.Join(dir, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "page"), "./page")
	build.Dir = compat
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for i, snippet := range snippets {
		example(t, snippet, filepath.Join(dir, "page"), fmt.Sprint(i))
	}
}

// example runs a program with all that the page takes from the environment, against a gateway in
// front of an Atlas with one job. What it prints is that job, or that there is one.
func example(t *testing.T, block, program string, arguments ...string) {
	t.Helper()
	r := start(t, options{})
	c, err := atlasclient.New(atlasclient.Config{BaseURL: r.atlas.URL(), Credential: atlasclient.APIKey(sim.PublicKey, sim.PrivateKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	bucket, err := c.CreateExportBucket(t.Context(), sim.GroupID, atlasclient.AWSBucket{BucketName: "acme-exports", IAMRoleID: sim.AWSRole})
	if err != nil {
		t.Fatal(err)
	}
	job, err := c.CreateExport(t.Context(), sim.GroupID, sim.OrdersCluster, atlasclient.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket.ID})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir = "npm"
	command.Env = append(os.Environ(),
		"MONGODB_ATLAS_BASE_URL="+r.url,
		"MONGODB_ATLAS_PUBLIC_API_KEY="+r.nightly.pair.ID,
		"MONGODB_ATLAS_PRIVATE_API_KEY="+r.nightly.pair.Secret.Reveal(),
		"MONGODB_ATLAS_CLIENT_ID="+r.nightly.account.ID,
		"MONGODB_ATLAS_CLIENT_SECRET="+r.nightly.account.Secret.Reveal(),
		"GROUP="+sim.GroupID, "CLUSTER="+sim.OrdersCluster,
		"NO_PROXY=*", "no_proxy=*",
	)
	output, err := command.CombinedOutput()
	if printed := string(output); err != nil || printed != "1\n" && !strings.Contains(printed, job.ID) {
		t.Errorf("%v\n%s\n%s", err, block, output)
	}
}
