package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/outbound"
)

// The text of an error is one line, is bounded, and holds no control characters.
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

// A 403 or 404 of something between client and Atlas says nothing about what was asked for.
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

// The kind of an error goes by its errorCode before its status.
func TestKindsOfCodes(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		want   string
	}{
		{401, "UNEXPECTED_ERROR", "unauthorized"},
		{401, "NO_CURRENT_USER", "unauthorized"},
		{401, "NOT_IN_GROUP", "forbidden"},
		{401, "USER_CANNOT_ACCESS_GROUP", "forbidden"},
		{401, "ORG_REQUIRES_ACCESS_LIST", "forbidden"},
		{402, "ACCOUNT_SUSPENDED", "forbidden"},
		{403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", "forbidden"},
		{403, "FEATURE_UNSUPPORTED", "forbidden"},
		{400, "IP_ADDRESS_NOT_ON_WHITELIST", "forbidden"},
		{400, "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE", "conflict"},
		{400, "UNFINISHED_ON_DEMAND_SNAPSHOT", "conflict"},
		{400, "EXPORT_BUCKET_DELETE_FAILED", "invalid"},
		{400, "RATE_LIMITED_IP", "rate limited"},
		{404, "INVALID_JOB_ID", "not found"},
		{410, "VERSION_GONE", ""},
	} {
		for _, credential := range []client.Credential{{}, client.BearerToken("c4na7y"), key} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if credential.String() == key.String() && r.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Digest realm="MMS Public API", domain="", nonce="NVHMQ9vMxA7KWrEFdpxzRwSFyDpVdrZn", algorithm=MD5, qop="auth", stale=false`)
					w.WriteHeader(401)
					return
				}
				w.WriteHeader(test.status)
				fmt.Fprintf(w, `{"error":%d,"errorCode":%q}`, test.status, test.code)
			}))
			_, err := newClient(t, client.Config{BaseURL: server.URL, Credential: credential, MaxRetries: -1}).GetExport(t.Context(), group, cluster, nobody)
			if got := kindOf(t, err); got != test.want {
				t.Errorf("%s, %d %s: %q, not %q: %v", credential, test.status, test.code, got, test.want, err)
			}
			server.Close()
		}
	}
}

// endless is content without an end. It counts the bytes that are read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// The client reads no more of an answer than MaxResponse, whatever the status. There is no retry
// after an answer that is too large.
func TestEndlessAnswers(t *testing.T) {
	for _, status := range []int{200, 302, 404, 503} {
		var content endless
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, MaxResponse: 1 << 10, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: &content, Request: r}, nil
		})})
		_, err := c.GetExport(t.Context(), group, cluster, nobody)
		if asError(t, err).Status != status || content.read > 4<<10 {
			t.Errorf("%d: %d bytes were read: %v", status, content.read, err)
		}
	}
}
