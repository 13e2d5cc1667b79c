package outbound

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// TransportFunc is a function that sends a request, as an http.RoundTripper.
type TransportFunc func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f TransportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Authenticated reports whether a 401 of Atlas's is about what a good credential may do, not
// about the credential. It looks at X-Error-Code only; see [NameCode].
func Authenticated(response *http.Response) bool {
	switch response.Header.Get("X-Error-Code") {
	case "NOT_IN_GROUP", "USER_UNAUTHORIZED":
		return true
	}
	return false
}

// NameCode puts the errorCode of a 401, which may be within an envelope, into its X-Error-Code
// where Atlas does not, since [Authenticated] may look at the header only. It takes and returns
// what a RoundTripper returns.
func NameCode(response *http.Response, err error) (*http.Response, error) {
	if err != nil || response.StatusCode != http.StatusUnauthorized || response.Header.Get("X-Error-Code") != "" {
		return response, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	if code := Code(body); code != "" && err == nil {
		response.Header.Set("X-Error-Code", code)
	}
	return response, nil
}

// Code returns the errorCode of the content of a response, which may be within an envelope, or "".
func Code(content []byte) string {
	// Under an envelope, Atlas's documents call the second member content or envelope.
	type apiError struct{ ErrorCode string }
	var answer struct {
		apiError
		Content, Envelope apiError
	}
	// A member of another type does not keep the other members from being read. Part of a body is of
	// no use, and nobody relays the body of a 401.
	err := json.Unmarshal(content, &answer)
	if mismatch := new(json.UnmarshalTypeError); err != nil && !errors.As(err, &mismatch) {
		return ""
	}
	return cmp.Or(answer.ErrorCode, answer.Content.ErrorCode, answer.Envelope.ErrorCode)
}

// maxRetryAfter is the longest that a server may ask to wait for.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns how long a Retry-After field asks to wait (RFC 9110, section 10.2.3), a day
// at most. It returns 0 where there is no field, or one that is neither seconds nor a date. A date
// is read against the header's own Date, and only without one against now: the clocks of two
// machines differ.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	// Of a number that is out of range, ParseInt returns the nearest in range.
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	until, err := parseDate(value)
	if err != nil {
		return 0
	}
	if sent, err := parseDate(strings.TrimSpace(header.Get("Date"))); err == nil {
		now = sent
	}
	return min(max(until.Sub(now), 0), maxRetryAfter)
}

// parseDate reads a date of HTTP (RFC 9110, section 5.6.7). Atlas writes days with one digit.
func parseDate(value string) (time.Time, error) {
	date, err := http.ParseTime(value)
	if err != nil {
		date, err = time.Parse("Mon, 2 Jan 2006 15:04:05 GMT", value)
	}
	return date, err
}
