package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// method is one method of the client, called for a group with ids that may exist.
type method struct {
	name   string
	create bool
	call   func(ctx context.Context, c *client.Client, group, bucket, job string) error
}

// get reports whether the method sends GETs, and content whether it sends content.
func (m *method) get() bool { return !m.create && !strings.HasSuffix(m.name, "teExportBucket") }

func (m *method) content() bool { return m.create || m.name == "UpdateExportBucket" }

// drain reads a list to its end or its error.
func drain[T any](list iter.Seq2[T, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func dropResult[T any](_ T, err error) error { return err }

var (
	export = func(bucket string) client.ExportRequest {
		return client.ExportRequest{SnapshotID: sim.OrdersSnapshot2, ExportBucketID: bucket}
	}
	awsBucket = client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole}
	quickly   = client.WaitOptions{Interval: time.Millisecond, MaxInterval: time.Millisecond}
)

var methods = []method{
	{"CreateExport", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.CreateExport(ctx, group, cluster, export(bucket)))
	}},
	{"GetExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetExport(ctx, group, cluster, job))
	}},
	{"ListExports", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListExports(ctx, group, cluster, client.ListOptions{}))
	}},
	{"ExportsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ExportsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"FindExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot, time.Time{}))
	}},
	{"CreateExportBucket", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.CreateExportBucket(ctx, group, awsBucket))
	}},
	{"GetExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetExportBucket(ctx, group, bucket))
	}},
	{"ListExportBuckets", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListExportBuckets(ctx, group, client.ListOptions{}))
	}},
	{"ExportBucketsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ExportBucketsPage(ctx, group, client.ListOptions{}))
	}},
	{"ListClusters", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListClusters(ctx, group, client.ListOptions{}))
	}},
	{"ClustersPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ClustersPage(ctx, group, client.ListOptions{}))
	}},
	{"GetBackupSchedule", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetBackupSchedule(ctx, group, cluster))
	}},
	{"UpdateExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.UpdateExportBucket(ctx, group, bucket, client.ExportBucketUpdate{}))
	}},
	{"DeleteExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return c.DeleteExportBucket(ctx, group, bucket)
	}},
	{"V1.CreateExport", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().CreateExport(ctx, group, cluster, export(bucket)))
	}},
	{"V1.GetExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetExport(ctx, group, cluster, job))
	}},
	{"V1.ListExports", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListExports(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.ExportsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().ExportsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.FindExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().FindExport(ctx, group, cluster, sim.OrdersSnapshot, time.Time{}))
	}},
	{"V1.CreateExportBucket", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().CreateExportBucket(ctx, group, awsBucket))
	}},
	{"V1.GetExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetExportBucket(ctx, group, bucket))
	}},
	{"V1.ListExportBuckets", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListExportBuckets(ctx, group, client.ListOptions{}))
	}},
	{"V1.ExportBucketsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().ExportBucketsPage(ctx, group, client.ListOptions{}))
	}},
	{"V1.DeleteExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return c.V1().DeleteExportBucket(ctx, group, bucket)
	}},
}

// waits are the two methods that look until a job ends.
var waits = []method{
	{"WaitForExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.WaitForExport(ctx, group, cluster, job, quickly))
	}},
	{"V1.WaitForExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().WaitForExport(ctx, group, cluster, job, quickly))
	}},
}

// outcome is what the tables below compare of an error.
type outcome struct {
	Kind    string
	Status  int
	Code    string
	Gateway string
}

func outcomeOf(t *testing.T, err error) outcome {
	t.Helper()
	if err == nil {
		return outcome{Kind: "success"}
	}
	e := asError(t, err)
	return outcome{kindOf(t, err), e.Status, e.Code, e.GatewayKind}
}

// Errors that no other try would mend, of each method.
func TestRefusals(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := startGateway(t, atlas, "")
	direct := client.Config{BaseURL: atlas.URL(), Credential: key}
	through := client.Config{BaseURL: g.url()}
	readOnly := client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.ReadOnlyPublicKey, sim.PrivateKey)}
	bad := client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, "wrong")}
	noAccount := client.Config{BaseURL: atlas.URL(), Credential: client.ServiceAccount(sim.ClientID, "wrong")}
	badToken := client.Config{BaseURL: atlas.URL(), Credential: client.BearerToken("wrong")}

	for _, test := range []struct {
		name  string
		way   client.Config
		group string
		want  outcome
	}{
		{"an invalid group, direct", direct, "..", outcome{Kind: "invalid"}},
		{"an invalid group, gateway", through, "64F0C1A2B3D4E5F607182930", outcome{Kind: "invalid"}},
		{"no such group, direct", direct, nobody, outcome{Kind: "not found", Status: 404, Code: "GROUP_NOT_FOUND"}},
		{"no such group, gateway", through, nobody, outcome{Kind: "not found", Status: 404, Code: "GROUP_NOT_FOUND"}},
		{"a wrong key", bad, group, outcome{Kind: "unauthorized", Status: 401}},
		{"a wrong secret", noAccount, group, outcome{Kind: "unauthorized", Status: 401}},
		{"a wrong token", badToken, group, outcome{Kind: "unauthorized", Status: 401, Code: "UNEXPECTED_ERROR"}},
		{"a group of others", readOnly, sim.EmptyGroupID, outcome{Kind: "forbidden", Status: 401, Code: "NOT_IN_GROUP"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, test.way)
			for _, m := range append(waits, methods...) {
				before := atlas.Counts().Requests
				err := m.call(t.Context(), c, test.group, nobody, nobody)
				got := outcomeOf(t, err)
				if got.Status == 401 && test.want.Code == "" {
					got.Code = "" // a key that is held back is not sent
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: %v (-want +got):\n%s", m.name, err, diff)
				}
				if test.want.Status == 0 && atlas.Counts().Requests != before {
					t.Errorf("%s: it was sent all the same", m.name)
				}
				for _, secret := range []string{"wrong", sim.PrivateKey} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s: the secret is in %q", m.name, err)
					}
				}
			}
		})
	}
}

// What goes wrong on the way, of each method: the status is kept, whatever the content, and
// a create whose outcome can't be known says so.
func TestFaults(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	oneOfEach := []string{"CreateExport", "V1.CreateExportBucket", "UpdateExportBucket"} // where each takes a gateway of its own
	for _, test := range []struct {
		fault           sim.Fault
		direct, gateway outcome // of a create that isn't sure, Kind is "unknown outcome"
		sure            bool    // of a create too: it was not carried out
	}{
		{fault: sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7}, sure: true,
			direct:  outcome{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
			gateway: outcome{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"}},
		{fault: sim.Fault{Kind: sim.FaultRateLimit400, RetryAfter: 7}, sure: true,
			direct:  outcome{Kind: "rate limited", Status: 400, Code: "RATE_LIMITED_TOKEN_BUCKET"},
			gateway: outcome{Kind: "rate limited", Status: 400, Code: "RATE_LIMITED_TOKEN_BUCKET"}},
		{fault: sim.Fault{Kind: sim.FaultUnavailable},
			direct:  outcome{Status: 503},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultUnavailableAfter},
			direct:  outcome{Status: 503},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultReset},
			direct:  outcome{},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unreachable"}},
		{fault: sim.Fault{Kind: sim.FaultResetAfter},
			direct:  outcome{},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unreachable"}},
		{fault: sim.Fault{Kind: sim.FaultRedirect, Location: elsewhere.URL},
			direct:  outcome{Status: 307},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultTruncate},
			direct:  outcome{Status: 200},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultOversize, Bytes: 1 << 20},
			direct:  outcome{Status: 200},
			gateway: outcome{Status: 200}},
		{fault: sim.Fault{Kind: sim.FaultUnavailable, BeforeAuthentication: true}, sure: true,
			direct:  outcome{Status: 503},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unsigned"}},
		{fault: sim.Fault{Kind: sim.FaultRateLimit, BeforeAuthentication: true}, sure: true,
			direct:  outcome{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
			gateway: outcome{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET", Gateway: "rate_limited"}},
		{fault: sim.Fault{Kind: sim.FaultNoChallenge}, sure: true,
			direct:  outcome{Kind: "unauthorized", Status: 401, Code: "UNEXPECTED_ERROR"},
			gateway: outcome{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_credential"}},
	} {
		name := string(test.fault.Kind)
		if test.fault.BeforeAuthentication {
			name += " of the challenge"
		}
		t.Run(name, func(t *testing.T) {
			ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
				for _, m := range methods {
					through := way.Credential.String() == "no credential"
					switch {
					// Without content, the answer to the unsigned request is the answer.
					case test.fault.BeforeAuthentication && (!m.content() || through && !slices.Contains(oneOfEach, m.name)),
						// net/http repeats a GET after a reset by itself, with a count that was used.
						strings.HasPrefix(name, "reset") && through && m.get():
						continue
					}
					// No nonce is at hand, and what the call needs exists.
					setFaults(t, atlas)
					good := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
					bucket := createBucket(t, good)
					job := createExport(t, good, cluster, sim.OrdersSnapshot)
					atlas.ForgetNonces()

					want := test.direct
					if through {
						want = test.gateway
					}
					if want.Status == 200 && strings.HasSuffix(m.name, "DeleteExportBucket") {
						want = outcome{Kind: "success"} // 204 has no content that could be wrong
					}
					if want.Gateway == "upstream_response" && test.fault.Kind == sim.FaultTruncate && strings.HasSuffix(m.name, "DeleteExportBucket") {
						want = outcome{Kind: "success"}
					}
					if m.create && !test.sure {
						want.Kind = "unknown outcome"
					}
					way.MaxRetries, way.MaxResponse = -1, 64<<10
					way.Transport = &http.Transport{DisableKeepAlives: true} // lest net/http repeat a GET
					if test.fault.BeforeAuthentication && through {
						way.BaseURL = startGateway(t, atlas, "").url() // one that has no nonce yet
					}
					c := newClient(t, way)
					setFaults(t, atlas, test.fault)
					err := m.call(t.Context(), c, group, bucket.ID, job.ID)
					got := outcomeOf(t, err)
					if test.fault.Kind == sim.FaultTruncate && want.Gateway != "" && got.Gateway == "upstream_unreachable" {
						want.Gateway = got.Gateway // the gateway met the connection's end before the half of an answer
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: %v (-want +got):\n%s", m.name, err, diff)
					}
					if test.fault.Kind == sim.FaultNoChallenge && !through && !strings.Contains(err.Error(), "the 401 carries no usable challenge") {
						t.Errorf("%s: %v", m.name, err)
					}
					if want.Status == 307 && !strings.Contains(err.Error(), "redirects are not followed") {
						t.Errorf("%s: %v", m.name, err)
					}
					if want.Kind == "rate limited" {
						if got := asError(t, err).RetryAfter; test.fault.RetryAfter > 0 && got != time.Duration(test.fault.RetryAfter)*time.Second {
							t.Errorf("%s: RetryAfter is %v", m.name, got)
						}
					}
					if want.Gateway != "" && !strings.Contains(err.Error(), asError(t, err).RequestID) {
						t.Errorf("%s: no request id in %v", m.name, err)
					}
				}
			})
		})
	}
}

// Conflicts, and what Atlas and the gateway find invalid that the client can't know.
func TestAtlasRefuses(t *testing.T) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		ctx := t.Context()
		c := newClient(t, way)
		job := createExport(t, c, cluster, sim.OrdersSnapshot)
		request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: job.ExportBucketID}
		for name, test := range map[string]struct {
			err    error
			want   outcome
			detail string
			params []string
		}{
			"an export under way": {dropResult(c.CreateExport(ctx, group, cluster, request)),
				outcome{Kind: "conflict", Status: 409, Code: "EXPORT_ALREADY_IN_PROGRESS"}, "An export of snapshot " + sim.OrdersSnapshot + " is already in progress.", []string{sim.OrdersSnapshot}},
			"the same, v1.0": {dropResult(c.V1().CreateExport(ctx, group, cluster, request)),
				outcome{Kind: "conflict", Status: 409, Code: "EXPORT_ALREADY_IN_PROGRESS"}, "An export of snapshot " + sim.OrdersSnapshot + " is already in progress.", []string{sim.OrdersSnapshot}},
			"a bucket in use": {c.DeleteExportBucket(ctx, group, job.ExportBucketID),
				outcome{Kind: "conflict", Status: 400, Code: "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE"}, "*", nil},
			"no such bucket": {c.DeleteExportBucket(ctx, group, nobody),
				outcome{Kind: "not found", Status: 404, Code: "EXPORT_BUCKET_NOT_FOUND"}, "No export Bucket with ID " + nobody + " does not exist.", []string{nobody}},
			"no such job": {dropResult(c.WaitForExport(ctx, group, cluster, nobody, quickly)),
				outcome{Kind: "not found", Status: 404, Code: "INVALID_JOB_ID"}, "An invalid job ID " + nobody + " was specified.", []string{nobody}},
			"a role that can't be assumed": {dropResult(c.CreateExportBucket(ctx, group, client.AWSBucket{BucketName: "acme", IAMRoleID: sim.UnassumableRole})),
				outcome{Kind: "invalid", Status: 400, Code: "CANNOT_ASSUME_ROLE"}, "*", nil},
			"a job that is not there": {dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot2, time.Time{})),
				outcome{Kind: "not found"}, "", nil},
			"a job that is too old": {dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot, job.CreatedAt.Add(time.Second))),
				outcome{Kind: "not found"}, "", nil},
		} {
			if diff := cmp.Diff(test.want, outcomeOf(t, test.err)); diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, test.err, diff)
				continue
			}
			e := asError(t, test.err)
			if test.detail != "*" && (e.Detail != test.detail || !cmp.Equal(e.Parameters, test.params)) {
				t.Errorf("%s: %q %q", name, e.Detail, e.Parameters)
			}
		}
	})
}

// The grants of a caller's key, of each form, and the gateway's violations.
func TestGatewayCallers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	file := filepath.Join(t.TempDir(), "nightly.ha1")
	pair, account, token := callers.NewKeyPair("nightly", "", file), callers.NewServiceAccount("nightly"), callers.NewToken("nightly")
	if err := os.WriteFile(file, []byte(pair.HA1File.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	entry := pair.Entry
	entry.ServiceAccounts, entry.Tokens = account.Entry.ServiceAccounts, token.Entry.Tokens
	g := startGateway(t, atlas, listed(t, entry, "read"))
	for _, credential := range []client.Credential{
		client.APIKey(pair.ID, pair.Secret.Reveal()),
		client.ServiceAccount(account.ID, account.Secret.Reveal()),
		client.BearerToken(token.Secret.Reveal()),
	} {
		t.Run(credential.String(), func(t *testing.T) {
			c := newClient(t, client.Config{BaseURL: g.url(), Credential: credential})
			if _, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
				t.Error(err)
			}
			_, err := c.CreateExportBucket(t.Context(), group, awsBucket)
			if diff := cmp.Diff(outcome{"forbidden", 403, "USER_UNAUTHORIZED", "forbidden"}, outcomeOf(t, err)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		c := newClient(t, client.Config{BaseURL: g.url()})
		_, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{})
		if diff := cmp.Diff(outcome{"unauthorized", 401, "UNEXPECTED_ERROR", "unauthorized"}, outcomeOf(t, err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// A create is sent once, and was not carried out unless the error says that it may have been.
func TestCreatesAreSentOnce(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	bucket := createBucket(t, c)
	since := atlas.Now()
	for _, fault := range []sim.FaultKind{sim.FaultReset, sim.FaultRateLimit, sim.FaultUnavailable, sim.FaultTruncate} {
		atlas.Reset()
		setFaults(t, atlas, sim.Fault{Kind: fault, Count: 1})
		if _, err := c.CreateExport(t.Context(), group, cluster, export(bucket.ID)); err == nil {
			t.Errorf("%s: success", fault)
		}
		if sent := signed(atlas, "createBackupExport"); len(sent) != 1 {
			t.Errorf("%s: it was sent %d times", fault, len(sent))
		}
	}
	// The last was carried out, and can be found.
	job, err := c.FindExport(t.Context(), group, cluster, sim.OrdersSnapshot2, since)
	if err != nil || job.State != client.Queued {
		t.Errorf("%+v %v", job, err)
	}
}

// Of several jobs of a snapshot the newest is found.
func TestFindNewest(t *testing.T) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		var last *client.ExportJob
		for range 3 {
			last = createExport(t, c, cluster, sim.OrdersSnapshot)
			createExport(t, c, cluster, sim.OrdersSnapshot2)
			atlas.Advance(20 * time.Minute)
		}
		for name, find := range map[string]func(context.Context, string, string, string, time.Time) (*client.ExportJob, error){"v2": c.FindExport, "v1.0": c.V1().FindExport} {
			if got, err := find(t.Context(), group, cluster, sim.OrdersSnapshot, time.Time{}); err != nil || got.ID != last.ID {
				t.Errorf("%s: %+v %v, not %s", name, got, err, last.ID)
			}
		}
	})
}

// What an unknown outcome says, and where it was sent.
func TestUnknownOutcome(t *testing.T) {
	ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		bucket := createBucket(t, c)
		for _, v1 := range []bool{false, true} {
			create, find, createBucket := c.CreateExport, c.FindExport, func(ctx context.Context) error { return dropResult(c.CreateExportBucket(ctx, group, awsBucket)) }
			if v1 {
				create, find = c.V1().CreateExport, c.V1().FindExport
				createBucket = func(ctx context.Context) error {
					return dropResult(c.V1().CreateExportBucket(ctx, group, awsBucket))
				}
			}
			began := time.Now()
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailableAfter, Count: 1})
			_, err := create(t.Context(), group, cluster, export(bucket.ID))
			var unknown *client.UnknownOutcomeError
			if !errors.As(err, &unknown) || !strings.HasSuffix(err.Error(), "before you repeat it, look for the snapshot's id in the list of the cluster's export jobs") {
				t.Fatal(err)
			}
			if unknown.SentAt.Before(began) || unknown.SentAt.After(time.Now()) {
				t.Errorf("sent at %v", unknown.SentAt)
			}
			if _, err := find(t.Context(), group, cluster, sim.OrdersSnapshot2, unknown.SentAt); err != nil {
				t.Error(err)
			}
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultResetAfter, Count: 1})
			if err := createBucket(t.Context()); !errors.Is(err, client.ErrUnknownOutcome) || !strings.HasSuffix(err.Error(), "look for the bucket in the list of the group's export buckets") {
				t.Error(err)
			}
		}
	})
}

// A create that never left, in each way that can be told.
func TestNotSent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	gone := sim.Start(t, sim.Config{})
	orphan := startGateway(t, gone, "")
	gone.Close()
	stop := errors.New("dry run")
	for name, test := range map[string]struct {
		ctx    context.Context
		config client.Config
		cause  error // that errors.Is finds
	}{
		"nobody listens":          {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String()}, syscall.ECONNREFUSED},
		"nobody listens, digest":  {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String(), Credential: key}, syscall.ECONNREFUSED},
		"nobody listens, account": {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String(), Credential: client.ServiceAccount("a", "b")}, syscall.ECONNREFUSED},
		"a context that is over":  {over, client.Config{BaseURL: atlas.URL()}, context.Canceled},
		"the same, digest":        {over, client.Config{BaseURL: atlas.URL(), Credential: key}, context.Canceled},
		"an untrusted server":     {t.Context(), client.Config{BaseURL: untrusted.URL}, nil},
		"a gateway without Atlas": {t.Context(), client.Config{BaseURL: orphan.url()}, nil},
		"BeforeSend":              {t.Context(), client.Config{BaseURL: atlas.URL(), BeforeSend: func(*http.Request) error { return stop }}, stop},
	} {
		c := newClient(t, test.config)
		for _, m := range methods {
			if !m.create {
				continue
			}
			err := m.call(test.ctx, c, group, nobody, nobody)
			if errors.Is(err, client.ErrUnknownOutcome) || err == nil || test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%s: %s: %v", name, m.name, err)
			}
		}
	}
	if n := atlas.Counts().Requests; n != 0 {
		t.Errorf("Atlas received %d requests", n)
	}
}

// A create that left, and whose context or Timeout ends before the answer.
func TestEndsWhileSending(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Minute)}}})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	ctx, cancel := context.WithCancel(t.Context())
	written := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		if written++; written == 2 { // the first asks for a challenge
			cancel()
		}
	}})
	_, err := c.CreateExport(ctx, group, cluster, export(nobody))
	if !errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	// Refused for its nonce, and not sent with another.
	ctx, cancel = context.WithCancel(t.Context())
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "" {
			cancel()
		}
		challenge := answer(r, 401, "{}")
		challenge.Header.Set("WWW-Authenticate", `Digest realm="MMS Public API", nonce="`+rand.Text()+`", algorithm=MD5, qop="auth"`)
		return challenge, nil
	})})
	_, err = c.CreateExport(ctx, group, cluster, export(nobody))
	if errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("refused, and cancelled: %v", err)
	}

	// A transport that does not say whether it has a connection may have had one.
	silent := roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Transport: silent, Timeout: time.Millisecond, MaxRetries: -1})
	_, err = c.CreateExport(t.Context(), group, cluster, export(nobody))
	if !errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("timed out: %v", err)
	}
	_, err = c.GetExport(t.Context(), group, cluster, nobody)
	if kindOf(t, err) != "" || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("timed out: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Transport: silent})
	if _, err = c.GetExport(ctx, group, cluster, nobody); !errors.Is(err, context.DeadlineExceeded) || err.Error() != "client: getBackupExport: context deadline exceeded" {
		t.Errorf("over: %v", err)
	}
	because := errors.New("a cause")
	caused, stop := context.WithCancelCause(t.Context())
	stop(because)
	if _, err = c.GetExport(caused, group, cluster, nobody); !errors.Is(err, context.Canceled) || !errors.Is(err, because) || err.Error() != "client: getBackupExport: context canceled: a cause" {
		t.Errorf("over with a cause: %v", err)
	}
}

// Which answers leave it open whether a create was carried out.
func TestUnknownAnswers(t *testing.T) {
	for _, test := range []struct {
		status     int
		kind, body string
		unknown    bool
	}{
		{200, "", "<html></html>", true},
		{200, "", `{}`, true},
		{204, "", "", true},
		{302, "", "", true},
		{400, "", "<html></html>", false},
		{404, "", "", false},
		{408, "", "<html></html>", true},
		{408, "request_timeout", `{"errorCode":"REQUEST_TIMEOUT","detail":"The request did not arrive within 15s."}`, false},
		{409, "", `{"errorCode":"EXPORT_ALREADY_IN_PROGRESS"}`, false},
		{429, "", "", false},
		{500, "", `{"errorCode":"UNEXPECTED_ERROR"}`, true},
		{500, "internal", `{"errorCode":"UNEXPECTED_ERROR","detail":"Unexpected error."}`, true},
		{502, "", "", true},
		{502, "no_credential", `{"errorCode":"UNEXPECTED_ERROR"}`, false},
		{502, "upstream_credential", `{"errorCode":"UNEXPECTED_ERROR"}`, false},
		{502, "upstream_unsigned", `{"errorCode":"UNEXPECTED_ERROR"}`, false},
		{502, "upstream_response", `{"errorCode":"UNEXPECTED_ERROR"}`, true},
		{502, "upstream_unreachable", `{"errorCode":"UNEXPECTED_ERROR","detail":"Atlas could not be reached. The request was not carried out."}`, false},
		{502, "upstream_unreachable", `{"errorCode":"UNEXPECTED_ERROR","detail":"It is not known whether the request was carried out: look before you repeat it."}`, true},
		{502, "", `{"errorCode":"UNEXPECTED_ERROR","detail":"The request was not carried out."}`, true}, // not a gateway's word
		{503, "overloaded", `{"errorCode":"SERVICE_UNAVAILABLE"}`, false},
		{504, "upstream_timeout", `{"errorCode":"UNEXPECTED_ERROR","detail":"Atlas did not answer in time. The request was not carried out."}`, false},
		{504, "upstream_timeout", `<html></html>`, true},
	} {
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			a := answer(r, test.status, test.body)
			if test.kind != "" {
				a.Header.Set("Gateway-Error", test.kind)
			}
			return a, nil
		})})
		for _, m := range methods {
			if !m.create {
				continue
			}
			err := m.call(t.Context(), c, group, nobody, nobody)
			if errors.Is(err, client.ErrUnknownOutcome) != test.unknown || asError(t, err).Status != test.status {
				t.Errorf("%d %s %s: %s: %v", test.status, test.kind, test.body, m.name, err)
			}
		}
	}
}

// Atlas's 401s that are about what a good key may do are not taken for a bad key, also when
// the errorCode stands in the content alone.
func TestForbiddenBy401(t *testing.T) {
	for _, inHeader := range []bool{true, false} {
		requests := 0
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Credential: key, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			requests++
			a := answer(r, 401, `{"error":401,"errorCode":"USER_UNAUTHORIZED","detail":"No."}`)
			if requests == 1 || !inHeader {
				a.Header.Set("WWW-Authenticate", `Digest realm="MMS Public API", nonce="`+rand.Text()+`", algorithm=MD5, qop="auth"`)
			}
			if inHeader {
				a.Header.Set("X-Error-Code", "USER_UNAUTHORIZED")
			}
			return a, nil
		})})
		_, err := c.GetExport(t.Context(), group, cluster, nobody)
		if diff := cmp.Diff(outcome{Kind: "forbidden", Status: 401, Code: "USER_UNAUTHORIZED"}, outcomeOf(t, err)); diff != "" || asError(t, err).Detail != "No." || asError(t, err).Err != nil || requests != 2 {
			t.Errorf("%d requests: %v (-want +got):\n%s", requests, err, diff)
		}
	}
}

// The text of errors is one line, bounded, and moves no cursor.
func TestErrorText(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":404,"errorCode":"CLUSTER_NOT_FOUND","detail":"No cluster named x."}`:                                          "client: getBackupExport: 404 CLUSTER_NOT_FOUND: No cluster named x.",
		`{"error":404,"errorCode":"A\u001b[2J","detail":"a\nb\u202ec"}`:                                                         `client: getBackupExport: 404 A\x1b[2J: a\nb\u202ec`,
		`{"error":404,"errorCode":"X","detail":"` + strings.Repeat("x", 2000) + `"}`:                                            "client: getBackupExport: 404 X: " + strings.Repeat("x", 1000) + "...",
		`{"error":404,"errorCode":"X","badRequestDetail":{"fields":[{"field":"/a","description":"is b"},{"description":"c"}]}}`: "client: getBackupExport: 404 X; /a is b; c",
		`<html>secret</html>`:           "client: getBackupExport: 404 Not Found: the answer's content is not Atlas's",
		`{"error":"404","errorCode":1}`: "client: getBackupExport: 404 Not Found: the answer's content is not Atlas's",
		`null`:                          "client: getBackupExport: 404 Not Found: the answer's content is not Atlas's",
		``:                              "client: getBackupExport: 404 Not Found: the answer's content is not Atlas's",
		`{"error":404,"errorCode":"X","parameters":["a",1]}`: "client: getBackupExport: 404 X",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			w.Write([]byte(body))
		}))
		_, err := newClient(t, client.Config{BaseURL: server.URL}).GetExport(t.Context(), group, cluster, nobody)
		if err == nil || err.Error() != want || errors.Is(err, client.ErrNotFound) == strings.Contains(want, "not Atlas's") {
			t.Errorf("%s: got  %v\nwant %s", body, err, want)
		}
		server.Close()
	}
}

// A 403 or 404 of something else on the way says nothing of what was asked for.
func TestAnswersOfOthers(t *testing.T) {
	for status, kind := range map[int]error{403: client.ErrForbidden, 404: client.ErrNotFound} {
		for body, is := range map[string]bool{"<html>blocked</html>": false, `{"error":` + strconv.Itoa(status) + `,"errorCode":"X"}`: true} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				w.Write([]byte(body))
			}))
			_, err := newClient(t, client.Config{BaseURL: server.URL}).GetExport(t.Context(), group, cluster, nobody)
			if asError(t, err).Status != status || errors.Is(err, kind) != is {
				t.Errorf("%d %s: %v", status, body, err)
			}
			server.Close()
		}
	}
}

// endless is content without an end, which counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// Of an answer no more is read than MaxResponse, whatever its status, and a read of one
// that is too large is not tried again.
func TestEndlessAnswers(t *testing.T) {
	for _, status := range []int{200, 302, 404, 503} {
		var content endless
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, MaxResponse: 1 << 10, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: &content, Request: r}, nil
		})})
		_, err := c.GetExport(t.Context(), group, cluster, nobody)
		if asError(t, err).Status != status || content.read > 4<<10 {
			t.Errorf("%d: %d bytes were read: %v", status, content.read, err)
		}
	}
}
