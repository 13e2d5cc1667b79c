package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	group   = sim.GroupID
	exports = "/api/atlas/v2/groups/" + group + "/clusters/" + sim.OrdersCluster + "/backup/exports"
	buckets = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"
	of2024  = "application/vnd.atlas.2024-05-30+json"
	// bucket is the content of a create that the simulation carries out.
	bucket = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + sim.AWSRole + `"}`
	// list is an answer to a read, and made one to a create.
	list = `{"results":[]}`
	made = `{"_id":"65a9d3e1f20b4c7788990011"}`
)

// request returns a request for an operation on export buckets.
func request(t testing.TB, operation string) *atlas.Request {
	t.Helper()
	rules, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range rules.Operations() {
		if o.ID == operation {
			return &atlas.Request{Operation: o, Group: group, Path: buckets, MediaType: of2024}
		}
	}
	t.Fatalf("the contract has no operation %s", operation)
	return nil
}

// read returns a request that reads.
func read(t testing.TB) *atlas.Request {
	t.Helper()
	return request(t, "listExportBuckets")
}

// create returns a request that creates, with its Handed.
func create(t testing.TB, handed func() error) *atlas.Request {
	t.Helper()
	r := request(t, "createExportBucket")
	r.Body, r.Handed = []byte(bucket), handed
	return r
}

// apiKey is an API key as a configuration names it, for all groups.
func apiKey(id, private string) atlas.Credential {
	half := secret.New(private)
	return atlas.Credential{
		Name: "upstream.credentials[0]", Groups: []string{"*"}, Place: "files", ID: id, Secret: half,
		Read: func() (string, secret.Secret, error) { return id, half, nil },
	}
}

// account is a service account as a configuration names it, for all groups.
func account(id, half string) atlas.Credential {
	c := apiKey(id, half)
	c.Account = true
	return c
}

// configure returns a configuration with the simulation's API key, or with other credentials.
func configure(origin string, credentials ...atlas.Credential) atlas.Config {
	if len(credentials) == 0 {
		credentials = []atlas.Credential{apiKey(sim.PublicKey, sim.PrivateKey)}
	}
	return atlas.Config{Origin: origin, MaxConnections: 4, MaxResponse: 4096, Timeout: 20 * time.Second, Credentials: credentials}
}

// newPool returns a Pool whose connections end with the test.
func newPool(t testing.TB) *atlas.Pool {
	p := atlas.NewPool(func(string, int, time.Duration) {}, func(atlas.CredentialState) {})
	t.Cleanup(p.CloseIdleConnections)
	return p
}

// use puts a configuration in force.
func use(t testing.TB, p *atlas.Pool, c atlas.Config) *atlas.Upstream {
	t.Helper()
	u, err := p.Upstream(c)
	if err != nil {
		t.Fatal(err)
	}
	p.Keep(u)
	return u
}

// start returns an Upstream of a new Pool.
func start(t testing.TB, c atlas.Config) *atlas.Upstream {
	t.Helper()
	return use(t, newPool(t), c)
}

// must sends a request that must be answered with 200.
func must(t testing.TB, u *atlas.Upstream, r *atlas.Request) *atlas.Response {
	t.Helper()
	response, err := u.Send(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if response.Status != http.StatusOK {
		t.Fatalf("%d %s", response.Status, response.Body)
	}
	return response
}

// fail sends a request that must fail.
func fail(t testing.TB, ctx context.Context, u *atlas.Upstream, r *atlas.Request) *atlas.Error {
	t.Helper()
	response, err := u.Send(ctx, r)
	if err == nil {
		t.Fatalf("answered: %d %s", response.Status, response.Body)
	}
	var e *atlas.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T is no *atlas.Error: %v", err, err)
	}
	return e
}

// answering starts an upstream that gives one answer to reads and creates.
func answering(t testing.TB, bytes string) *gatewaytest.Upstream {
	t.Helper()
	return gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return bytes }))
}

// holding starts an upstream that answers once the test closes proceed. arrived gets a value for
// each request with a credential.
func holding(t testing.TB) (u *gatewaytest.Upstream, arrived <-chan struct{}, proceed func()) {
	t.Helper()
	arrives, ctx := make(chan struct{}, 4), context.Background()
	held, release := context.WithCancel(ctx)
	t.Cleanup(release)
	return gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		arrives <- struct{}{}
		<-held.Done()
		return gatewaytest.LastJSON(http.StatusOK, made)
	})), arrives, release
}
