package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// check decides whether Atlas's response may be relayed: it must be whole, JSON, and of
// the contract as far as responses.check asks.
func (g *Gateway) check(x *exchange) error {
	r := &x.response
	unknown := x.outcome()
	switch {
	case r.status < 200 || r.status > 599:
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas answered with a status that HTTP does not have.%s", unknown)
	case r.status >= 300 && r.status < 400:
		return refuse(kindResponse, fmt.Errorf("status %d", r.status), "Atlas redirected the request; redirects are not followed.%s", unknown)
	case r.status == http.StatusNoContent && len(r.body) == 0:
		return nil
	case r.header.Get("Content-Encoding") != "":
		return refuse(kindResponse, fmt.Errorf("Content-Encoding %.40q", r.header.Get("Content-Encoding")), "Atlas answered in an encoding that it was not asked for.%s", unknown)
	case !isJSON(r.header.Get("Content-Type")):
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
	g.metrics.responseViolations.WithLabelValues(x.match.Operation.ID).Inc()
	if mode == "enforce" {
		return refuse(kindResponse, err, "Atlas's response breaks the contract.%s", unknown)
	}
	g.log.LogAttrs(x.in.Context(), slog.LevelWarn, "response breaks the contract",
		slog.String("id", x.id), slog.String("operation", x.match.Operation.ID), slog.Int("status", r.status), slog.Any("violations", err))
	return nil
}

// isJSON reports whether a media type is one that official clients take for JSON.
func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	return mediaType == "application/json" || strings.HasPrefix(mediaType, "application/vnd.") && strings.HasSuffix(mediaType, "+json")
}

// asksFor reports whether a query sets a boolean parameter.
func asksFor(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == name+"=true" {
			return true
		}
	}
	return false
}

// relayed lists the fields of Atlas's header that callers get, as net/http spells them.
var relayed = []string{
	"Content-Type", "Deprecation", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Ratelimit-Policy",
	"Retry-After", "Sunset", "X-Error-Code", "X-Mongodb-Service-Version",
}

// relay sends Atlas's response to the caller.
func (g *Gateway) relay(x *exchange) error {
	content := rewriteLinks(x.response.body, x.base.String(), x.publicURL)
	header := x.out.Header()
	for _, name := range relayed {
		if values := x.response.header[name]; len(values) > 0 {
			header[name] = values[:1] // the one that was checked
		}
	}
	x.status = x.response.status
	length := 0
	for _, part := range content {
		length += len(part)
	}
	if x.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.Itoa(length)}
	}
	x.out.WriteHeader(x.status)
	if x.in.Method != http.MethodHead && length > 0 {
		content.WriteTo(x.out) // an error means that the caller is gone
	}
	return nil
}
