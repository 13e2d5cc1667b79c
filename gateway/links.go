package gateway

import (
	"bytes"
	"net"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// rewriteLinks replaces the origin from by the origin to in the href of links: at the top, in
// results, and inside an envelope. It replaces it nowhere else, since customData and names may
// hold any text. Every other byte stays. It returns the parts that make up the new body. It reads
// the old body only up to the last place where from occurs: to search a long list costs far less
// than to read all its tokens.
func rewriteLinks(body []byte, from, to string) net.Buffers {
	l := &links{body: body, from: from, to: to, next: occurrence(body, from)}
	if to == "" || l.next < 0 {
		return net.Buffers{body}
	}
	l.decoder = linkDecoders.Get().(*jsontext.Decoder)
	l.decoder.Reset(bytes.NewBuffer(body), asTheyCome)
	l.object(l.top)
	l.decoder.Reset(nothing, asTheyCome) // so that the pool does not keep the body
	linkDecoders.Put(l.decoder)
	return append(l.parts, body[l.copied:])
}

// asTheyCome stops a decoder from looking for repeated members. A response that passed check has
// none.
var asTheyCome = jsontext.AllowDuplicateNames(true)

// nothing is what a decoder reads that is not used.
var nothing = strings.NewReader("")

// linkDecoders are kept, since a Decoder keeps its stacks from one text to the next.
var linkDecoders = sync.Pool{New: func() any { return jsontext.NewDecoder(bytes.NewBuffer(nil), asTheyCome) }}

// links walks a body, which is valid JSON, along the places that links have, and skips the
// rest without looking.
type links struct {
	decoder  *jsontext.Decoder
	body     []byte
	from, to string
	next     int         // offset of the next occurrence of from, or of the last one that was found
	parts    net.Buffers // of the new body
	copied   int         // how many bytes of body are in parts
}

// A member reads the value of an object's member, or reports that it does not know the name.
type member func(name string) (known bool)

func (l *links) top(name string) bool {
	if name == "content" || name == "envelope" { // see contract.Version.CheckResponse
		l.object(l.list)
		return true
	}
	return l.list(name)
}

func (l *links) list(name string) bool {
	if name == "results" {
		l.each('[', func() { l.object(l.result) })
		return true
	}
	return l.result(name)
}

func (l *links) result(name string) bool {
	if name == "links" {
		l.each('[', func() { l.object(l.link) })
		return true
	}
	return false
}

func (l *links) link(name string) bool {
	if name == "href" {
		l.href()
		return true
	}
	return false
}

// object visits the members of an object. It skips a value of another kind.
func (l *links) object(visit member) {
	l.each('{', func() {
		if name, err := l.decoder.ReadToken(); err == nil && !visit(name.String()) {
			l.decoder.SkipValue()
		}
	})
}

// each calls f for every element of an array, or member of an object, as long as there is
// something to rewrite. kind is '[' or '{'. It skips a value of another kind.
func (l *links) each(kind jsontext.Kind, f func()) {
	if l.decoder.PeekKind() != kind {
		l.decoder.SkipValue()
		return
	}
	l.decoder.ReadToken()
	for l.more() {
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

// more reports whether the origin occurs in what was not read yet.
func (l *links) more() bool {
	read := int(l.decoder.InputOffset())
	if l.next >= read {
		return true
	}
	ahead := occurrence(l.body[read:], l.from)
	l.next = read + ahead
	return ahead >= 0
}

// occurrence returns where an origin first occurs in a text, or -1. It looks for the first dot of
// the origin: Atlas's lists have few dots, and so many of the letter that an origin begins with
// that bytes.Index takes three times as long. In a text with many other dots it leaves the search
// to bytes.Index.
func occurrence(text []byte, origin string) int {
	dot, begin := strings.IndexByte(origin, '.'), 0
	for range 32 {
		if dot < 0 || begin+dot >= len(text) {
			break
		}
		next := bytes.IndexByte(text[begin+dot:], '.')
		if next < 0 {
			return -1
		}
		if begin += next; bytes.HasPrefix(text[begin:], []byte(origin)) {
			return begin
		}
		begin++
	}
	if next := bytes.Index(text[begin:], []byte(origin)); next >= 0 {
		return begin + next
	}
	return -1
}

// href rewrites a URL that begins with the origin, and ends there or goes on with a path or query.
// The origin and the character behind it must be written without JSON's escapes, as Atlas writes
// them: what is written otherwise stays, whatever else the body holds.
func (l *links) href() {
	quoted, err := l.decoder.ReadValue()
	if err != nil {
		return
	}
	rest, ok := bytes.CutPrefix(quoted, []byte(`"`+l.from))
	if !ok || rest[0] != '"' && rest[0] != '/' && rest[0] != '?' {
		return
	}
	end := int(l.decoder.InputOffset()) - len(rest)
	to, _ := jsontext.AppendQuote(nil, l.to)
	l.parts = append(l.parts, l.body[l.copied:end-len(l.from)], to[1:len(to)-1])
	l.copied = end
}
