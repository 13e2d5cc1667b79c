package budget_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// The tests run in bubbles of testing/synctest, on a clock that goes on when everything waits. The
// simulated Atlas is asked without a network, which would keep that clock from going on.

// latency is how long Atlas takes to answer.
const latency = 50 * time.Millisecond

var defaults = budget.Config{Requests: 1200, PerMinute: 500, Wait: 20 * time.Second, Attempts: 3, Waiting: 64, Connections: 256, Timeout: time.Minute}

// world is a simulated Atlas and gateways in front of it, which share nothing else.
type world struct {
	*testing.T
	rules *contract.Contract
	atlas *sim.Server
	ways  []*budget.Way

	each     []*budget.Budget
	waited   atomic.Int64
	repeated atomic.Int64

	mu    sync.Mutex
	fails func(*atlas.Request) error // why a request gets no answer, or nil
	times []arrival
}

func newWorld(t *testing.T, c budget.Config, gateways int, settings sim.Settings) *world {
	t.Helper()
	w := &world{T: t}
	var err error
	if w.rules, err = contract.Load(); err != nil {
		t.Fatal(err)
	}
	settings.CountsOnly, settings.ParallelExports = true, true
	if w.atlas, err = sim.New(sim.Config{Settings: settings}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.atlas.Close() })
	for range gateways {
		b := budget.New(budget.Observer{Waited: func(string, time.Duration) { w.waited.Add(1) }, Repeated: func() { w.repeated.Add(1) }})
		w.each = append(w.each, b)
		w.ways = append(w.ways, b.Way(w.upstream(), c))
	}
	return w
}

// arrival is when a request for a group came to Atlas.
type arrival struct {
	time.Time
	group string
}

// since returns the arrivals for a group after a time.
func (w *world) since(group string, after time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.times {
		if a.group == group && a.After(after) {
			n++
		}
	}
	return n
}

// upstream is a way to the simulated Atlas. It signs as the gateway does.
type upstream struct {
	*world
	signer *digestauth.Transport
}

const origin = "http://127.0.0.1:1"

func (w *world) upstream() upstream {
	signer, err := digestauth.NewTransport(digestauth.Config{
		Origin: origin,
		Base:   outbound.TransportFunc(w.answer),
		Credential: func(context.Context) (digestauth.Credential, error) {
			return digestauth.Credential{Username: sim.PublicKey, Password: secret.New(sim.PrivateKey)}, nil
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	return upstream{w, signer}
}

// answer has the simulated Atlas answer after its latency.
func (w *world) answer(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	inner := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.RequestURI(), r.Body)
	inner.Header = r.Header
	recorder := httptest.NewRecorder()
	w.atlas.API().ServeHTTP(recorder, inner)
	response := recorder.Result()
	for name, values := range response.Header { // spelled as in Atlas's documents
		delete(response.Header, name)
		response.Header[http.CanonicalHeaderKey(name)] = values
	}
	return response, nil
}

// Send sends a request as atlas.Upstream does.
func (u upstream) Send(ctx context.Context, r *atlas.Request) (*atlas.Response, error) {
	u.mu.Lock()
	fails := u.fails
	u.times = append(u.times, arrival{time.Now(), r.Group})
	u.mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	if !r.Deadline.IsZero() && r.Deadline.Before(deadline) {
		deadline = r.Deadline
	}
	if fails != nil {
		if err := fails(r); err != nil {
			time.Sleep(latency)
			if err == errHangs {
				time.Sleep(time.Until(deadline))
				return nil, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown, Err: err}
			}
			return nil, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown, Err: err}
		}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, r.Operation.Method, origin+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	out.Header.Set("Accept", r.MediaType)
	out.Header.Set("Content-Type", r.MediaType)
	response, err := u.signer.RoundTrip(out)
	if err != nil {
		return nil, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown, Err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &atlas.Response{Status: response.StatusCode, Header: response.Header, Body: body}, err
}

var (
	errHangs  = errors.New("it hangs")
	errResets = errors.New("it resets")
)

// request returns a request for a target of the contract.
func (w *world) request(method, target, body string) *atlas.Request {
	w.Helper()
	match, err := w.rules.Match(method, target)
	if err != nil {
		w.Fatal(err)
	}
	versions := match.Operation.Versions
	r := &atlas.Request{Operation: match.Operation, Group: match.Parameter("groupId"), Path: match.Path, MediaType: versions[len(versions)-1].MediaType}
	if body != "" {
		r.Body = []byte(body)
	}
	return r
}

// id returns the id of what was created.
func (w *world) id(response *atlas.Response, err error) string {
	w.Helper()
	var made struct {
		ID     string
		Bucket string `json:"_id"`
	}
	if err == nil {
		err = json.Unmarshal(response.Body, &made)
	}
	if made.ID = cmp.Or(made.ID, made.Bucket); err != nil || made.ID == "" {
		w.Fatal(response, err)
	}
	return made.ID
}

// job returns the content that creates an export job, once there is a bucket for it.
func (w *world) job() string {
	w.Helper()
	bucket := w.id(w.ways[0].Send(w.Context(), "creator", w.request("POST", buckets, awsBucket)))
	return `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"` + bucket + `"}`
}

const (
	awsBucket = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + sim.AWSRole + `"}`

	buckets = "/api/atlas/v2/groups/" + sim.GroupID + "/backup/exportBuckets"
	exports = "/api/atlas/v2/groups/" + sim.GroupID + "/clusters/orders/backup/exports"
	others  = "/api/atlas/v2/groups/" + sim.EmptyGroupID + "/backup/exportBuckets"
)
