package gateway

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// relayed lists the fields of Atlas's header that callers get besides Content-Type, as net/http
// spells them, with the forms that their values may have. A value in another form is dropped: an
// upstream that repeats what it was sent must not show a credential to a caller.
var relayed = []struct {
	name string
	form form
}{
	{"Deprecation", anyOf(dateForm, `@[0-9]{1,12}`, `true`)},
	{"Ratelimit-Limit", number},
	{"Ratelimit-Remaining", number},
	{"Ratelimit-Reset", number},
	{"Ratelimit-Policy", anyOf(numberForm + `(;[a-z]{1,8}=` + numberForm + `){0,4}`)},
	{"Retry-After", retryAfter},
	{"Sunset", anyOf(dateForm)},
	{"X-Error-Code", anyOf(`[A-Z][A-Z0-9_]{0,99}`)},
	{"X-Mongodb-Service-Version", cached(anyOf(versionForm + `(; ` + versionForm + `){0,4}`))},
}

// A form reports whether a value has it.
type form func(value string) bool

const (
	numberForm  = `[0-9]{1,12}`
	dateForm    = `[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT` // Atlas writes days with one digit
	versionForm = `[A-Za-z]{1,32}=[A-Za-z0-9.-]{1,64}`
)

var retryAfter = anyOf(numberForm, dateForm)

func anyOf(patterns ...string) form {
	return regexp.MustCompile(`^(` + strings.Join(patterns, "|") + `)$`).MatchString
}

// number is numberForm, for fields that every response has.
func number(value string) bool {
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return 1 <= len(value) && len(value) <= 12
}

// cached is a form for values that seldom change from one response to the next: it remembers the
// last value that had the form, and does not look at the same value again.
func cached(is form) form {
	var last atomic.Pointer[string]
	return func(value string) bool {
		if known := last.Load(); known != nil && *known == value {
			return true
		}
		ok := is(value)
		if ok {
			last.Store(&value)
		}
		return ok
	}
}

// relay sends Atlas's response to the caller.
func (g *Gateway) relay(x *exchange) error {
	// The answer to a request that changed something is sent in any case.
	if len(x.response.Body) > shortContent && x.in.Method == http.MethodGet {
		if err := x.ticket.buffer(); err != nil {
			return err
		}
	}
	content := rewriteLinks(x.response.Body, x.settings.origin, x.settings.public)
	header := x.out.Header()
	for _, field := range relayed {
		// The first value of a repeated field counts, as in check.
		if values := x.response.Header[field.name]; len(values) > 0 && field.form(values[0]) {
			header[field.name] = values[:1:1]
		}
	}
	if x.age != "" {
		header["Age"] = []string{x.age}
	}
	x.status = x.response.Status
	length := 0
	for _, part := range content {
		length += len(part)
	}
	if x.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.Itoa(length)}
		header["Content-Type"] = []string{x.contentType}
	}
	x.tellOutcome()
	g.askToClose(x)
	x.out.WriteHeader(x.status)
	if x.in.Method != http.MethodHead && length > 0 {
		content.WriteTo(x.out) // an error means that the caller is gone
	}
	return nil
}
