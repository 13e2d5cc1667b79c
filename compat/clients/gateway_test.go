// Package clients_test runs the clients that users of Atlas have against a gateway with listed
// callers, which has a simulated Atlas behind it. Of the clients only base URL and key are
// changed:
//
//   - any HTTP client, in clients_test.go: curl (curl_test.go), digest-fetch,
//     mongodb-atlas-api-client and Python's requests (process_test.go);
//   - Go's: Atlas's SDK (sdk_test.go), which its CLI and Terraform provider are built on, the
//     transports that all three sign with, below the generated client (generated_test.go), and
//     the legacy client (legacy_test.go);
//   - the examples of docs/callers.md, as they stand there (page_test.go).
//
// A test whose client is not installed is skipped. With CI set it fails.
package clients_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// Paths in the default seed of the simulation.
const (
	v1Exports = "/api/atlas/v1.0/groups/" + sim.GroupID + "/clusters/" + sim.OrdersCluster + "/backup/exports"
	v2Exports = "/api/atlas/v2/groups/" + sim.GroupID + "/clusters/" + sim.OrdersCluster + "/backup/exports"
	v1Buckets = "/api/atlas/v1.0/groups/" + sim.GroupID + "/backup/exportBuckets"
	v2Buckets = "/api/atlas/v2/groups/" + sim.GroupID + "/backup/exportBuckets"
)

// The media types of requests and of forwarded requests.
const (
	plain  = "application/json"
	latest = "application/vnd.atlas.2025-03-12+json"
	of2023 = "application/vnd.atlas.2023-01-01+json"
	of2024 = "application/vnd.atlas.2024-05-30+json"
)

// created is the time of the simulation.
var created = time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)

// running is a gateway that serves on loopback, and the Atlas behind it.
type running struct {
	options
	url   string
	atlas *sim.Server
	// nightly may do everything, reader may read.
	nightly, reader caller
	caFile          string          // the authority to trust, if the gateway has TLS
	transport       *http.Transport // trusts caFile
	yaml            string          // the configuration
	log             *gatewaytest.Buffer
	stop            func()
}

// caller has a key of each kind.
type caller struct{ pair, account, token callers.Issued }

// options are the settings of a gateway that differ from the default.
type options struct {
	algorithm   string // of the challenge
	tls         bool
	requestBody int // limits.request_body
	journal     bool
}

// start serves a gateway in front of a simulated Atlas. Both stop with the test.
func start(t testing.TB, o options) *running {
	t.Helper()
	r := newRunning(t, o)
	config := gatewaytest.Config{YAML: r.yaml}
	if o.journal {
		journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { journal.Close() })
		config.Prepare = func(g *gateway.Gateway) { g.UseJournal(journal) }
	}
	g := gatewaytest.StartConfig(t, config)
	r.url, r.log = g.URL, g.Log
	r.stop = sync.OnceFunc(func() {
		r.transport.CloseIdleConnections() // a server waits 5 s for connections that were never used
		g.Stop()
		g.Wait(t)
	})
	t.Cleanup(r.stop)
	return r
}

// gateway builds a gateway of the configuration.
func (r *running) gateway(t testing.TB) *gateway.Gateway {
	t.Helper()
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), r.yaml)
	parts, err := config.Load(file, []string{"PUBLIC=" + sim.PublicKey, "PRIVATE=" + sim.PrivateKey})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(parts, slog.New(slog.NewJSONHandler(r.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// newRunning starts a simulated Atlas and configures a gateway for it. The gateway lists two
// callers with new keys, and enforces the contract on responses.
func newRunning(t testing.TB, o options) *running {
	t.Helper()
	r := &running{
		options:   o,
		atlas:     sim.Start(t, sim.Config{Now: func() time.Time { return created }}),
		transport: &http.Transport{MaxIdleConnsPerHost: atATime},
		log:       &gatewaytest.Buffer{},
	}
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [manage], groups: ["*"]}]`)
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["*"]}]`)
	r.nightly, r.reader = caller{nightly.Pair, nightly.Account, nightly.Token}, caller{reader.Pair, reader.Account, reader.Token}
	settings := fmt.Sprintf("limits: {request_body: %d}\nresponses: {check: enforce}\n", o.requestBody)
	if o.tls {
		authority := gatewaytest.NewAuthority(t)
		settings += authority.Loopback(t).TLS(t)
		r.caFile = gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "ca.pem"), authority.PEM)
		r.transport.TLSClientConfig = &tls.Config{RootCAs: authority.Pool}
	}
	r.yaml = gatewaytest.YAML(r.atlas.URL(), settings, nightly, reader)
	if o.algorithm != "" {
		r.yaml += "  digest_algorithm: " + o.algorithm + "\n" // of callers, beside the list
	}
	return r
}

// record is a record in the log of the gateway.
type record struct {
	Message string       `json:"msg"`
	Status  int          `json:"status"`
	Caller  string       `json:"caller"`
	Form    callers.Form `json:"form"`
}

// records stops the gateway, so that its log is complete, and returns the records of all requests.
// No secret of a caller may be in the log.
func (r *running) records(t testing.TB) []record {
	t.Helper()
	r.stop()
	logs := r.log.String()
	for _, c := range []caller{r.nightly, r.reader} {
		for _, secret := range []secret.Secret{c.pair.Secret, c.account.Secret, c.token.Secret} {
			if strings.Contains(logs, secret.Reveal()) {
				t.Error("a caller's secret is in the log")
			}
		}
	}
	var records []record
	for line := range strings.Lines(logs) {
		var next record
		if err := json.Unmarshal([]byte(line), &next); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if next.Message == "request" {
			records = append(records, next)
		}
	}
	return records
}

// challenged counts the 401s among the records. All other records must be of nightly in one form,
// or of a request for an access token.
func challenged(t testing.TB, records []record, form callers.Form) int {
	t.Helper()
	n := 0
	for _, got := range records {
		want := record{"request", got.Status, "nightly", form}
		switch {
		case got.Status == http.StatusUnauthorized:
			n++
		case form == callers.AccessToken && got.Form == callers.ClientSecret:
		case got != want:
			t.Errorf("the gateway logs %+v, want %+v", got, want)
		}
	}
	return n
}

// forwarded is a signed request that Atlas received.
type forwarded struct {
	Operation, Request, Accept, ContentType, Body string
}

// forwards returns the signed requests that Atlas has received after the request number since, and
// the number of the last request.
func (r *running) forwards(t testing.TB, since int64) ([]forwarded, int64) {
	t.Helper()
	var signed []forwarded
	for _, request := range r.atlas.Requests(since) {
		since = request.Seq
		if request.Challenged {
			if request.Body != "" {
				t.Errorf("content was sent unsigned: %s", request.Raw)
			}
			continue
		}
		if request.Caller != sim.PublicKey {
			t.Errorf("Atlas received a request of %q: %s", request.Caller, request.Raw)
		}
		f := forwarded{Operation: request.Operation, Request: request.Method + " " + request.Target, Body: request.Body}
		for _, field := range request.Header {
			switch field.Name {
			case "Accept":
				f.Accept = field.Value
			case "Content-Type":
				f.ContentType = field.Value
			}
		}
		signed = append(signed, f)
	}
	return signed, since
}

// names are ids and URLs that are not known before the test. <NAME> stands for one in a table.
type names map[string]string

// expand replaces the names that are known.
func (n names) expand(text string) string {
	for name, value := range n {
		text = strings.ReplaceAll(text, "<"+name+">", value)
	}
	return text
}

// learn remembers the id in an answer by a name, and the link to the next page as <NEXT>.
func (n names) learn(name string, answer any) {
	object, _ := answer.(map[string]any)
	for _, member := range []string{"_id", "id"} {
		if id, ok := object[member].(string); ok && name != "" {
			n[name] = id
		}
	}
	links, _ := object["links"].([]any)
	for _, link := range links {
		if link, _ := link.(map[string]any); link["rel"] == "next" {
			n["NEXT"], _ = link["href"].(string)
		}
	}
}

// parse reads JSON. An empty text is nil.
func parse(t testing.TB, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

// require skips the test if its client is missing. With CI set the test fails.
func require(t testing.TB, there bool, what string) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CI") == "":
		t.Skip(what)
	default:
		t.Fatal(what)
	}
}
