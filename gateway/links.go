package gateway

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

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
		if decoder.PeekKind() != '"' {
			if _, err := decoder.ReadToken(); err != nil {
				break // the end; the body is valid
			}
			continue
		}
		quoted, err := decoder.ReadValue()
		if err != nil {
			break
		}
		if !bytes.Contains(quoted, []byte(from)) || !isLink(string(decoder.StackPointer())) {
			continue
		}
		text, err := jsontext.AppendUnquote(nil, quoted)
		if err != nil {
			continue
		}
		rest, ok := strings.CutPrefix(string(text), from)
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' {
			continue
		}
		start := int(decoder.InputOffset()) - len(quoted)
		out = append(out, body[copied:start]...)
		if out, err = jsontext.AppendQuote(out, to+rest); err != nil {
			return body // the URL is valid UTF-8: it was unquoted from JSON
		}
		copied = start + len(quoted)
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
