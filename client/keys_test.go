package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// keeping starts a gateway that keeps keys in front of a simulated Atlas. The settings are those of
// the section creates.
func keeping(t *testing.T, settings string) (*sim.Server, *gatewaytest.Gateway) {
	t.Helper()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	g := gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(atlas.URL(), "creates: {quarantine: 100ms, "+settings+"}\n"),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) },
	})
	return atlas, g
}

// losing loses the answers to some creates, after the server has carried them out.
type losing struct{ left atomic.Int32 }

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && l.left.Add(-1) >= 0 {
		response.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	}
	return response, err
}

// To a gateway that keeps keys, a create is repeated until it is known what became of it, and there
// is one thing.
func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	for _, keys := range []client.Keys{client.DerivedKeys, client.ExplicitKeys, client.RequiredKeys} {
		t.Run(string(keys), func(t *testing.T) {
			t.Parallel()
			atlas, g := keeping(t, "keys: "+string(keys))
			lost := &losing{}
			var repeats atomic.Int32
			c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: keys, Transport: lost, BeforeRepeat: func(err error, _ time.Duration) {
				if err != nil {
					repeats.Add(1)
				}
			}})
			bucket := createBucket(t, c)
			for name, before := range map[string]func(){
				"the answer is lost on the way to the client": func() { lost.left.Store(2) },
				"the answer is lost on the way to the gateway": func() {
					setFaults(t, atlas, sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
				},
				"nothing was carried out": func() {
					setFaults(t, atlas, sim.Fault{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 1})
				},
			} {
				made := len(atlas.Jobs())
				before()
				job, err := c.CreateExport(t.Context(), group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket.ID, CustomData: []client.CustomData{{Key: "case", Value: name}}})
				if jobs := atlas.Jobs(); err != nil || len(jobs) != made+1 || !strings.Contains(jobs[made].ID+jobs[0].ID, job.ID) {
					t.Fatalf("%s: %+v, %v, %d jobs more", name, job, err, len(jobs)-made)
				}
			}
			if n := repeats.Load(); n < 3 {
				t.Errorf("BeforeRepeat was called %d times", n)
			}
			// The gateway forgets the derived key of what is no export once it has answered.
			lost.left.Store(1)
			second, err := c.V1().CreateExportBucket(t.Context(), group, client.AWSBucket{BucketName: "acme-second", IAMRoleID: sim.AWSRole})
			if err != nil || second.Replayed {
				t.Errorf("%+v, %v", second, err)
			}
			lost.left.Store(1)
			if snapshot, err := c.TakeSnapshot(t.Context(), group, cluster, client.SnapshotRequest{Description: "before"}); err != nil || snapshot.Replayed {
				t.Errorf("%+v, %v", snapshot, err)
			}
			for operation, want := range map[string]int{"v1CreateExportBucket": 1, "takeSnapshots": 1} {
				if sent := signed(atlas, operation); len(sent) != want {
					t.Errorf("Atlas received %s %d times", operation, len(sent))
				}
			}
		})
	}
}

// Where the gateway derives keys, an export that is asked for again is the one that there is, and says
// so. A key that is given tells one export from another of the same snapshot.
func TestReplayed(t *testing.T) {
	t.Parallel()
	atlas, g := keeping(t, "keys: derived")
	request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot}
	var first *client.ExportJob
	for i := range 3 {
		c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.DerivedKeys})
		if i == 0 {
			request.ExportBucketID = createBucket(t, c).ID
		}
		job, err := c.CreateExport(t.Context(), group, cluster, request)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = job
		}
		if job.ID != first.ID || job.Replayed != (i > 0) {
			t.Errorf("%d: %+v", i, job)
		}
	}
	c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.DerivedKeys})
	ids := map[string]string{"": first.ID}
	for _, key := range []string{"monday", "tuesday", "monday"} {
		request.IdempotencyKey = key
		for _, create := range []func(context.Context, string, string, client.ExportRequest) (*client.ExportJob, error){c.CreateExport, c.V1().CreateExport} {
			job, err := create(t.Context(), group, cluster, request)
			if err != nil {
				t.Fatal(err)
			}
			before := ids[key]
			if before != "" && before != job.ID || job.Replayed != (before != "") {
				t.Errorf("%s: %s, then %+v", key, before, job)
			}
			ids[key] = job.ID
		}
	}
	if jobs := atlas.Jobs(); len(jobs) != 3 || ids["monday"] == ids["tuesday"] {
		t.Errorf("%d jobs, %v", len(jobs), ids)
	}
	// A gateway that derives none makes another of each call without a key.
	request.IdempotencyKey = ""
	c = newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.ExplicitKeys})
	for range 2 {
		if job, err := c.CreateExport(t.Context(), group, cluster, request); err != nil || job.Replayed {
			t.Fatalf("%+v, %v", job, err)
		}
	}
	for _, key := range []string{"", "one", "one"} {
		bucket, err := c.CreateExportBucket(t.Context(), group, client.AWSBucket{BucketName: "acme-second", IAMRoleID: sim.AWSRole, IdempotencyKey: key})
		if err != nil || bucket.Replayed != (ids["bucket"+key] != "") {
			t.Fatalf("%+v, %v", bucket, err)
		}
		ids["bucket"+key] = bucket.ID
	}
	if jobs, buckets := atlas.Jobs(), signed(atlas, "createExportBucket"); len(jobs) != 5 || len(buckets) != 3 {
		t.Errorf("%d jobs, %d buckets", len(jobs), len(buckets))
	}
}

// What was unknown stays unknown, whatever stops the create from being asked for again.
func TestUnknownStays(t *testing.T) {
	t.Parallel()
	_, g := keeping(t, "keys: derived")
	creator := newClient(t, client.Config{BaseURL: g.URL})
	request := export(createBucket(t, creator).ID)
	for name, after := range map[string]func(*http.Request) (*http.Response, error){
		"nobody listens": func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		},
		"the caller may no longer": func(r *http.Request) (*http.Response, error) {
			refusal := answer(r, 403, `{"error":403,"errorCode":"USER_UNAUTHORIZED","detail":"no"}`)
			for field, value := range map[string]string{"Gateway-Request-Id": "a-1", "Gateway-Error": "forbidden", "Gateway-Outcome": "not_sent"} {
				refusal.Header.Set(field, value)
			}
			return refusal, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began, tries := time.Now(), 0
			c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.ExplicitKeys, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
				switch tries++; tries {
				case 1:
					lost := &losing{}
					lost.left.Store(1)
					return lost.RoundTrip(r)
				case 3:
					cancel()
				}
				return after(r)
			})})
			r := request
			r.CustomData = []client.CustomData{{Key: "case", Value: name}}
			_, err := c.CreateExport(ctx, group, cluster, r)
			unknown, ok := errors.AsType[*client.UnknownOutcomeError](err)
			if !ok || !unknown.Kept || unknown.Key == "" || unknown.SentAt.Sub(began) > 5*time.Second || !strings.Contains(err.Error(), "repeat it with the key "+unknown.Key) {
				t.Fatalf("%+v", err)
			}
			// Which gets what was created.
			r.IdempotencyKey = unknown.Key
			kept := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.ExplicitKeys})
			if job, err := kept.CreateExport(t.Context(), group, cluster, r); err != nil || !job.Replayed {
				t.Errorf("%+v, %v", job, err)
			}
		})
	}
}

// A create is sent once where the answer shows that nobody keeps its key.
func TestKeysThatNobodyKeeps(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	g := gatewaytest.StartFor(t, atlas.URL(), "") // without a journal
	for _, test := range []struct {
		config client.Config
		fault  sim.FaultKind
	}{
		{client.Config{BaseURL: atlas.URL(), Credential: key}, sim.FaultTruncate},
		{client.Config{BaseURL: g.URL}, sim.FaultTruncate},
		{client.Config{BaseURL: g.URL}, sim.FaultUnavailableAfter},
		{client.Config{BaseURL: g.URL}, sim.FaultResetAfter},
	} {
		setFaults(t, atlas)
		test.config.KeepsKeys = client.DerivedKeys
		c := newClient(t, test.config)
		bucket, sent := createBucket(t, c), len(signed(atlas, "createBackupExport"))
		setFaults(t, atlas, sim.Fault{Kind: test.fault, Operation: "createBackupExport"})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := c.CreateExport(ctx, group, cluster, export(bucket.ID))
		cancel()
		unknown, ok := errors.AsType[*client.UnknownOutcomeError](err)
		if n := len(signed(atlas, "createBackupExport")) - sent; !ok || unknown.Kept || n != 1 || !strings.Contains(err.Error(), "before you repeat it") {
			t.Errorf("%+v: sent %d times, %v", test, n, err)
		}
	}
}

// A create that reached nobody is tried as often as a read.
func TestKeptCreateReachesNobody(t *testing.T) {
	t.Parallel()
	tries := 0
	nobody := outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		tries++
		overloaded := answer(r, 503, `{"error":503,"errorCode":"SERVICE_UNAVAILABLE","detail":"later"}`)
		overloaded.Header.Set("Gateway-Request-Id", "a-1")
		overloaded.Header.Set("Gateway-Error", "overloaded")
		overloaded.Header.Set("Gateway-Outcome", "not_sent")
		return overloaded, nil
	})
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:9", KeepsKeys: client.DerivedKeys, Transport: nobody, MaxRetries: 2})
	_, err := c.CreateExport(t.Context(), group, cluster, export(sim.OrdersSnapshot))
	if err == nil || errors.Is(err, client.ErrUnknownOutcome) || tries != 3 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

// Keys that no gateway takes, or that nobody keeps, are refused before anything is sent. BeforeSend
// sees the key.
func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: sim.OrdersSnapshot, IdempotencyKey: "monday"}
	var keys []string
	sent := func(r *http.Request) error {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		return errors.New("sent")
	}
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:9", BeforeSend: sent})
	if _, err := c.CreateExport(t.Context(), group, cluster, request); err == nil || !strings.Contains(err.Error(), "needs a gateway that keeps keys") {
		t.Errorf("%v", err)
	}
	c = newClient(t, client.Config{BaseURL: "http://127.0.0.1:9", BeforeSend: sent, KeepsKeys: client.DerivedKeys})
	for _, key := range []string{"a b", `"a"`, "é", strings.Repeat("k", 256), "a\n"} {
		request.IdempotencyKey = key
		if _, err := c.CreateExport(t.Context(), group, cluster, request); err == nil || !strings.Contains(err.Error(), "visible characters") {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"monday", ""} {
		request.IdempotencyKey = key
		c.CreateExport(t.Context(), group, cluster, request)
	}
	if !slices.Equal(keys, []string{"monday", ""}) {
		t.Errorf("%q", keys)
	}
	for _, url := range []string{"", "https://cloud.mongodb.com", "https://CLOUD.mongodbgov.com.", "https://cloud-dev.mongodb.com:443"} {
		if _, err := client.New(client.Config{BaseURL: url, KeepsKeys: client.ExplicitKeys, Credential: key}); err == nil || !strings.Contains(err.Error(), "Atlas takes no keys") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := client.New(client.Config{BaseURL: "https://mongodb.example", KeepsKeys: "all", Credential: key}); err == nil || !strings.Contains(err.Error(), `KeepsKeys is "all"`) {
		t.Errorf("%v", err)
	}
}
