package canary_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/internal/canary"

	"github.com/google/go-cmp/cmp"
)

// Find finds a secret in every form that the standard library gives it, at any place.
func TestFind(t *testing.T) {
	const secret = "c4na7y+/\"<\\ü\x01"
	var secrets canary.Secrets
	secrets.Add("the key", secret)
	var record strings.Builder
	slog.New(slog.NewJSONHandler(&record, nil)).Info("request", "key", secret)
	encoded, err := json.Marshal(map[string]string{"key": secret})
	if err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{
		"as it is":         "<" + secret + ">",
		"a record":         record.String(),
		"JSON":             string(encoded),
		"%q":               fmt.Sprintf("%q", "key "+secret),
		"%x":               fmt.Sprintf("%x", "key "+secret),
		"%X":               fmt.Sprintf("%X", secret+" key"),
		"%v of bytes":      fmt.Sprint([]byte("key " + secret)),
		"a query":          url.Values{"key": {secret}}.Encode(),
		"a path":           (&url.URL{Path: "/" + secret}).EscapedPath(),
		"a path's segment": "/" + url.PathEscape(secret),
	}
	for _, user := range []string{"", "a", "ab", "abc"} {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, secret)
		printed["Basic of "+user] = r.Header.Get("Authorization")
		printed["base64url of "+user] = base64.RawURLEncoding.EncodeToString([]byte(user + secret + "more"))
	}
	for name, text := range printed {
		if len(secrets.Find(text)) == 0 {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
}

// A report names the secret and shows the text around it, but not the secret.
func TestFindReports(t *testing.T) {
	var secrets canary.Secrets
	secrets.Add("the key", "c4na7y-one")
	secrets.Add("the same key", "c4na7y-one")
	secrets.Add("the token", "c4na7y-two")
	got := secrets.Find("a line with c4na7y-one, twice c4na7y-one\nand 6334" + "6e6137792d74776f")
	want := []string{
		`the key: "a line with <HERE>, twice c4na7y-one\nand 63346e6137792d747"`,
		`the token in hexadecimal digits: "a line with c4na7y-one, twice c4na7y-one\nand <HERE>"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := secrets.Find("c4na7y-two"); len(got) != 1 || got[0] != `the token: "<HERE>"` {
		t.Errorf("found %q", got)
	}
	if got := secrets.Find("c4na7y-on and c4na7y-tw, one and two"); got != nil {
		t.Errorf("found %q", got)
	}
	if got := new(canary.Secrets).Find("anything"); got != nil {
		t.Errorf("without a secret, found %q", got)
	}
}
