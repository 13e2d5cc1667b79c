package outbound_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/internal/outbound"
)

// The errorCode of a 401 is found with and without an envelope, and only there.
func TestNameCode(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":401,"errorCode":"NOT_IN_GROUP"}`:                                  "NOT_IN_GROUP",
		`{"status":401,"content":{"error":401,"errorCode":"NOT_IN_GROUP"}}`:         "NOT_IN_GROUP",
		`{"status":401,"envelope":{"error":401,"errorCode":"USER_UNAUTHORIZED"}}`:   "USER_UNAUTHORIZED",
		`{"errorCode":"USER_UNAUTHORIZED","content":"text"}`:                        "USER_UNAUTHORIZED",
		`{"status":401,"content":["text"],"envelope":{"errorCode":"NOT_IN_GROUP"}}`: "NOT_IN_GROUP",
		`{"status":401,"content":{"content":{"errorCode":"NOT_IN_GROUP"}}}`:         "",
		`{"errorCode":401}`:           "",
		`{"errorCode":"NOT_IN_GROUP"`: "",
		`{"errorCode":"NOT_IN_GROUP","detail":"` + strings.Repeat("x", 64<<10) + `"}`: "",
		`<html>`: "",
		``:       "",
	} {
		for status, want := range map[int]string{401: want, 403: ""} {
			response := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
			if _, err := outbound.NameCode(response, nil); err != nil || response.Header.Get("X-Error-Code") != want {
				t.Errorf("%d %.80s: got %q, %v", status, body, response.Header.Get("X-Error-Code"), err)
			}
		}
	}
	named := &http.Response{StatusCode: 401, Header: http.Header{"X-Error-Code": {"UNEXPECTED_ERROR"}}, Body: io.NopCloser(strings.NewReader(`{"errorCode":"NOT_IN_GROUP"}`))}
	if outbound.NameCode(named, nil); named.Header.Get("X-Error-Code") != "UNEXPECTED_ERROR" {
		t.Errorf("Atlas's own field was replaced by %s", named.Header.Get("X-Error-Code"))
	}
}
