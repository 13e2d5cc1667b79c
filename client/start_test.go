package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} { // net/http reads them once
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	group   = sim.GroupID
	cluster = sim.OrdersCluster
	nobody  = "64f0c1a2b3d4e5f60718ffff" // the id of nothing
)

// key is the simulation's credential.
var key = client.APIKey(sim.PublicKey, sim.PrivateKey)

// newClient builds a client, and closes its connections at the end of the test.
func newClient(t testing.TB, config client.Config) *client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// everyRead has a gateway send every read, and each once: the simulation's clock runs faster than
// answers age, and what Atlas fails to answer is for the client to repeat.
const everyRead = "\nreads: {share: \"off\"}\nbudget: {attempts: 1}\n"

// ways runs a test for each way to a simulated Atlas: directly, and through a gateway that leaves
// reads alone.
func ways(t *testing.T, config sim.Config, settings string, test func(t *testing.T, atlas *sim.Server, way client.Config)) {
	t.Run("direct", func(t *testing.T) {
		atlas := sim.Start(t, config)
		test(t, atlas, client.Config{BaseURL: atlas.URL(), Credential: key})
	})
	t.Run("gateway", func(t *testing.T) {
		atlas := sim.Start(t, config)
		test(t, atlas, client.Config{BaseURL: gatewaytest.StartFor(t, atlas.URL(), settings+everyRead).URL})
	})
}

// signed returns the requests of an operation that had a good credential.
func signed(atlas *sim.Server, operation string) (requests []sim.Request) {
	for _, request := range atlas.Requests(0) {
		if request.Operation == operation && request.Caller != "" {
			requests = append(requests, request)
		}
	}
	return requests
}

func setFaults(t testing.TB, atlas *sim.Server, faults ...sim.Fault) {
	t.Helper()
	if err := atlas.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

// createBucket creates a bucket that a test needs.
func createBucket(t testing.TB, c *client.Client) *client.ExportBucket {
	t.Helper()
	bucket, err := c.CreateExportBucket(t.Context(), group, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// createExport creates a job that a test needs, and its bucket.
func createExport(t testing.TB, c *client.Client, clusterName, snapshotID string) *client.ExportJob {
	t.Helper()
	job, err := c.CreateExport(t.Context(), group, clusterName, client.ExportRequest{SnapshotID: snapshotID, ExportBucketID: createBucket(t, c).ID})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// asError returns the *client.Error in err, which must be one.
func asError(t testing.TB, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T is no *client.Error: %v", err, err)
	}
	return e
}

// kindOf returns the kind of err. An error of two kinds is a mistake.
func kindOf(t testing.TB, err error) string {
	t.Helper()
	var kinds []string
	for name, kind := range map[string]error{
		"invalid": client.ErrInvalid, "unauthorized": client.ErrUnauthorized, "forbidden": client.ErrForbidden,
		"not found": client.ErrNotFound, "conflict": client.ErrConflict, "rate limited": client.ErrRateLimited,
		"unknown outcome": client.ErrUnknownOutcome, "failed": client.ErrExportFailed, "snapshot failed": client.ErrSnapshotFailed, "cancelled": client.ErrExportCancelled,
	} {
		if errors.Is(err, kind) {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) > 1 {
		t.Errorf("%v is of several kinds: %v", err, kinds)
	}
	return strings.Join(kinds, " ")
}

// answer is a response in JSON.
func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}
