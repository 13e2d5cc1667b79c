package digestauth_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"

	"github.com/google/go-cmp/cmp"
)

func TestNewTransportRefuses(t *testing.T) {
	good := digestauth.Config{Origin: "https://cloud.mongodb.com/", Credential: source(goodKey)}
	if _, err := digestauth.NewTransport(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*digestauth.Config){
		"no origin":         func(c *digestauth.Config) { c.Origin = "" },
		"no scheme":         func(c *digestauth.Config) { c.Origin = "cloud.mongodb.com" },
		"scheme":            func(c *digestauth.Config) { c.Origin = "ftp://cloud.mongodb.com" },
		"no host":           func(c *digestauth.Config) { c.Origin = "https://:443" },
		"path":              func(c *digestauth.Config) { c.Origin = "https://cloud.mongodb.com/api" },
		"query":             func(c *digestauth.Config) { c.Origin = "https://cloud.mongodb.com?" },
		"user info":         func(c *digestauth.Config) { c.Origin = "https://u:c4na7y@cloud.mongodb.com" },
		"malformed":         func(c *digestauth.Config) { c.Origin = "https://u:c4na7y@%zz" },
		"no credential":     func(c *digestauth.Config) { c.Credential = nil },
		"negative bound":    func(c *digestauth.Config) { c.MaxBody = -1 },
		"too few retries":   func(c *digestauth.Config) { c.MaxRetries = 3 },
		"too many refusals": func(c *digestauth.Config) { c.MaxRefusals = 9 },
	} {
		c := good
		change(&c)
		if _, err := digestauth.NewTransport(c); err == nil || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestAndResponse(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	var basic atomic.Int64
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Basic") {
			basic.Add(1)
		}
		inner.ServeHTTP(w, r)
	})
	_, tr := u.client(t, nil)
	for _, method := range []string{"GET", "", "HEAD", "DELETE", "PATCH", "POST"} {
		for range 2 {
			body := &closeRecorder{Reader: strings.NewReader("content")}
			req, _ := http.NewRequest(method, u.URL+`/a%2Fb/c d?q="x"&y=%zz`, body)
			req.Method = method
			req.Header.Set("Authorization", "Basic YTpi")
			if method != "PATCH" && method != "POST" {
				req.Body = nil
			}
			before := req.Clone(t.Context())
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, resp)
			if resp.StatusCode != 200 {
				t.Errorf("%s: status %d", method, resp.StatusCode)
			}
			if resp.Request != req {
				t.Errorf("%s: the response is to another request", method)
			}
			if d := cmp.Diff(before.Header, req.Header); d != "" || req.Body != before.Body || *req.URL != *before.URL {
				t.Errorf("%s: the request was changed %s", method, d)
			}
			if req.Body != nil && !body.closed.Load() {
				t.Errorf("%s: the body was not closed", method)
			}
		}
	}
	if basic.Load() != 0 || u.refused.Load() != 0 || u.unsigned.Load() != 1 {
		t.Errorf("%d with the caller's credential, %d refused, %d unsigned", basic.Load(), u.refused.Load(), u.unsigned.Load())
	}
}

// No error or printed value of the package holds the secret or a signature.
func TestErrorsHoldNoSecret(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	wrong := digestauth.Credential{Username: goodKey.Username, Password: secret.New("c4na7y-5e7")}
	var signed bytes.Buffer
	var mu sync.Mutex
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, err := digestauth.ParseAuthorization(r.Header.Get("Authorization")); err == nil {
			mu.Lock()
			fmt.Fprintln(&signed, a.Response)
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	})
	c, tr := u.client(t, func(c *digestauth.Config) { c.Credential = source(wrong) })
	_, err := c.Get(u.URL)
	if err == nil {
		t.Fatal("no error")
	}
	said := fmt.Sprintf("%v %+v %#v %v", err, err, errors.Unwrap(err), tr)
	forbidden := []string{"c4na7y"}
	for s := bufio.NewScanner(&signed); s.Scan(); {
		forbidden = append(forbidden, s.Text())
	}
	if len(forbidden) != 5 {
		t.Fatalf("%d credentials were sent", len(forbidden)-1)
	}
	for _, f := range forbidden {
		if strings.Contains(said, f) {
			t.Errorf("%q was printed in %s", f, said)
		}
	}
}

// RoundTripThrough sends all of a request through the transport that it gets. Only the signed
// request has content.
func TestRoundTripThrough(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	unused := outbound.TransportFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("Base was used") })
	_, tr := u.client(t, func(c *digestauth.Config) { c.Base = unused })
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	var sent []string
	through := outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, fmt.Sprintf("signed %t, content %t", r.Header["Authorization"] != nil, r.Body != nil))
		return base.RoundTrip(r)
	})
	for range 2 {
		req, _ := http.NewRequest("POST", u.URL, strings.NewReader("content"))
		resp, err := tr.RoundTripThrough(through, req)
		if err != nil {
			t.Fatal(err)
		}
		read(t, resp)
	}
	signed := "signed true, content true"
	if d := cmp.Diff([]string{"signed false, content false", signed, signed}, sent); d != "" {
		t.Error(d)
	}
}
