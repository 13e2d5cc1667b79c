package clients_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// call is a request of a client's user. The client adds what authenticates it.
type call struct {
	Method string            `json:"method"`
	URL    string            `json:"url"` // absolute
	Header map[string]string `json:"header"`
	Body   string            `json:"body,omitempty"`
}

// answer is what a client returns to its user.
type answer struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	Body        string `json:"body"`
}

// client makes calls, all at the same time, and returns their answers in the same order.
type client func(t testing.TB, calls ...call) []answer

// variant is a client with one of its ways to authenticate.
type variant struct {
	name string
	options
	form callers.Form // as the gateway logs it
	// open returns the client, with the keys of a caller.
	open       func(t testing.TB, r *running, c caller) client
	challenges challenges
	// contentOnly says that the client does not return status and header to its user.
	contentOnly bool
}

// challenges says how often a client that makes one call after another is challenged.
type challenges int

const (
	never challenges = iota
	once             // it reuses the nonce
	always
)

// variants are the clients that can make any request.
var variants = []variant{
	{"curl digest", options{}, callers.Digest, curl("--digest", pair), always, false},
	{"curl digest, SHA-256, TLS", options{algorithm: "SHA-256", tls: true}, callers.Digest, curl("--digest", pair), always, false},
	{"curl anyauth", options{}, callers.Digest, curl("--anyauth", pair), always, false},
	{"curl basic", options{}, callers.Basic, curl("--basic", pair), never, false},
	{"curl basic, TLS", options{tls: true}, callers.Basic, curl("--basic", pair), never, false},
	{"curl bearer, static token", options{}, callers.StaticToken, curl("--oauth2-bearer", token), never, false},
	{"curl bearer, access token, TLS", options{tls: true}, callers.AccessToken, curl("--oauth2-bearer", curlAccessToken), never, false},
	{"digest-fetch", options{}, callers.Digest, node("digest-fetch.mjs", "digest"), once, false},
	{"digest-fetch, SHA-256, TLS", options{algorithm: "SHA-256", tls: true}, callers.Digest, node("digest-fetch.mjs", "digest"), once, false},
	{"digest-fetch basic, TLS", options{tls: true}, callers.Basic, node("digest-fetch.mjs", "basic"), never, false},
	{"mongodb-atlas-api-client", options{}, callers.Digest, node("mongodb-atlas-api-client.mjs", "digest"), always, true},
	{"requests", options{}, callers.Digest, python("digest"), once, false},
	{"requests, SHA-256, TLS", options{algorithm: "SHA-256", tls: true}, callers.Digest, python("digest"), once, false},
	{"requests basic, TLS", options{tls: true}, callers.Basic, python("basic"), never, false},
}

// The headers that the examples in Atlas's documents send with every request.
var (
	v1 = map[string]string{"Accept": plain, "Content-Type": plain}
	v2 = map[string]string{"Accept": latest, "Content-Type": plain}
)

const (
	queued  = `"exportBucketId":"<B1>","createdAt":"2026-08-10T03:28:25Z","state":"Queued","exportStatus":{"exportedCollections":0,"totalCollections":0}`
	prefix  = `"prefix":"exported_snapshots/` + sim.OrgID + `/` + sim.GroupID + `/orders/`
	job1    = `{"id":"<J1>","snapshotId":"` + sim.OrdersSnapshot + `",` + prefix + `2026-08-10T0327/1786332505","customData":[{"key":"exported by","value":"nightly"}],` + queued
	job2    = `{"id":"<J2>","snapshotId":"` + sim.OrdersSnapshot2 + `",` + prefix + `2026-08-11T0327/1786332505","customData":[],` + queued
	job3    = `{"id":"<J3>","snapshotId":"` + sim.OrdersSnapshot3 + `",` + prefix + `2026-08-12T0327/1786332505","customData":[],` + queued
	aws     = `"_id":"<B1>","cloudProvider":"AWS","bucketName":"example-bucket","iamRoleId":"` + sim.AWSRole + `"`
	gcp     = `{"_id":"<B2>","cloudProvider":"GCP","bucketName":"acme-archive","roleId":"` + sim.AWSRole + `"}`
	linkV1  = `"href":"<GW>` + v1Exports + `/?`
	linkV2  = `"href":"<GW>` + v2Exports + `?includeCount=true&`
	utf8    = ";charset=utf-8"
	unknown = "6b0227092f2f71f9786c4347"
)

// step is a call, with what the client returns and what Atlas receives.
type step struct {
	call      call
	answer    answer
	id        string    // the name for the id in the answer
	forwarded forwarded // without the Body, which is that of the call; zero if the gateway refuses
}

// steps are calls of both generations as the documents have them: with and without a trailing
// slash, from page to page by the links, with errors of Atlas and of the gateway.
var steps = []step{
	{
		call:      call{"GET", "<GW>" + v1Exports + "/", v1, ""},
		answer:    answer{200, plain, `{"results":[],"totalCount":0,"links":[{"rel":"self",` + linkV1 + `pageNum=1&itemsPerPage=100"}]}`},
		forwarded: forwarded{"v1ListBackupExports", "GET " + v1Exports + "/", plain, "", ""},
	},
	{
		call:      call{"POST", "<GW>" + v1Buckets + "?pretty=true", v1, `{"iamRoleId":"` + sim.AWSRole + `","bucketName":"example-bucket","cloudProvider":"AWS"}`},
		answer:    answer{200, plain, `{` + aws + `,"projectId":"` + sim.GroupID + `"}`},
		id:        "B1",
		forwarded: forwarded{"v1CreateExportBucket", "POST " + v1Buckets + "?pretty=true", plain, plain, ""},
	},
	{
		call:      call{"POST", "<GW>" + v1Exports + "/", v1, `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"<B1>","customData":[{"key":"exported by","value":"nightly"}]}`},
		answer:    answer{200, plain, job1 + `}`},
		id:        "J1",
		forwarded: forwarded{"v1CreateBackupExport", "POST " + v1Exports + "/", plain, plain, ""},
	},
	{
		call:      call{"POST", "<GW>" + v1Exports, v1, `{"snapshotId":"` + sim.OrdersSnapshot2 + `","exportBucketId":"<B1>"}`},
		answer:    answer{200, plain, job2 + `}`},
		id:        "J2",
		forwarded: forwarded{"v1CreateBackupExport", "POST " + v1Exports + "/", plain, plain, ""},
	},
	{
		call:      call{"POST", "<GW>" + v2Exports, v2, `{"snapshotId":"` + sim.OrdersSnapshot3 + `","exportBucketId":"<B1>","customData":[]}`},
		answer:    answer{200, of2023 + utf8, job3 + `}`},
		id:        "J3",
		forwarded: forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023, ""},
	},
	{ // one export of a snapshot at a time
		call:      call{"POST", "<GW>" + v2Exports + "/", v2, `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"<B1>"}`},
		answer:    answer{409, plain, `{"error":409,"errorCode":"EXPORT_ALREADY_IN_PROGRESS","reason":"Conflict","detail":"An export of snapshot ` + sim.OrdersSnapshot + ` is already in progress.","parameters":["` + sim.OrdersSnapshot + `"]}`},
		forwarded: forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023, ""},
	},
	{
		call:      call{"GET", "<GW>" + v1Exports + "/<J1>", v1, ""},
		answer:    answer{200, plain, job1 + `}`},
		forwarded: forwarded{"v1GetBackupExport", "GET " + v1Exports + "/<J1>", plain, "", ""},
	},
	{
		call:      call{"GET", "<GW>" + v2Exports + "/<J2>/", v2, ""},
		answer:    answer{200, of2023 + utf8, job2 + `}`},
		forwarded: forwarded{"getBackupExport", "GET " + v2Exports + "/<J2>", of2023, "", ""},
	},
	{
		call: call{"GET", "<GW>" + v1Exports + "/?pretty=true&itemsPerPage=2", v1, ""},
		answer: answer{200, plain, `{"results":[` + job3 + `},` + job2 + `}],"totalCount":3,"links":[
			{"rel":"self",` + linkV1 + `pageNum=1&itemsPerPage=2&pretty=true"},{"rel":"next",` + linkV1 + `itemsPerPage=2&pageNum=2&pretty=true"}]}`},
		forwarded: forwarded{"v1ListBackupExports", "GET " + v1Exports + "/?pretty=true&itemsPerPage=2", plain, "", ""},
	},
	{
		call: call{"GET", "<NEXT>", v1, ""},
		answer: answer{200, plain, `{"results":[` + job1 + `}],"totalCount":3,"links":[
			{"rel":"self",` + linkV1 + `pageNum=2&itemsPerPage=2&pretty=true"},{"rel":"previous",` + linkV1 + `itemsPerPage=2&pageNum=1&pretty=true"}]}`},
		forwarded: forwarded{"v1ListBackupExports", "GET " + v1Exports + "/?itemsPerPage=2&pageNum=2&pretty=true", plain, "", ""},
	},
	{
		call: call{"GET", "<GW>" + v2Exports + "?itemsPerPage=1", v2, ""},
		answer: answer{200, of2023 + utf8, `{"results":[` + job3 + `}],"totalCount":3,"links":[
			{"rel":"self",` + linkV2 + `pageNum=1&itemsPerPage=1"},{"rel":"next",` + linkV2 + `itemsPerPage=1&pageNum=2"}]}`},
		forwarded: forwarded{"listBackupExports", "GET " + v2Exports + "?itemsPerPage=1", of2023, "", ""},
	},
	{
		call: call{"GET", "<NEXT>", v2, ""},
		answer: answer{200, of2023 + utf8, `{"results":[` + job2 + `}],"totalCount":3,"links":[
			{"rel":"self",` + linkV2 + `pageNum=2&itemsPerPage=1"},{"rel":"next",` + linkV2 + `itemsPerPage=1&pageNum=3"},{"rel":"previous",` + linkV2 + `itemsPerPage=1&pageNum=1"}]}`},
		forwarded: forwarded{"listBackupExports", "GET " + v2Exports + "?includeCount=true&itemsPerPage=1&pageNum=2", of2023, "", ""},
	},
	{
		call: call{"GET", "<NEXT>", v2, ""},
		answer: answer{200, of2023 + utf8, `{"results":[` + job1 + `}],"totalCount":3,"links":[
			{"rel":"self",` + linkV2 + `pageNum=3&itemsPerPage=1"},{"rel":"previous",` + linkV2 + `itemsPerPage=1&pageNum=2"}]}`},
		forwarded: forwarded{"listBackupExports", "GET " + v2Exports + "?includeCount=true&itemsPerPage=1&pageNum=3", of2023, "", ""},
	},
	{
		call:      call{"POST", "<GW>" + v2Buckets, v2, `{"cloudProvider":"GCP","bucketName":"acme-archive","roleId":"` + sim.AWSRole + `"}`},
		answer:    answer{200, of2024 + utf8, gcp},
		id:        "B2",
		forwarded: forwarded{"createExportBucket", "POST " + v2Buckets, of2024, of2024, ""},
	},
	{
		call:      call{"PATCH", "<GW>" + v2Buckets + "/<B1>", v2, `{"requirePrivateNetworking":true}`},
		answer:    answer{200, of2024 + utf8, `{` + aws + `,"region":"us-east-1","requirePrivateNetworking":true}`},
		forwarded: forwarded{"updateBackupExportBucket", "PATCH " + v2Buckets + "/<B1>", of2024, of2024, ""},
	},
	{
		call:      call{"GET", "<GW>" + v1Buckets + "/<B1>", v1, ""},
		answer:    answer{200, plain, `{` + aws + `,"region":"us-east-1","projectId":"` + sim.GroupID + `"}`},
		forwarded: forwarded{"v1GetExportBucket", "GET " + v1Buckets + "/<B1>", plain, "", ""},
	},
	{ // an error of Atlas's
		call:      call{"GET", "<GW>" + v2Buckets + "/" + unknown, v2, ""},
		answer:    answer{404, plain, `{"error":404,"errorCode":"EXPORT_BUCKET_NOT_FOUND","reason":"Not Found","detail":"No export Bucket with ID ` + unknown + ` does not exist.","parameters":["` + unknown + `"]}`},
		forwarded: forwarded{"getExportBucket", "GET " + v2Buckets + "/" + unknown, of2024, "", ""},
	},
	{ // errors of the gateway's
		call: call{"POST", "<GW>" + v1Exports + "/", v1, `{"snapshotId":"` + sim.OrdersSnapshot + `"}`},
		answer: answer{400, plain, `{"error":400,"errorCode":"MISSING_ATTRIBUTE","reason":"Bad Request","detail":"The required attribute exportBucketId was not specified.","parameters":["exportBucketId"],
			"badRequestDetail":{"fields":[{"field":"/exportBucketId","description":"is required"}]}}`},
	},
	{
		call:   call{"GET", "<GW>" + v2Buckets, v1, ""},
		answer: answer{406, plain, `{"error":406,"errorCode":"INVALID_VERSION_DATE","reason":"Not Acceptable","detail":"Invalid accept header or version date. Accept names no version date. Send Accept: application/vnd.atlas.2024-05-30+json."}`},
	},
	{
		call:      call{"DELETE", "<GW>" + v1Buckets + "/<B2>", v1, ""},
		answer:    answer{Status: 204},
		forwarded: forwarded{"v1DeleteExportBucket", "DELETE " + v1Buckets + "/<B2>", plain, "", ""},
	},
}

func TestClients(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, v.options)
			client := v.open(t, r, r.nightly)
			known, seen := names{"GW": r.url}, int64(0)
			for _, step := range steps {
				seen = step.run(t, v, r, client, known, seen)
			}
			want := map[challenges]int{never: 0, once: 1, always: len(steps)}[v.challenges]
			if got := challenged(t, r.records(t), v.form); got != want {
				t.Errorf("%d calls were challenged %d times, want %d", len(steps), got, want)
			}
		})
	}
}

// run makes the call. It compares what the client returns, and what Atlas has received since; it
// returns how far that goes.
func (step step) run(t *testing.T, v variant, r *running, client client, known names, since int64) int64 {
	t.Helper()
	sent := step.call
	sent.URL, sent.Body = known.expand(sent.URL), known.expand(sent.Body)
	at := sent.Method + " " + sent.URL
	got := client(t, sent)[0]
	content := parse(t, got.Body)
	known.learn(step.id, content)
	want := step.answer
	if diff := cmp.Diff(parse(t, known.expand(want.Body)), content); diff != "" {
		t.Fatalf("%s: the client returns:\n%s", at, diff)
	}
	if pretty := strings.Contains(sent.URL, "pretty=true"); pretty != strings.Contains(got.Body, "\n  ") && !v.contentOnly {
		t.Errorf("%s: the content is %s", at, got.Body)
	}
	want.Body, got.Body = "", ""
	if v.contentOnly {
		want = answer{}
	}
	if got != want {
		t.Errorf("%s: the client returns %+v, want %+v", at, got, want)
	}
	received, seen := r.forwards(t, since)
	var expected []forwarded
	if f := step.forwarded; f != (forwarded{}) {
		f.Request, f.Body = known.expand(f.Request), sent.Body
		expected = []forwarded{f}
	}
	if diff := cmp.Diff(expected, received); diff != "" {
		t.Errorf("%s: Atlas received:\n%s", at, diff)
	}
	return seen
}

// A client with a wrong key, or without a grant, gets an error in the form of Atlas's errors.
// Atlas receives no request.
func TestRefusals(t *testing.T) {
	create := call{"POST", v2Buckets, v2, `{"cloudProvider":"GCP","bucketName":"acme-archive","roleId":"` + sim.AWSRole + `"}`}
	for _, v := range variants {
		if v.tls && v.form == callers.Digest { // the same as without TLS
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, v.options)
			stranger := r.nightly
			stranger.pair.Secret, stranger.token.Secret = r.reader.pair.Secret, callers.NewToken("nightly").Secret
			create := create
			create.URL = r.url + create.URL
			refused := func(c caller, want answer, code string) {
				t.Helper()
				got := v.open(t, r, c)(t, create)[0]
				content, _ := parse(t, got.Body).(map[string]any)
				if content["errorCode"] != code || content["error"] != float64(want.Status) {
					t.Errorf("%d: %s", want.Status, got.Body)
				}
				if got.Body = ""; !v.contentOnly && got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
			if v.form != callers.AccessToken { // its wrong secret gets no token
				refused(stranger, answer{401, plain, ""}, "UNEXPECTED_ERROR")
			}
			refused(r.reader, answer{403, plain, ""}, "USER_UNAUTHORIZED")
			if n := r.atlas.Counts().Requests; n != 0 {
				t.Errorf("Atlas received %d requests", n)
			}
		})
	}
}

// isCurl reports whether a variant is curl, a process of its own for each call.
func isCurl(v variant) bool { return strings.HasPrefix(v.name, "curl") }

// atATime is how many calls the tests make at the same time.
const atATime = 64

// Many calls of one client at the same time all succeed, and each create is sent once.
func TestConcurrentCalls(t *testing.T) {
	for _, v := range variants {
		if v.tls || isCurl(v) {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			r := start(t, v.options)
			client := v.open(t, r, r.nightly)
			var calls []call
			want := map[string]int{}
			for i := range atATime / 2 {
				body := fmt.Sprintf(`{"cloudProvider":"GCP","bucketName":"acme-%d","roleId":"%s"}`, i, sim.AWSRole)
				want[body]++
				calls = append(calls, call{"POST", r.url + v2Buckets, v2, body}, call{"GET", r.url + v1Exports + "/", v1, ""})
			}
			for range 2 { // without a nonce, then with one
				for i, got := range client(t, calls...) {
					if content, _ := parse(t, got.Body).(map[string]any); got.Status != http.StatusOK && !v.contentOnly || content["error"] != nil {
						t.Errorf("call %d: %+v", i, got)
					}
				}
				received, _ := r.forwards(t, 0)
				got := map[string]int{}
				for _, f := range received {
					if f.Body != "" {
						got[f.Body]++
					}
				}
				// The reads are the same, and share requests to Atlas.
				if reads := len(received) - len(want); !maps.Equal(got, want) || reads < 1 || reads > len(calls)-len(want) {
					t.Errorf("Atlas received %d requests: %v", len(received), got)
				}
				r.atlas.Reset()
			}
		})
	}
}
