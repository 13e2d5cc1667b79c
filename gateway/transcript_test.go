package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A call is a request of a transcript and its answer.
type call struct {
	only      string        // the form of authentication that the call is made with; "" means all
	after     time.Duration // how far Atlas's clock is moved ahead first
	times     int
	restart   bool // the gateway is restarted first
	head      string
	content   string // with its framing
	continued bool   // the content is sent after 100 Continue
	status    int
	mediaType string
	gateway   bool   // the gateway answers itself, and Atlas hears nothing
	upstream  string // the method and target that Atlas receives
	answer    string
}

// readTranscript reads calls in this form:
//
//	=== NAME
//	the request
//	--- STATUS MEDIATYPE
//	the answer's content
//
// The lines of a request end with LF here and with CRLF on the wire, except in content of a known
// length. The line break before "---" is not part of the content.
//
// NAME may follow prefixes, each with ": " behind it: a form of authentication, if the call is
// made with that form only; "after 13m", which moves Atlas's clock ahead; "7 times"; and
// "restart", which restarts the gateway. STATUS follows "100 " if the content waits for 100
// Continue. The media type is followed by "gateway" if Atlas hears nothing of the call, and by
// "as METHOD TARGET" if Atlas receives another target.
//
// {authorization} is the client's credential. A client of Digest that has no challenge to answer
// first sends the request without that field. {host} is the gateway's address, {client} the
// service account as Basic encodes it, and {length} the content's length. Any other {name} stands
// for the text that an answer first had in its place; {{name}} is that text in braces.
func readTranscript(t *testing.T, name string) []call {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "conformance", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	for _, section := range strings.Split(string(text), "\n=== ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		request, answer, _ := strings.Cut(rest, "\n--- ")
		c := call{times: 1}
		prefixes := strings.Split(title, ": ")
		for _, prefix := range prefixes[:len(prefixes)-1] {
			word, after, _ := strings.Cut(prefix, " ")
			switch {
			case after == "times":
				c.times, err = strconv.Atoi(word)
			case word == "after":
				c.after, err = time.ParseDuration(after)
			case prefix == "restart":
				c.restart = true
			case prefix == "digest", prefix == "account":
				c.only = prefix
			default:
				err = fmt.Errorf("%s: unknown prefix %q", name, prefix)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		head, content, _ := strings.Cut(request+"\n", "\n\n")
		c.head, c.content = strings.ReplaceAll(head+"\n\n", "\n", "\r\n"), strings.TrimSuffix(content, "\n")
		if strings.Contains(head, "\nTransfer-Encoding: chunked\n") {
			c.content = strings.ReplaceAll(c.content, "\n", "\r\n")
		}
		expected, body, _ := strings.Cut(answer, "\n")
		fields := strings.Fields(expected)
		if c.continued = fields[0] == "100"; c.continued {
			fields = fields[1:]
		}
		if c.status, err = strconv.Atoi(fields[0]); err != nil {
			t.Fatal(err)
		}
		c.mediaType, c.answer = strings.TrimPrefix(fields[1], "-"), strings.TrimSpace(body)
		c.upstream, _, _ = strings.Cut(head, " HTTP/1.1\n")
		switch fields = fields[2:]; {
		case len(fields) == 1:
			c.gateway = true
		case len(fields) == 3:
			c.upstream = fields[1] + " " + fields[2]
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		t.Fatalf("%s holds no calls", name)
	}
	return calls
}
