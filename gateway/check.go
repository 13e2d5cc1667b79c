package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
)

// check decides whether Atlas's response may be relayed: it must be whole, it must be JSON, and it
// must match the contract where responses.check asks for that. The response to a change that was
// carried out need not match: whoever reads of a failure repeats the change.
func (g *Gateway) check(x *exchange) error {
	if err := g.checkResponse(x); err != nil {
		x.outcome = atlas.Unknown // Atlas answered, and the caller does not learn what
		return err
	}
	return nil
}

// responseError is a response of Atlas's that is not relayed.
type responseError struct {
	cause  error  // for the log
	detail string // for the caller
}

func (e *responseError) Error() string { return e.cause.Error() }

func (e *responseError) Unwrap() error { return e.cause }

func refuseResponse(cause error, detail string, args ...any) error {
	return &responseError{cause, fmt.Sprintf(detail, args...)}
}

func (g *Gateway) checkResponse(x *exchange) error {
	r := x.response
	x.contentType = relayedType(x.version, r.Header.Get("Content-Type"))
	if err := relayable(x.version, x.in.Method, r); err != nil {
		return err
	}
	if len(r.Body) == 0 {
		return nil
	}
	mode := x.settings.config.Responses.Check
	if mode == "off" || mode == "report" && g.sampled.Add(1)%uint64(x.settings.config.Responses.Sample) != 0 {
		return nil
	}
	err := x.version.CheckResponse(r.Status, r.Body, setsTrue(x.match.Query, "envelope"))
	if err == nil {
		return nil
	}
	places := brokenPlaces(err)
	for _, place := range places {
		g.metrics.ResponseViolation(x.match.Operation.ID, place)
	}
	g.log.LogAttrs(x.in.Context(), slog.LevelWarn, "response breaks the contract",
		slog.String("id", x.id), slog.String("operation", x.match.Operation.ID), slog.Int("status", r.Status), slog.Any("pointers", places))
	if mode == "enforce" && !(x.change && r.Status < 300) {
		return refuseResponse(err, "Atlas's response breaks the contract.")
	}
	return nil
}

// relayable says why a response to a request with a method is not relayed, whatever the contract
// says of it: it must be whole, and JSON. A response without content is one to a change.
func relayable(version *contract.Version, method string, r *atlas.Response) error {
	contentType := r.Header.Get("Content-Type")
	switch {
	case r.Status < 200 || r.Status > 599:
		return refuseResponse(fmt.Errorf("status %d", r.Status), "Atlas answered with a status that HTTP does not have.")
	case r.Status >= 300 && r.Status < 400:
		return refuseResponse(fmt.Errorf("status %d", r.Status), "Atlas redirected the request; redirects are not followed.")
	case r.Status == http.StatusPartialContent:
		return refuseResponse(fmt.Errorf("status %d", r.Status), "Atlas answered with a part, which nobody asked for.")
	case len(r.Body) == 0 && (r.Status == http.StatusNoContent || r.Status < 300 && method == http.MethodDelete):
		return nil
	case r.Status == http.StatusNotFound && !hasErrorCode(r.Body):
		// Clients of Atlas take each 404 for the news that something was deleted, and Terraform's
		// provider even a text with that number.
		return refuseResponse(fmt.Errorf("status 404 without an errorCode, Content-Type %s", known(contentType, mediaTypes)), "Something other than Atlas answered: it says that there is nothing, without an errorCode.")
	case r.Header.Get("Content-Encoding") != "":
		return refuseResponse(fmt.Errorf("Content-Encoding %s", known(r.Header.Get("Content-Encoding"), encodings)), "Atlas answered in an encoding that it was not asked for.")
	case relayedType(version, contentType) == "":
		return refuseResponse(fmt.Errorf("status %d, Content-Type %s", r.Status, known(contentType, mediaTypes)), "Atlas answered %d without JSON.", r.Status)
	case !jsontext.Value(r.Body).IsValid():
		return refuseResponse(fmt.Errorf("status %d", r.Status), "Atlas answered %d with JSON that is broken.", r.Status)
	}
	return nil
}

// hasErrorCode reports whether an error has the form of Atlas's, maybe in an envelope.
func hasErrorCode(body []byte) bool {
	type inside struct {
		ErrorCode string `json:"errorCode"`
	}
	var e struct {
		ErrorCode string `json:"errorCode"`
		Content   inside `json:"content"`
		Envelope  inside `json:"envelope"` // see contract.Version.CheckResponse
	}
	return json.Unmarshal(body, &e) == nil && e.ErrorCode+e.Content.ErrorCode+e.Envelope.ErrorCode != ""
}

// brokenPlaces returns where a response breaks the contract, as JSON pointers, each once. * stands
// for any index, so that no response makes more pointers than the contract has places.
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

// relayedType returns the form in which a Content-Type that official clients take for JSON is
// relayed, and "" for any other.
func relayedType(version *contract.Version, contentType string) string {
	if rest, ok := strings.CutPrefix(contentType, version.MediaType); ok && (rest == "" || rest == ";charset=utf-8") {
		return contentType // what Atlas sends as a rule
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

// What the log may name of a response that is not relayed. An upstream may repeat in any field
// what it was sent, and a secret may have the form of a media type.
var (
	encodings  = []string{"gzip", "x-gzip", "deflate", "compress", "br", "zstd", "identity"}
	mediaTypes = []string{
		"text/html", "text/plain", "text/xml", "text/csv", "text/json", "text/event-stream",
		"application/xml", "application/xhtml+xml", "application/octet-stream", "application/problem+json",
		"application/gzip", "application/zip", "application/pdf", "application/x-www-form-urlencoded", "multipart/form-data",
	}
)

// known returns the value of a field, without parameters, if it is in the list, and otherwise that
// it is not.
func known(value string, list []string) string {
	name, _, _ := strings.Cut(strings.ToLower(value), ";")
	switch name = strings.TrimSpace(name); {
	case value == "":
		return "missing"
	case slices.Contains(list, name):
		return name
	}
	return "of another kind"
}

// setsTrue reports whether a query sets a boolean parameter.
func setsTrue(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == name+"=true" {
			return true
		}
	}
	return false
}
