package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// generated is what all answers of the generated client have.
type generated interface {
	StatusCode() int
	ContentType() string
	GetBody() []byte
}

// accepting makes the generated client ask for a version.
func accepting(mediaType string) gen.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept", mediaType)
		return nil
	}
}

func ptr[T any](value T) *T { return &value }

// operations is a gateway with its generated clients, and what calls have told so far.
type operations struct {
	*testing.T
	atlas         *sim.Server
	v1, v2, v2023 *gen.ClientWithResponses // which ask for v1.0, the newest version and an old one
	ids           map[string]string        // what a <NAME> stands for, also what Atlas makes up
}

func newOperations(t *testing.T) *operations {
	now := time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)
	seed := sim.DefaultSeed()
	seed.Groups[0].Clusters[1].PolicyItems = []sim.PolicyItem{{FrequencyType: "daily", FrequencyInterval: 1, RetentionUnit: "days", RetentionValue: 7}}
	seed.Groups[1].Name = "Production (EU) é"
	atlas := sim.Start(t, sim.Config{Seed: seed, Now: func() time.Time { return now }, ExportDir: t.TempDir()})
	g := gatewaytest.StartFor(t, atlas.URL(), "responses: {check: enforce}\n"+eachSent)
	client := func(accept string) *gen.ClientWithResponses {
		c, err := gen.NewClientWithResponses(g.URL, gen.WithRequestEditorFn(accepting(accept)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return &operations{
		T: t, atlas: atlas,
		v1: client(plain), v2: client(latest), v2023: client("application/vnd.atlas.2024-05-29+json"),
		ids: map[string]string{"G": group, "ROLE": role, "SNAP": snapshot, "SHARDED": "6a01e0b45be2d84417c09f20", "GW": g.URL},
	}
}

// expand replaces each <NAME>.
func (o *operations) expand(text string) string {
	for name, id := range o.ids {
		text = strings.ReplaceAll(text, "<"+name+">", id)
	}
	return text
}

// bucket makes an export bucket.
func (o *operations) bucket(c *gen.ClientWithResponses, from func(*gen.ExportBucketRequest) error) func() (generated, error) {
	return func() (generated, error) {
		var request gen.ExportBucketRequest
		if err := from(&request); err != nil {
			return nil, err
		}
		return c.CreateExportBucketWithResponse(o.Context(), group, nil, request)
	}
}

// run makes a call, the i-th from 0, and checks the answer and what Atlas received.
func (o *operations) run(i int, test operationTest) {
	o.atlas.Advance(test.after)
	o.atlas.Reset()
	answer, err := test.do()
	if err != nil {
		o.Fatalf("%d %s: %v", i, test.operation, err)
	}
	var got map[string]any
	if body := answer.GetBody(); len(body) > 0 {
		if err := json.Unmarshal(body, &got); err != nil {
			o.Fatalf("%d %s: %v in %s", i, test.operation, err, body)
		}
	}
	learn(o.ids, test.id, got)
	if answer.StatusCode() != test.status {
		o.Errorf("%d %s: status %d, want %d: %s", i, test.operation, answer.StatusCode(), test.status, answer.GetBody())
		return
	}
	o.checkAnswer(i, test, answer, got)
	o.checkReceived(i, test)
}

// checkAnswer checks an answer, as it came from the gateway and as the client reads it.
func (o *operations) checkAnswer(i int, test operationTest, answer generated, got map[string]any) {
	if test.body != "" {
		want := parse(o, o.expand(test.body))
		if diff := cmp.Diff(want, any(got)); diff != "" {
			o.Errorf("%d %s: answer:\n%s", i, test.operation, diff)
		}
		member := "JSON200"
		if test.status != 200 {
			member = "JSONDefault"
		}
		typed, err := json.Marshal(reflect.ValueOf(answer).Elem().FieldByName(member).Interface())
		if err != nil {
			o.Fatal(err)
		}
		if diff := cmp.Diff(withoutNulls(want), parse(o, string(typed))); diff != "" {
			o.Errorf("%d %s: the client reads:\n%s", i, test.operation, diff)
		}
		contentType := test.version
		switch {
		case test.status != 200:
			contentType = plain
		case contentType != plain:
			contentType += ";charset=utf-8"
		}
		if answer.ContentType() != contentType {
			o.Errorf("%d %s: Content-Type %s, want %s", i, test.operation, answer.ContentType(), contentType)
		}
	}
	// The fields that Atlas sets: on every response, and on that of a deprecated version.
	header := reflect.ValueOf(answer).Elem().FieldByName("HTTPResponse").Interface().(*http.Response).Header
	if header.Get("RateLimit-Limit") != "1200" || header.Get("RateLimit-Remaining") == "" || header.Get("X-MongoDB-Service-Version") == "" ||
		(header.Get("Deprecation") == "Mon, 5 Aug 2024 00:00:00 GMT") != test.old || (header.Get("Sunset") == "Thu, 1 Jul 2027 00:00:00 GMT") != test.old {
		o.Errorf("%d %s: header %v", i, test.operation, header)
	}
}

// withoutNulls returns a value without the members that are null, which the client leaves out.
func withoutNulls(value any) any {
	switch v := value.(type) {
	case []any:
		list := []any{}
		for _, element := range v {
			list = append(list, withoutNulls(element))
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for name, member := range v {
			if member != nil {
				object[name] = withoutNulls(member)
			}
		}
		return object
	}
	return value
}

// checkReceived checks what Atlas received: one signed request, and before the very first a
// request for a challenge.
func (o *operations) checkReceived(i int, test operationTest) {
	requests := o.atlas.Requests(0)
	if i == 0 {
		if len(requests) != 2 || !requests[0].Challenged || requests[0].Body != "" {
			o.Errorf("the first call made %d requests", len(requests))
		}
		requests = requests[1:]
	}
	if len(requests) != 1 {
		o.Errorf("%d %s: Atlas received %d requests, want 1", i, test.operation, len(requests))
		return
	}
	received := requests[0]
	if got, want := received.Method+" "+received.Target, o.expand(test.upstream); got != want {
		o.Errorf("%d %s: Atlas received %s, want %s", i, test.operation, got, want)
	}
	if received.Operation != test.operation || received.Caller != sim.PublicKey {
		o.Errorf("%d: Atlas received %s by %s, want %s", i, received.Operation, received.Caller, test.operation)
	}
	fields := map[string]string{}
	for _, field := range received.Header {
		fields[field.Name] = field.Value
	}
	if fields["Accept"] != test.version {
		o.Errorf("%d %s: forwarded as %s, want %s", i, test.operation, fields["Accept"], test.version)
	}
	switch {
	case test.content == "" && (received.Body != "" || fields["Content-Type"] != ""):
		o.Errorf("%d %s: Atlas received the content %q of type %s", i, test.operation, received.Body, fields["Content-Type"])
	case test.content != "":
		if diff := cmp.Diff(parse(o, o.expand(test.content)), parse(o, received.Body)); diff != "" {
			o.Errorf("%d %s: Atlas received:\n%s", i, test.operation, diff)
		}
	}
}

// learn remembers the ids that an answer brings.
func learn(ids map[string]string, name string, answer map[string]any) {
	if name == "" {
		return
	}
	for _, member := range []string{"_id", "id"} {
		if id, ok := answer[member].(string); ok {
			ids[name] = id
		}
	}
	if parts, ok := answer["snapshotIds"].([]any); ok {
		for i, id := range parts {
			ids["P"+string(rune('1'+i))] = id.(string)
		}
	}
	if components, ok := answer["components"].([]any); ok {
		for i, component := range components {
			ids["C"+string(rune('1'+i))] = component.(map[string]any)["exportId"].(string)
		}
	}
}

func parse(t testing.TB, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}
