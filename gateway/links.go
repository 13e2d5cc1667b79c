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
	l := &links{decoder: jsontext.NewDecoder(bytes.NewBuffer(body)), body: body, from: from, to: to}
	link := members{"href": l.href}
	list := func() { l.each('[', func() { l.object(link) }) }
	result := members{"links": list}
	results := func() { l.each('[', func() { l.object(result) }) }
	content := members{"links": list, "results": results}
	l.object(members{"links": list, "results": results, "content": func() { l.object(content) }})
	if l.copied == 0 {
		return body
	}
	return append(l.out, body[l.copied:]...)
}

// links walks a body, which is valid JSON, along the places that links have, and skips the
// rest without looking.
type links struct {
	decoder  *jsontext.Decoder
	body     []byte
	from, to string
	next     int    // where the origin occurs next, or did last
	out      []byte // what is rewritten
	copied   int    // how much of the body is in it
}

// members says what to do with the values of an object's members, by their names.
type members map[string]func()

// object visits the named members of an object, and skips another value.
func (l *links) object(visit members) {
	l.each('{', func() {
		name, err := l.decoder.ReadToken()
		if err != nil {
			return
		}
		if member := visit[name.String()]; member != nil {
			member()
		} else {
			l.decoder.SkipValue()
		}
	})
}

// each calls f for every element, or member, of a value of a kind, and skips another value.
func (l *links) each(kind jsontext.Kind, f func()) {
	if l.decoder.PeekKind() != kind {
		l.decoder.SkipValue()
		return
	}
	l.decoder.ReadToken()
	for l.goOn() {
		switch l.decoder.PeekKind() {
		case '}', ']':
			l.decoder.ReadToken()
			return
		case jsontext.KindInvalid: // the end
			return
		}
		f()
	}
}

// goOn reports whether the origin occurs in what was not read yet.
func (l *links) goOn() bool {
	read := int(l.decoder.InputOffset())
	if l.next >= read {
		return true
	}
	ahead := bytes.Index(l.body[read:], []byte(l.from))
	l.next = read + ahead
	return ahead >= 0
}

// href rewrites a URL that begins with the origin, and ends there or goes on with a path or
// query.
func (l *links) href() {
	quoted, err := l.decoder.ReadValue()
	if err != nil {
		return
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return // no string
	}
	rest, ok := strings.CutPrefix(string(text), l.from)
	if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' {
		return
	}
	start := int(l.decoder.InputOffset()) - len(quoted)
	l.out = append(l.out, l.body[l.copied:start]...)
	l.out, _ = jsontext.AppendQuote(l.out, l.to+rest) // valid UTF-8, as it was unquoted from JSON
	l.copied = start + len(quoted)
}
