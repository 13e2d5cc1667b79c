package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"atlas-export-gateway/contract"

	"github.com/go-json-experiment/json/jsontext"
)

// check decides whether Atlas's response may be relayed: it must be whole, JSON, and of
// the contract as far as responses.check asks.
func (g *Gateway) check(x *exchange) error {
	r := &x.response
	unknown := x.outcome()
	r.contentType = x.jsonType(r.header.Get("Content-Type"))
	switch {
	case r.status < 200 || r.status > 599:
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas answered with a status that HTTP does not have.%s", unknown)
	case r.status >= 300 && r.status < 400:
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas redirected the request; redirects are not followed.%s", unknown)
	case r.status == http.StatusPartialContent:
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas answered with a part, which nobody asked for.%s", unknown)
	case r.status == http.StatusNoContent && len(r.body) == 0:
		return nil
	case r.header.Get("Content-Encoding") != "":
		return refuse(kindResponse, fmt.Errorf("Content-Encoding %.40q", r.header.Get("Content-Encoding")), "Atlas answered in an encoding that it was not asked for.%s", unknown)
	case r.contentType == "":
		return refuse(kindResponse, fmt.Errorf("status %d, Content-Type %.40q", r.status, r.header.Get("Content-Type")), "Atlas answered %d without JSON.%s", r.status, unknown)
	case !jsontext.Value(r.body).IsValid():
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas answered %d with JSON that is broken.%s", r.status, unknown)
	}
	mode := x.config.Responses.Check
	if mode == "off" || mode == "report" && g.sampled.Add(1)%uint64(x.config.Responses.Sample) != 0 {
		return nil
	}
	err := x.version.CheckResponse(r.status, r.body, asksFor(x.match.Query, "envelope"))
	if err == nil {
		return nil
	}
	places := brokenPlaces(err)
	for _, place := range places {
		g.metrics.responseViolations.WithLabelValues(x.match.Operation.ID, place).Inc()
	}
	g.log.LogAttrs(x.in.Context(), slog.LevelWarn, "response breaks the contract",
		slog.String("id", x.id), slog.String("operation", x.match.Operation.ID), slog.Int("status", r.status), slog.Any("pointers", places))
	if mode == "enforce" {
		return refuse(kindResponse, err, "Atlas's response breaks the contract.%s", unknown)
	}
	return nil
}

// brokenPlaces returns where a response breaks the contract: JSON pointers, each once, with
// * for any index, so that there are as many as the contract has places.
func brokenPlaces(err error) (places []string) {
	var broken *contract.ValidationError
	if !errors.As(err, &broken) {
		return nil
	}
	for _, violation := range broken.Violations {
		place := anIndex.ReplaceAllString(violation.Field, "/*")
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

var anIndex = regexp.MustCompile(`/[0-9]+\b`)

// jsonType returns the form in which a Content-Type that official clients take for JSON is
// relayed, and "" for any other.
func (x *exchange) jsonType(contentType string) string {
	if rest, ok := strings.CutPrefix(contentType, x.version.MediaType); ok && (rest == "" || rest == ";charset=utf-8") {
		return contentType // as a rule
	}
	parts := strings.Split(strings.ToLower(contentType), ";")
	mediaType := strings.TrimSpace(parts[0])
	if !jsonTypes.MatchString(mediaType) {
		return ""
	}
	for _, parameter := range parts[1:] {
		if strings.TrimSpace(parameter) == "charset=utf-8" {
			return mediaType + ";charset=utf-8"
		}
	}
	return mediaType
}

var jsonTypes = regexp.MustCompile(`^application/(json|vnd\.[a-z0-9.-]{1,64}\+json)$`)

// asksFor reports whether a query sets a boolean parameter.
func asksFor(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == name+"=true" {
			return true
		}
	}
	return false
}

// relayed lists the fields of Atlas's header that callers get beside Content-Type, as
// net/http spells them, with the forms that their values may have. A value in another form
// is dropped: an upstream that repeats what it was sent must show no caller a credential.
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
	{"X-Mongodb-Service-Version", seldomNew(anyOf(versionForm + `(; ` + versionForm + `){0,4}`))},
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

// seldomNew is a form for values that are the same in response after response: it looks at
// them once.
func seldomNew(is form) form {
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
	// Only of what changed nothing may the answer be withheld.
	if len(x.response.body) > short && x.in.Method == http.MethodGet {
		if err := x.hold(); err != nil {
			return err
		}
	}
	content := rewriteLinks(x.response.body, x.base.String(), x.publicURL)
	header := x.out.Header()
	for _, field := range relayed {
		// Of a repeated field the first, as in check.
		if values := x.response.header[field.name]; len(values) > 0 && field.form(values[0]) {
			header[field.name] = values[:1]
		}
	}
	x.status = x.response.status
	length := 0
	for _, part := range content {
		length += len(part)
	}
	if x.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.Itoa(length)}
		header["Content-Type"] = []string{x.response.contentType}
	}
	x.out.WriteHeader(x.status)
	if x.in.Method != http.MethodHead && length > 0 {
		content.WriteTo(x.out) // an error means that the caller is gone
	}
	return nil
}
