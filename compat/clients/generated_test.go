package clients_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/mongodb-forks/digest"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// signers are what Atlas's SDK, the CLI and Terraform's provider sign with: this digest transport
// or, for service accounts, golang.org/x/oauth2.
var signers = []struct {
	name string
	options
	form   callers.Form
	client func(t testing.TB, r *running, c caller) *http.Client
	// challenges is how many challenges each call gets.
	challenges int
}{
	{"digest", options{}, callers.Digest, digestClient, 1},
	{"digest, SHA-256, TLS", options{algorithm: "SHA-256", tls: true}, callers.Digest, digestClient, 1},
	{"service account", options{}, callers.AccessToken, oauthClient, 0},
	{"service account, TLS", options{tls: true}, callers.AccessToken, oauthClient, 0},
}

func digestClient(t testing.TB, r *running, c caller) *http.Client {
	t.Helper()
	client, err := digest.NewTransportWithHTTPTransport(c.pair.ID, c.pair.Secret.Reveal(), r.transport).Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func oauthClient(t testing.TB, r *running, c caller) *http.Client {
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: r.transport})
	config := clientcredentials.Config{ClientID: c.account.ID, ClientSecret: c.account.Secret.Reveal(), TokenURL: r.url + "/api/oauth/token", AuthStyle: oauth2.AuthStyleInHeader}
	return config.Client(ctx)
}

// generated returns the generated client with an Accept field.
func generated(t testing.TB, r *running, httpClient *http.Client, accept string) *gen.ClientWithResponses {
	t.Helper()
	client, err := gen.NewClientWithResponses(r.url, gen.WithHTTPClient(httpClient), gen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept", accept)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// response has the methods of all answers of the generated client.
type response interface {
	StatusCode() int
	GetBody() []byte
}

func ptr[T any](value T) *T { return &value }

// What the generated client decodes. <B1> and <J1> stand for ids of buckets and jobs.
const (
	jobPrefix     = `"prefix":"exported_snapshots/` + sim.OrgID + `/` + sim.GroupID + `/orders/`
	queuedJob     = `"exportBucketId":"<B1>","createdAt":"2026-08-10T03:28:25Z","state":"Queued","exportStatus":{"exportedCollections":0,"totalCollections":0}`
	generatedJob1 = `{"id":"<J1>","snapshotId":"` + sim.OrdersSnapshot + `",` + jobPrefix + `2026-08-10T0327/1786332505","customData":[],` + queuedJob
	generatedJob2 = `{"id":"<J2>","snapshotId":"` + sim.OrdersSnapshot2 + `",` + jobPrefix + `2026-08-11T0327/1786332505","customData":[{"key":"exported by","value":"nightly"}],` + queuedJob + `}`
	generatedJob3 = `{"id":"<J3>","snapshotId":"` + sim.OrdersSnapshot3 + `",` + jobPrefix + `2026-08-12T0327/1786332505","customData":[],` + queuedJob
	awsBucket     = `"_id":"<B1>","cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + sim.AWSRole + `"`
	olderBucket   = `{"_id":"<B2>","cloudProvider":"AWS","bucketName":"acme-older","iamRoleId":"` + sim.AWSRole + `",`

	group  = sim.GroupID
	orders = sim.OrdersCluster
)

// generatedCalls makes calls with the generated client, in both generations.
type generatedCalls struct {
	ctx    context.Context
	v1, v2 *gen.ClientWithResponses
	known  names
}

// generatedStep is a call, with what the client decodes and what Atlas receives.
type generatedStep struct {
	do        func() (response, error)
	status    int
	decoded   string // JSON
	id        string // the name for the id in the answer
	forwarded forwarded
}

func (c *generatedCalls) buckets() []generatedStep {
	union := gen.ExportBucketRequest{}
	if err := union.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS, BucketName: "acme-exports", IamRoleID: sim.AWSRole}); err != nil {
		panic(err) // these are plain strings
	}
	return []generatedStep{
		{
			func() (response, error) { return c.v2.CreateExportBucketWithResponse(c.ctx, group, nil, union) },
			200, `{` + awsBucket + `,"requirePrivateNetworking":false}`, "B1",
			forwarded{"createExportBucket", "POST " + v2Buckets, of2024, of2024, `{"bucketName":"acme-exports","cloudProvider":"AWS","iamRoleId":"` + sim.AWSRole + `"}`},
		},
		{
			func() (response, error) {
				return c.v2.UpdateBackupExportBucketWithResponse(c.ctx, group, c.known["B1"], nil, gen.ExportBucketUpdate{RequirePrivateNetworking: true})
			},
			200, `{` + awsBucket + `,"region":"us-east-1","requirePrivateNetworking":true}`, "",
			forwarded{"updateBackupExportBucket", "PATCH " + v2Buckets + "/<B1>", of2024, of2024, `{"requirePrivateNetworking":true}`},
		},
		{
			func() (response, error) { return c.v2.GetExportBucketWithResponse(c.ctx, group, c.known["B1"], nil) },
			200, `{` + awsBucket + `,"region":"us-east-1","requirePrivateNetworking":true}`, "",
			forwarded{"getExportBucket", "GET " + v2Buckets + "/<B1>", of2024, "", ""},
		},
		{
			func() (response, error) {
				return c.v1.V1CreateExportBucketWithResponse(c.ctx, group, &gen.V1CreateExportBucketParams{Pretty: ptr(true)}, gen.V1ExportBucketRequest{CloudProvider: gen.V1ExportBucketRequestCloudProviderAWS, BucketName: "acme-older", IamRoleID: sim.AWSRole})
			},
			200, olderBucket + `"projectId":"` + group + `"}`, "B2",
			forwarded{"v1CreateExportBucket", "POST " + v1Buckets + "?pretty=true", plain, plain, `{"bucketName":"acme-older","cloudProvider":"AWS","iamRoleId":"` + sim.AWSRole + `"}`},
		},
		{
			func() (response, error) { return c.v1.V1GetExportBucketWithResponse(c.ctx, group, c.known["B2"], nil) },
			200, olderBucket + `"region":"us-east-1","projectId":"` + group + `"}`, "",
			forwarded{"v1GetExportBucket", "GET " + v1Buckets + "/<B2>", plain, "", ""},
		},
		{ // as the SDK always sends it
			func() (response, error) {
				return c.v2.ListExportBucketsWithResponse(c.ctx, group, &gen.ListExportBucketsParams{IncludeCount: ptr(true), ItemsPerPage: ptr(1), PageNum: ptr(2)})
			},
			200, `{"results":[` + olderBucket + `"requirePrivateNetworking":false}],"totalCount":2,"links":[
				{"rel":"self","href":"<GW>` + v2Buckets + `?includeCount=true&pageNum=2&itemsPerPage=1"},{"rel":"previous","href":"<GW>` + v2Buckets + `?includeCount=true&itemsPerPage=1&pageNum=1"}]}`, "",
			forwarded{"listExportBuckets", "GET " + v2Buckets + "?pageNum=2&itemsPerPage=1&includeCount=true", of2024, "", ""},
		},
		{
			func() (response, error) { return c.v1.V1ListExportBucketsWithResponse(c.ctx, sim.EmptyGroupID, nil) },
			200, `{"results":[],"totalCount":0,"links":[{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/` + sim.EmptyGroupID + `/backup/exportBuckets?pageNum=1&itemsPerPage=100"}]}`, "",
			forwarded{"v1ListExportBuckets", "GET /api/atlas/v1.0/groups/" + sim.EmptyGroupID + "/backup/exportBuckets", plain, "", ""},
		},
	}
}

func (c *generatedCalls) jobs() []generatedStep {
	return []generatedStep{
		{ // as the CLI, which always sends customData
			func() (response, error) {
				return c.v2.CreateBackupExportWithResponse(c.ctx, group, orders, nil, gen.ExportJobRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: c.known["B1"], CustomData: &[]gen.CustomDataRequest{}})
			},
			200, generatedJob1 + `}`, "J1",
			forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023, `{"customData":[],"exportBucketId":"<B1>","snapshotId":"` + sim.OrdersSnapshot + `"}`},
		},
		{ // as atlas api, whose content has no length
			func() (response, error) {
				content := io.MultiReader(strings.NewReader(`{"snapshotId":"`+sim.OrdersSnapshot3+`",`), strings.NewReader(`"exportBucketId":"`+c.known["B1"]+`"}`))
				return c.v2.CreateBackupExportWithBodyWithResponse(c.ctx, group, orders, nil, plain, content)
			},
			200, generatedJob3 + `}`, "J3",
			forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023, `{"snapshotId":"` + sim.OrdersSnapshot3 + `","exportBucketId":"<B1>"}`},
		},
		{
			func() (response, error) {
				return c.v1.V1CreateBackupExportWithResponse(c.ctx, group, orders, nil, gen.V1ExportJobRequest{SnapshotID: sim.OrdersSnapshot2, ExportBucketID: c.known["B1"], CustomData: &[]gen.V1CustomDataRequest{{Key: "exported by", Value: "nightly"}}})
			},
			200, generatedJob2, "J2",
			forwarded{"v1CreateBackupExport", "POST " + v1Exports + "/", plain, plain, `{"customData":[{"key":"exported by","value":"nightly"}],"exportBucketId":"<B1>","snapshotId":"` + sim.OrdersSnapshot2 + `"}`},
		},
		{
			func() (response, error) {
				return c.v2.GetBackupExportWithResponse(c.ctx, group, orders, c.known["J1"], nil)
			},
			200, generatedJob1 + `}`, "",
			forwarded{"getBackupExport", "GET " + v2Exports + "/<J1>", of2023, "", ""},
		},
		{
			func() (response, error) {
				return c.v1.V1GetBackupExportWithResponse(c.ctx, group, orders, c.known["J2"], nil)
			},
			200, generatedJob2, "",
			forwarded{"v1GetBackupExport", "GET " + v1Exports + "/<J2>", plain, "", ""},
		},
		{
			func() (response, error) {
				return c.v2.ListBackupExportsWithResponse(c.ctx, group, orders, &gen.ListBackupExportsParams{IncludeCount: ptr(true), ItemsPerPage: ptr(1), PageNum: ptr(3)})
			},
			200, `{"results":[` + generatedJob1 + `}],"totalCount":3,"links":[
				{"rel":"self","href":"<GW>` + v2Exports + `?includeCount=true&pageNum=3&itemsPerPage=1"},{"rel":"previous","href":"<GW>` + v2Exports + `?includeCount=true&itemsPerPage=1&pageNum=2"}]}`, "",
			forwarded{"listBackupExports", "GET " + v2Exports + "?pageNum=3&itemsPerPage=1&includeCount=true", of2023, "", ""},
		},
		{
			func() (response, error) {
				return c.v1.V1ListBackupExportsWithResponse(c.ctx, group, orders, &gen.V1ListBackupExportsParams{ItemsPerPage: ptr(1)})
			},
			200, `{"results":[` + generatedJob2 + `],"totalCount":3,"links":[
				{"rel":"self","href":"<GW>` + v1Exports + `/?pageNum=1&itemsPerPage=1"},{"rel":"next","href":"<GW>` + v1Exports + `/?itemsPerPage=1&pageNum=2"}]}`, "",
			forwarded{"v1ListBackupExports", "GET " + v1Exports + "/?itemsPerPage=1", plain, "", ""},
		},
	}
}

func (c *generatedCalls) errorsAndDeletions() []generatedStep {
	return []generatedStep{
		{ // an error of Atlas's
			func() (response, error) {
				return c.v2.CreateBackupExportWithResponse(c.ctx, group, orders, nil, gen.ExportJobRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: c.known["B1"]})
			},
			409, `{"error":409,"errorCode":"EXPORT_ALREADY_IN_PROGRESS","reason":"Conflict","detail":"An export of snapshot ` + sim.OrdersSnapshot + ` is already in progress.","parameters":["` + sim.OrdersSnapshot + `"]}`, "",
			forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023, `{"exportBucketId":"<B1>","snapshotId":"` + sim.OrdersSnapshot + `"}`},
		},
		{ // an error of the gateway's
			func() (response, error) {
				return c.v2.ListBackupExportsWithResponse(c.ctx, group, orders, &gen.ListBackupExportsParams{PageNum: ptr(0)})
			},
			400, `{"error":400,"errorCode":"INVALID_QUERY_PARAMETER","reason":"Bad Request","detail":"pageNum is \"0\"; expected a whole number of at least 1.","parameters":["pageNum"],
				"badRequestDetail":{"fields":[{"field":"pageNum","description":"is \"0\"; expected a whole number of at least 1"}]}}`, "",
			forwarded{},
		},
		{
			func() (response, error) {
				return c.v1.V1DeleteExportBucketWithResponse(c.ctx, group, c.known["B2"], nil)
			},
			204, "", "",
			forwarded{"v1DeleteExportBucket", "DELETE " + v1Buckets + "/<B2>", plain, "", ""},
		},
		{
			func() (response, error) { return c.v2.DeleteExportBucketWithResponse(c.ctx, group, c.known["B2"], nil) },
			404, `{"error":404,"errorCode":"EXPORT_BUCKET_NOT_FOUND","reason":"Not Found","detail":"No export Bucket with ID <B2> does not exist.","parameters":["<B2>"]}`, "",
			forwarded{"deleteExportBucket", "DELETE " + v2Buckets + "/<B2>", of2023, "", ""},
		},
	}
}

// The generated client calls every operation of both generations, and gets errors.
func TestGenerated(t *testing.T) {
	for _, signer := range signers {
		t.Run(signer.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, signer.options)
			httpClient := signer.client(t, r, r.nightly)
			c := &generatedCalls{t.Context(), generated(t, r, httpClient, plain), generated(t, r, httpClient, latest), names{"GW": r.url}}
			known := c.known
			steps := slices.Concat(c.buckets(), c.jobs(), c.errorsAndDeletions())
			seen, tested := int64(0), map[string]bool{}
			for i, step := range steps {
				answer, err := step.do()
				if err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if answer.StatusCode() != step.status {
					t.Fatalf("step %d: status %d, want %d: %s", i, answer.StatusCode(), step.status, answer.GetBody())
				}
				known.learn(step.id, parse(t, string(answer.GetBody())))
				if diff := cmp.Diff(parse(t, known.expand(step.decoded)), decoded(t, answer)); diff != "" {
					t.Errorf("step %d: the client decodes:\n%s", i, diff)
				}
				var want, got []forwarded
				if f := step.forwarded; f != (forwarded{}) {
					f.Request, f.Body = known.expand(f.Request), known.expand(f.Body)
					want = []forwarded{f}
					tested[f.Operation] = true
				}
				if got, seen = r.forwards(t, seen); !slices.Equal(got, want) {
					t.Errorf("step %d: Atlas received\n%+v, want\n%+v", i, got, want)
				}
			}
			if len(tested) != 15 {
				t.Errorf("%d operations were called: %v", len(tested), slices.Sorted(maps.Keys(tested)))
			}
			if got, want := challenged(t, r.records(t), signer.form), signer.challenges*len(steps); got != want {
				t.Errorf("%d calls were challenged %d times, want %d", len(steps), got, want)
			}
		})
	}
}

// decoded returns what the client has decoded. Only the member for the status of the answer may be
// set.
func decoded(t testing.TB, answer response) any {
	t.Helper()
	var found any
	v := reflect.ValueOf(answer).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; !strings.HasPrefix(name, "JSON") || v.Field(i).IsNil() {
			continue
		}
		text, err := json.Marshal(v.Field(i).Interface())
		if err != nil || found != nil {
			t.Fatalf("%+v: %v", answer, err)
		}
		found = parse(t, string(text))
	}
	return found
}

// Many callers at the same time share a client. All succeed, and every create is carried out once.
func TestGeneratedConcurrently(t *testing.T) {
	for _, signer := range signers {
		t.Run(signer.name, func(t *testing.T) {
			r := start(t, signer.options)
			httpClient := signer.client(t, r, r.nightly)
			v1, v2 := generated(t, r, httpClient, plain), generated(t, r, httpClient, latest)
			var group sync.WaitGroup
			for i := range atATime {
				group.Go(func() {
					name := fmt.Sprintf("acme-%d", i)
					made, err := v1.V1CreateExportBucketWithResponse(t.Context(), sim.GroupID, nil, gen.V1ExportBucketRequest{CloudProvider: "AWS", BucketName: name, IamRoleID: sim.AWSRole})
					if err != nil || made.JSON200 == nil {
						t.Errorf("create: %v %+v", err, made)
						return
					}
					id := *made.JSON200.ID
					got, err := v1.V1GetExportBucketWithResponse(t.Context(), sim.GroupID, id, nil)
					if err != nil || got.JSON200 == nil || *got.JSON200.BucketName != name {
						t.Errorf("get: %v %+v", err, got)
					}
					gone, err := v2.DeleteExportBucketWithResponse(t.Context(), sim.GroupID, id, nil)
					if err != nil || gone.StatusCode() != 204 {
						t.Errorf("delete: %v %+v", err, gone)
					}
				})
			}
			group.Wait()
			received, _ := r.forwards(t, 0)
			want, got := map[string]int{"v1CreateExportBucket": atATime, "v1GetExportBucket": atATime, "deleteExportBucket": atATime}, map[string]int{}
			for _, f := range received {
				got[f.Operation]++
			}
			if !maps.Equal(got, want) {
				t.Errorf("Atlas received %v, want %v", got, want)
			}
			if got, want := challenged(t, r.records(t), signer.form), signer.challenges*3*atATime; got != want {
				t.Errorf("%d calls were challenged %d times, want %d", 3*atATime, got, want)
			}
		})
	}
}

// A client with a wrong key, or without a grant, gets an error. Atlas receives no request.
func TestGeneratedRefusals(t *testing.T) {
	for _, signer := range signers {
		t.Run(signer.name, func(t *testing.T) {
			r := start(t, signer.options)
			reader := generated(t, r, signer.client(t, r, r.reader), latest)
			denied, err := reader.DeleteExportBucketWithResponse(t.Context(), sim.GroupID, "6b0227092f2f71f9786c4347", nil)
			if err != nil || denied.StatusCode() != 403 || denied.JSONDefault.ErrorCode != "USER_UNAUTHORIZED" {
				t.Errorf("without a grant: %v %+v", err, denied)
			}
			stranger := r.nightly
			stranger.pair.Secret, stranger.account.Secret = r.reader.pair.Secret, r.reader.account.Secret
			wrong, err := generated(t, r, signer.client(t, r, stranger), latest).ListExportBucketsWithResponse(t.Context(), sim.GroupID, nil)
			if refused := (*oauth2.RetrieveError)(nil); signer.form == callers.AccessToken {
				if !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" {
					t.Errorf("a wrong secret: %v", err)
				}
			} else if err != nil || wrong.StatusCode() != 401 || wrong.JSONDefault.ErrorCode != "UNEXPECTED_ERROR" {
				t.Errorf("a wrong key: %v %+v", err, wrong)
			}
			if n := r.atlas.Counts().Requests; n != 0 {
				t.Errorf("Atlas received %d requests", n)
			}
		})
	}
}
