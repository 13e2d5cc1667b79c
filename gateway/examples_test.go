package gateway_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// The examples with curl in Atlas's documents work through the gateway.
func TestDocumentedExamples(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	curl := func(line, body string, fields ...string) string {
		fields = append(fields, "User-Agent: curl/7.88.1")
		if body != "" {
			fields = append(fields, "Content-Type: application/json")
		}
		return g.Raw(t, request(line, body, fields...))
	}
	bucket := curl("POST "+v1Buckets+"?pretty=true", "{\n\"iamRoleId\": \"12345678f901a234dbdb00ca\",\n\"bucketName\": \"example-bucket\",\n\"cloudProvider\": \"AWS\"\n}", "Accept: application/json")
	if !strings.HasPrefix(bucket, "HTTP/1.1 200 OK\r\n") || !strings.Contains(bucket, "\n  \"bucketName\" : \"example-bucket\"") && !strings.Contains(bucket, "\n  \"bucketName\": \"example-bucket\"") {
		t.Fatalf("v1.0 bucket create with pretty: %s", bucket)
	}
	_, body, _ := strings.Cut(bucket, "\r\n\r\n")
	id := parse(t, body).(map[string]any)["_id"].(string)

	create := `{
           "snapshotId" : "` + snapshot + `",
           "exportBucketId" : "` + id + `",
           "customData": [
             {
               "key": "exported by",
               "value": "myName"
             }
           ]
         }`
	if got := curl("POST "+v1Exports+"/", create, "Accept: application/json"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, `"state":"Queued"`) {
		t.Errorf("v1.0 create with a trailing slash: %s", got)
	}
	if got := curl("GET "+v1Exports+"/", "", "Accept: application/json", "Content-Type: application/json"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") ||
		!strings.Contains(got, `"href":"`+g.URL+v1Exports+`/?pageNum=1&itemsPerPage=100"`) || !strings.Contains(got, `"totalCount":1`) {
		t.Errorf("v1.0 list: %s", got)
	}
	create = strings.Replace(create, snapshot, "6a01e0b45be2d84417c09f11", 1)
	if got := curl("POST "+v2Exports, create, "Accept: "+latest); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, `"state":"Queued"`) {
		t.Errorf("v2 create: %s", got)
	}
	// One of the documents lacks a comma.
	before := atlas.Counts().Requests
	got := curl("POST "+v1Exports+"/", strings.Replace(create, `",`, `"`, 1), "Accept: application/json")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "is not valid JSON at line 3, column 12: invalid character") || !strings.Contains(got, "expecting ','") {
		t.Errorf("without a comma: %s", got)
	}
	if after := atlas.Counts().Requests; after != before {
		t.Errorf("without a comma: Atlas received %d requests", after-before)
	}
}

// The generated client may ask for an envelope and for indented JSON. In an envelope a single
// result is the member content, and a list has a status beside its results.
func TestEnvelopeAndPretty(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "responses: {check: enforce}")
	client, err := gen.NewClientWithResponses(g.URL, gen.WithRequestEditorFn(accepting(latest)))
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.ListBackupExportsWithResponse(t.Context(), group, "orders", &gen.ListBackupExportsParams{Envelope: ptr(true), Pretty: ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	self := g.URL + v2Exports + "?includeCount=true&pageNum=1&itemsPerPage=100&pretty=true&envelope=true"
	got := parse(t, string(list.Body)).(map[string]any)
	if link := got["links"].([]any)[0].(map[string]any)["href"].(string); !strings.HasPrefix(link, g.URL+v2Exports+"?") || !strings.Contains(link, "pretty=true") {
		t.Errorf("self is %s, want %s", link, self)
	}
	if got["status"] != 200.0 || got["totalCount"] != 0.0 || !strings.Contains(string(list.Body), "\n") {
		t.Errorf("a list: %s", list.Body)
	}
	missing, err := client.GetBackupExportWithResponse(t.Context(), group, "orders", jobID, &gen.GetBackupExportParams{Envelope: ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	got = parse(t, string(missing.Body)).(map[string]any)
	if content, ok := got["content"].(map[string]any); !ok || got["status"] != 404.0 || content["error"] != 404.0 {
		t.Errorf("an error: %s", missing.Body)
	}
}

// curl --digest sends no content until it has a challenge. A gateway that asks for no key answers
// such an empty request with a challenge, and accepts whatever key the client then uses.
func TestDigestClientsOfAnAnonymousGateway(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	const body = `{"iamRoleId":"` + role + `","bucketName":"example-bucket","cloudProvider":"AWS"}`
	first := g.Raw(t, request("POST "+v1Buckets+"?pretty=true", "", "User-Agent: curl/7.88.1", "Accept: application/json", "Content-Type: application/json", "Content-Length: 0"))
	_, rest, ok := strings.Cut(first, "\r\nWww-Authenticate: ")
	field, _, _ := strings.Cut(rest, "\r\n")
	challenged, err := icholy.ParseChallenge(field)
	if !strings.HasPrefix(first, "HTTP/1.1 401 ") || !ok || err != nil || len(challenged.Nonce) != 32 ||
		!strings.HasPrefix(field, `Digest realm="MMS Public API", domain="", nonce="`) || !strings.HasSuffix(field, `", algorithm=MD5, qop="auth", stale=false`) {
		t.Fatalf("first leg: %s", first)
	}
	credentials, err := icholy.Digest(challenged, icholy.Options{Method: "POST", URI: v1Buckets + "?pretty=true", Username: "any", Password: "key", Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	second := g.Raw(t, request("POST "+v1Buckets+"?pretty=true", body, "User-Agent: curl/7.88.1", "Accept: application/json", "Content-Type: application/json", "Authorization: "+credentials.String()))
	if !strings.HasPrefix(second, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("second leg: %s", second)
	}
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if strings.Contains(field.Value, `username="any"`) {
				t.Errorf("the caller's credential reached Atlas: %s", field.Value)
			}
		}
	}
}
