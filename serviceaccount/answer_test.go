package serviceaccount_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// What the token endpoint says of a refusal is in the error, also of requests that are refused
// later since the credential is held back, or since it is too early to ask again.
func TestAnswers(t *testing.T) {
	const id, private = "mdb_sa_id_a", "c4na7y-client-secret"
	encoded := base64.StdEncoding.EncodeToString([]byte(id + ":" + private))
	long := strings.Repeat("a", 499) + "\u00e9 and more"
	for _, test := range []struct {
		name        string
		status      int
		after, body string
		want        serviceaccount.Answer
		credential  bool   // the credential counts as bad
		text        string // of the error
	}{
		{"a refusal", 401, "", `{"error":"invalid_client","error_description":"Invalid credentials provided."}`,
			serviceaccount.Answer{Status: 401, Code: "invalid_client", Description: "Invalid credentials provided."}, true, "the credential was refused: invalid_client"},
		{"a refusal that says when", 401, "30", `{"error":"unauthorized_client"}`,
			serviceaccount.Answer{Status: 401, Code: "unauthorized_client", RetryAfter: 30 * time.Second}, true, "the credential was refused: unauthorized_client"},
		{"a rate limit without Retry-After", 429, "", `{"error":429,"errorCode":"TOO_MANY","detail":"Wait a minute.","reason":"Too Many Requests"}`,
			serviceaccount.Answer{Status: 429, Description: "Wait a minute."}, false, "no token: the token endpoint answered 429"},
		{"a rate limit", 429, "7", `{"error":"temporarily_unavailable","error_description":"Too many."}`,
			serviceaccount.Answer{Status: 429, Description: "Too many.", RetryAfter: 7 * time.Second}, false, "no token: the token endpoint answered 429"},
		{"a bad request", 400, "", `{"error":"invalid_scope","error_description":"No scope."}`,
			serviceaccount.Answer{Status: 400, Code: "invalid_scope", Description: "No scope."}, false, "answered 400: invalid_scope"},
		{"a code of the server's own", 401, "", `{"error":"c4na7y","error_description":"Not you."}`, serviceaccount.Answer{Status: 401, Description: "Not you."}, true, "the credential was refused"},
		{"the secret", 401, "", `{"error":"invalid_client","error_description":"not ` + private + `"}`, serviceaccount.Answer{Status: 401, Code: "invalid_client"}, true, ""},
		{"the secret, encoded", 401, "", `{"error_description":"not Basic ` + encoded + `"}`, serviceaccount.Answer{Status: 401}, true, ""},
		{"a long sentence", 401, "", `{"error_description":"` + long + `"}`, serviceaccount.Answer{Status: 401, Description: long[:499]}, true, ""},
		{"no JSON", 503, "2", "<html>", serviceaccount.Answer{Status: 503, RetryAfter: 2 * time.Second}, false, ""},
		{"another type", 401, "", `{"error_description":7}`, serviceaccount.Answer{Status: 401}, true, ""},
	} {
		client, url, calls, _ := strange(t, func(context.Context) (serviceaccount.Credential, error) {
			return serviceaccount.Credential{ClientID: id, ClientSecret: secret.New(private)}, nil
		}, func(w http.ResponseWriter, _ *http.Request) {
			if test.after != "" {
				w.Header().Set("Retry-After", test.after)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		for _, try := range []string{"first", "second"} {
			_, _, err := do(client, "GET", url, "")
			var refused *serviceaccount.CredentialError
			var failed *serviceaccount.TokenError
			var got serviceaccount.Answer
			switch {
			case errors.As(err, &refused) && test.credential:
				got = refused.Answer
			case errors.As(err, &failed) && !test.credential:
				got = failed.Answer
			default:
				t.Fatalf("%s, %s: %v", test.name, try, err)
			}
			if try == "second" && !test.credential { // it is told how long it still has to wait
				got.RetryAfter = test.want.RetryAfter
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", test.name, try, diff)
			}
			if text := err.Error(); !strings.HasSuffix(text, test.text) || strings.Contains(text, "c4na7y") || test.want.Description != "" && strings.Contains(text, test.want.Description) {
				t.Errorf("%s, %s: %s", test.name, try, text)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%s: %d tokens were asked for", test.name, n)
		}
	}
}

// The simulation's refusal is Atlas's recorded one.
func TestAnswerOfAtlas(t *testing.T) {
	atlas, client, a, _ := setup(t, sim.Config{})
	a.set("c4na7y-wrong-secret")
	_, _, err := do(client, "GET", atlas.URL()+buckets, "")
	var refused *serviceaccount.CredentialError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	want := serviceaccount.Answer{Status: 401, Code: "invalid_client", Description: "Invalid credentials provided."}
	if diff := cmp.Diff(want, refused.Answer); diff != "" {
		t.Error(diff)
	}
}
