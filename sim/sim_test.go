package sim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the time at which the clock of most tests stands until they move it.
var now = time.Date(2026, 8, 20, 12, 0, 0, 0, time.UTC)

func stopped() time.Time { return now }

const (
	v1 = "/api/atlas/v1.0/groups/" + sim.GroupID
	v2 = "/api/atlas/v2/groups/" + sim.GroupID

	buckets = "/backup/exportBuckets"
	orders  = "/clusters/orders/backup/exports"
	events  = "/clusters/events/backup/exports"

	clusters = "/clusters"
	schedule = "/clusters/orders/backup/schedule"

	latest = "application/vnd.atlas.2025-03-12+json"
)

// start runs a simulation. Its clock stands still, unless cfg has one.
func start(t testing.TB, cfg sim.Config) *sim.Server {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = stopped
	}
	return sim.Start(t, cfg)
}

// caller calls a simulation with an API key.
type caller struct {
	t    testing.TB
	base string
	http *http.Client
}

func newCaller(t testing.TB, base, publicKey string) caller {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{t, base, &http.Client{
		Transport:     &digest.Transport{Username: publicKey, Password: sim.PrivateKey, Transport: transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. The header is "Name: value" lines. The default Accept asks for the
// latest version; the default Content-Type of a body is JSON.
func (c caller) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	request, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Accept", latest)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Del(name)
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// value reads the body of an answer with status 200 as JSON.
func (c caller) value(a answer) map[string]any {
	c.t.Helper()
	if a.status != http.StatusOK {
		c.t.Fatalf("status %d: %s", a.status, a.body)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		c.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// bucket creates an AWS bucket and returns its id.
func (c caller) bucket() string {
	c.t.Helper()
	a := c.do("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"`+sim.AWSRole+`"}`)
	return c.value(a)["_id"].(string)
}

func exportOf(snapshot, bucket string) string {
	return fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q}`, snapshot, bucket)
}

// job starts an export and returns its id.
func (c caller) job(path, snapshot, bucket string) string {
	c.t.Helper()
	return c.value(c.do("POST", v2+path, exportOf(snapshot, bucket)))["id"].(string)
}

func check(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func ptr[T any](v T) *T { return &v }
