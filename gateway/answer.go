package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// check decides whether Atlas's answer may be relayed: it must be whole, JSON, and of the
// contract as far as answers.check asks.
func (g *Gateway) check(x *exchange) error {
	a := &x.answer
	outcome := ""
	if x.in.Method == http.MethodPost && (a.status < 400 || a.status >= 500) {
		outcome = " The request may have been carried out: look before you repeat it."
	}
	switch {
	case a.status >= 300 && a.status < 400:
		return refuse(errAnswer, fmt.Errorf("status %d", a.status), "The upstream redirected the request; redirects are not followed.")
	case a.status == http.StatusNoContent && len(a.body) == 0:
		return nil
	case a.header.Get("Content-Encoding") != "":
		return refuse(errAnswer, fmt.Errorf("Content-Encoding %q", a.header.Get("Content-Encoding")), "The upstream answered in an encoding that it was not asked for.%s", outcome)
	case !isJSON(a.header.Get("Content-Type")):
		return refuse(errAnswer, fmt.Errorf("status %d, Content-Type %q", a.status, a.header.Get("Content-Type")), "The upstream answered %d without JSON.%s", a.status, outcome)
	case !jsontext.Value(a.body).IsValid():
		return refuse(errAnswer, fmt.Errorf("status %d", a.status), "The upstream answered %d with JSON that is broken.%s", a.status, outcome)
	}
	mode := g.config.Answers.Check
	if mode == "off" || mode == "report" && g.sampled.Add(1)%uint64(g.config.Answers.Sample) != 0 {
		return nil
	}
	err := x.version.CheckAnswer(a.status, a.body, asksFor(x.match.Query, "envelope"))
	if err == nil {
		return nil
	}
	g.metrics.answerViolations.WithLabelValues(x.match.Operation.ID).Inc()
	if mode == "enforce" {
		return refuse(errAnswer, err, "The upstream's answer breaks the contract.%s", outcome)
	}
	g.log.LogAttrs(x.in.Context(), slog.LevelWarn, "answer breaks the contract",
		slog.String("id", x.id), slog.String("operation", x.match.Operation.ID), slog.Int("status", a.status), slog.Any("violations", err))
	return nil
}

// isJSON reports whether a media type is one that official clients take for JSON.
func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	return mediaType == "application/json" || strings.HasPrefix(mediaType, "application/vnd.") && strings.HasSuffix(mediaType, "+json")
}

// asksFor reports whether a validated query sets a boolean parameter.
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

// relay sends Atlas's answer to the caller.
func (g *Gateway) relay(x *exchange) error {
	body := rewriteLinks(x.answer.body, g.base.String(), g.publicURL)
	header := x.out.Header()
	for _, name := range relayed {
		if values := x.answer.header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	x.status = x.answer.status
	if x.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.out.WriteHeader(x.status)
	if x.in.Method != http.MethodHead && len(body) > 0 {
		x.out.Write(body) // an error means that the caller is gone
	}
	return nil
}

// rewriteLinks replaces the origin from by to in the href of links: at the top, in
// results, and below an envelope's content; nowhere else, since customData and names may
// hold any text. Every other byte stays. A body without the origin is returned as it is:
// to read all tokens of a long list costs far more than to search it.
func rewriteLinks(body []byte, from, to string) []byte {
	if to == "" || !bytes.Contains(body, []byte(from)) {
		return body
	}
	var out []byte
	copied := 0
	decoder := jsontext.NewDecoder(bytes.NewBuffer(body))
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			break // the end; the body is valid
		}
		if token.Kind() != '"' {
			continue
		}
		rest, ok := strings.CutPrefix(token.String(), from)
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' || !isLink(string(decoder.StackPointer())) {
			continue
		}
		end := int(decoder.InputOffset())
		start := end - quotedLength(body[:end])
		quoted, err := jsontext.AppendQuote(nil, to+rest)
		if err != nil {
			continue
		}
		out = append(append(out, body[copied:start]...), quoted...)
		copied = end
	}
	if copied == 0 {
		return body
	}
	return append(out, body[copied:]...)
}

// isLink reports whether a JSON pointer is that of a link's href. The pointer of a member's
// name ends in that name, so that a name which looks like a URL is no link.
func isLink(pointer string) bool {
	segments := strings.Split(strings.TrimPrefix(pointer, "/content"), "/")
	if len(segments) == 6 && segments[1] == "results" {
		segments = segments[2:]
	}
	return len(segments) == 4 && segments[1] == "links" && segments[3] == "href"
}

// quotedLength returns the length of the JSON string that text ends in.
func quotedLength(text []byte) int {
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] != '"' {
			continue
		}
		escapes := 0
		for escapes < i && text[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return len(text) - i
		}
	}
	return len(text)
}
