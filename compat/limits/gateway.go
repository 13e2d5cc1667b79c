package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"
)

// caller is one who may call, with a token.
type caller struct{ name, token, yaml string }

func newCallers(names ...string) (list []caller) {
	for _, name := range names {
		issued := callers.NewToken(name)
		list = append(list, caller{name, issued.Secret.Reveal(), fmt.Sprintf(
			"    - {name: %s, tokens: [{sha256: %s}], grants: [{operations: [manage], groups: [\"*\"]}]}\n", name, issued.Entry.Tokens[0].SHA256)})
	}
	return list
}

// gateway is a gateway's process.
type gateway struct {
	command         *exec.Cmd
	url, management string
}

// startGateway starts a gateway in front of an Atlas.
func startGateway(ctx context.Context, program, dir, name, atlas, settings string, list []caller) (*gateway, error) {
	file := filepath.Join(dir, name+".yaml")
	text := fmt.Sprintf(`
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
log: {level: error}
creates: {file: %q}
upstream:
  base_url: %s
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
%scallers:
  list:
`, filepath.Join(dir, name+".db"), atlas, settings)
	for _, c := range list {
		text += c.yaml
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	g := &gateway{command: exec.CommandContext(ctx, program, "serve", file)}
	g.command.Cancel = func() error { return g.command.Process.Signal(syscall.SIGTERM) }
	g.command.WaitDelay = 10 * time.Second
	g.command.Env = append(os.Environ(), "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has a descriptor of its own
	g.command.Stderr = log
	stdout, err := g.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.command.Start(); err != nil {
		return nil, err
	}
	var line struct{ Listener, Management string }
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&line); err != nil {
		g.stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("the gateway does not start: %w\n%s", err, text)
	}
	g.url, g.management = line.Listener, line.Management
	return g, nil
}

func (g *gateway) stop() {
	g.command.Process.Signal(syscall.SIGTERM)
	g.command.Wait()
}

// gauge returns a metric without labels.
func (g *gateway) gauge(name string) (float64, error) {
	response, err := http.Get(g.management + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// answer is what a caller gets.
type answer struct {
	status int
	kind   string // Gateway-Error
	body   []byte
	took   time.Duration
}

// send sends a request of a caller's.
func (g *gateway) send(ctx context.Context, client *http.Client, c caller, method, target, body, key string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, g.url+target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("Gateway-Error"), content, time.Since(began)}, err
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: 2 * time.Minute}
}

const (
	exports   = "/api/atlas/v2/groups/" + sim.GroupID + "/clusters/orders/backup/exports"
	buckets   = "/api/atlas/v2/groups/" + sim.GroupID + "/backup/exportBuckets"
	others    = "/api/atlas/v2/groups/" + sim.EmptyGroupID + "/backup/exportBuckets"
	awsBucket = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + sim.AWSRole + `"}`
)

// prepare makes an export bucket, and returns the content of a create of a job.
func prepare(ctx context.Context, g *gateway, c caller) (string, error) {
	got, err := g.send(ctx, newClient(), c, http.MethodPost, buckets, awsBucket, "")
	if err != nil {
		return "", err
	}
	var made struct {
		ID string `json:"_id"`
	}
	if json.Unmarshal(got.body, &made); made.ID == "" {
		return "", fmt.Errorf("the export bucket: %d %s", got.status, got.body)
	}
	return `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"` + made.ID + `"}`, nil
}
