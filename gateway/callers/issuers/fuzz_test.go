package issuers_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/issuertest"
)

// offline returns a Verifier whose keys are in a file.
func offline(t testing.TB, key issuertest.Key) *issuers.Verifier {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(issuertest.JWKS(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, issuers.Config{Name: "a", Issuer: "a", Audiences: []string{"b"}, Algorithms: []string{"ES256"}, JWKSFile: file, MaxLifetime: time.Hour})
}

// Whatever a token is that nobody has signed: it is refused.
func FuzzVerify(f *testing.F) {
	key := issuertest.NewKey(f, "first", "ES256")
	v := offline(f, key)
	good := key.Sign(f, nil, map[string]any{"iss": "a", "aud": "b", "exp": time.Now().Unix() + 60})
	for _, seed := range []string{"", "..", "a.b.c", good + "A", good[1:], encode(`{"alg":"none"}`) + "." + encode(`{"iss":"a","aud":"b","exp":1e10}`) + "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := v.Verify(context.Background(), text); err == nil && text != good {
			t.Errorf("%q is good", text)
		}
		if _, ok := issuers.IsJWS(text); ok != (strings.Count(text, ".") == 2) {
			t.Errorf("%q: IsJWS is %t", text, ok)
		}
	})
}

// Whatever an issuer signs: what is accepted reads the same for everybody, and says what it must.
func FuzzVerifySigned(f *testing.F) {
	key := issuertest.NewKey(f, "first", "ES256")
	v := offline(f, key)
	header := `{"alg":"ES256","kid":"first"}`
	for _, claims := range []string{`{"iss":"a","aud":"b","exp":NOW}`, `{"iss":"a","aud":["b"],"exp":NOW.5,"nbf":1}`, `{"iss":"a","iss":"a","aud":"b","exp":NOW}`, `{"Iss":"a","iss":"a","aud":"b","exp":NOW}`, `{"iss":"a","aud":"b","exp":NOW}{}`, `{"iss":"a","aud":"b","exp":1e400}`, `[]`} {
		f.Add(header, claims)
	}
	f.Add(`{"alg":"ES256","crit":[]}`, `{"iss":"a","aud":"b","exp":NOW}`)
	f.Add(`{"alg":"none","alg":"ES256"}`, `{"iss":"a","aud":"b","exp":NOW}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		now := time.Now()
		claims = strings.ReplaceAll(claims, "NOW", strconv.FormatInt(now.Unix()+60, 10))
		token, err := v.Verify(context.Background(), key.SignRaw(t, header, claims))
		if err != nil {
			return
		}
		var read, h map[string]any // the last of repeated members counts; there must be none
		decoder := json.NewDecoder(strings.NewReader(claims))
		decoder.UseNumber()
		if err := decoder.Decode(&read); err != nil || !reflect.DeepEqual(read, token.Claims) {
			t.Errorf("%q is accepted as %v: %v", claims, token.Claims, err)
		}
		if err := json.Unmarshal([]byte(header), &h); err != nil || h["alg"] != "ES256" || h["crit"] != nil {
			t.Errorf("the header %q is accepted", header)
		}
		if token.Claims["iss"] != "a" || token.Issuer != "a" || !holds(token.Claims["aud"], "b") || token.Until.Before(now) || token.Until.After(now.Add(time.Hour+time.Minute)) {
			t.Errorf("%q is accepted", claims)
		}
	})
}

func holds(audience any, one string) bool {
	if list, ok := audience.([]any); ok {
		return slices.Contains(list, any(one))
	}
	return audience == one
}
