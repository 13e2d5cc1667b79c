package gateway_test

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A replay is a client at work.
type replay struct {
	*testing.T
	library
	form, algorithm string // form is digest, basic, token or account
	caller          *gatewaytest.Caller
	secret          string // the private key, or a wrong one
	gateway         *gatewaytest.Gateway
	values          map[string]string // by the name in {name}
	challenge       map[string]string // parameters of the challenge to answer
	signed          int               // how many credentials it has made
	conns           []*connection
	turn            int // how many requests it has sent, which decides on the connection
}

// connection is a connection of the client.
type connection struct {
	net.Conn
	in *bufio.Reader
}

// reading is an answer as it was read.
type reading struct {
	*http.Response
	body      string
	continued bool
}

// received is a call that Atlas received.
type received struct {
	Call, Content string
	Status        int
}

// start starts a gateway, which knows nothing of what the one before has learnt.
func (r *replay) start(atlas *sim.Server) {
	r.hangUp()
	r.gateway = gatewaytest.StartFor(r.T, atlas.URL(), eachSent, r.caller)
	r.values["host"] = r.gateway.Address
}

func (r *replay) hangUp() {
	for i, c := range r.conns {
		if c != nil {
			c.Close()
			r.conns[i] = nil
		}
	}
}

var (
	authorizationField = regexp.MustCompile(`\r\n[^\r]*{authorization}`)
	contentLength      = regexp.MustCompile(`(?i)(\r\nContent-Length): (\d+)`)
)

// call makes a call, which may take the client several requests.
func (r *replay) call(c call) reading {
	method, rest, _ := strings.Cut(r.fill(c.head), " ")
	uri, _, _ := strings.Cut(rest, " ")
	bare := authorizationField.ReplaceAllString(c.head, "")
	signed := func() reading {
		return r.send(strings.Replace(c.head, "{authorization}", r.credentials(method, uri), 1), c.content)
	}
	switch {
	case bare == c.head:
		a := r.send(bare, c.content)
		if a.StatusCode == 401 && r.form == "digest" {
			r.challenge = r.read(a)
		}
		return a
	case r.form != "digest":
		return signed()
	}
	old := r.challenge != nil
	if !old {
		content := c.content
		if r.empty {
			bare, content = contentLength.ReplaceAllString(bare, "$1: 0"), ""
		}
		r.challenge = r.read(r.send(bare, content))
	}
	a := signed()
	if a.StatusCode == 401 && old && r.reuses {
		if !c.restart {
			r.Errorf("%s: the nonce at hand was refused, count %d", c.upstream, r.signed)
		}
		r.challenge = r.read(a)
		a = signed()
	}
	if a.StatusCode == 401 || !r.reuses {
		r.challenge = nil
	}
	return a
}

// send sends a request on the next connection, and reads the answer.
func (r *replay) send(head, content string) reading {
	head, content = r.fill(head), r.fill(content)
	head = strings.Replace(head, "{length}", strconv.Itoa(len(content)), 1)
	waits := strings.Contains(head, "\r\nExpect: 100-continue\r\n") && !strings.Contains(head, "\r\nContent-Length: 0\r\n")
	if length := contentLength.FindStringSubmatch(head); length != nil && length[2] != strconv.Itoa(len(content)) && content != "" {
		r.Fatalf("the content has %d bytes, which this header does not say:\n%s", len(content), head)
	}
	at := r.turn % len(r.conns)
	r.turn++
	c := r.conns[at]
	if c == nil {
		conn, err := net.Dial("tcp", r.gateway.Address)
		if err != nil {
			r.Fatal(err)
		}
		c = &connection{conn, bufio.NewReader(conn)}
		r.conns[at] = c
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	write := func(text string) {
		if _, err := io.WriteString(c, text); err != nil {
			r.Fatal(err)
		}
	}
	method, _, _ := strings.Cut(head, " ")
	receive := func() *http.Response {
		response, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			r.Fatalf("%v\n%s", err, head)
		}
		return response
	}
	var a reading
	if waits {
		write(head)
		if a.Response = receive(); a.StatusCode == 100 {
			a.continued = true
			write(content)
			a.Response = receive()
		}
	} else {
		write(head + content)
		a.Response = receive()
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		r.Fatal(err)
	}
	a.body = string(body)
	r.check(a, c.in.Buffered())
	// A connection goes on, except if servers may disagree about where a request ends, or if the
	// end did not come.
	if closes := strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n") || waits && !a.continued; a.Close != closes {
		r.Errorf("closes is %t, want %t\n%s", a.Close, closes, head)
	}
	if a.Close {
		c.Close()
		r.conns[at] = nil
	}
	return a
}

// read reads the challenge of a 401 as the client does.
func (r *replay) read(a reading) map[string]string {
	field := a.Header.Get("WWW-Authenticate") // the first
	if a.StatusCode != 401 {
		r.Fatalf("%s %s, want a challenge", a.Status, a.body)
	}
	parameters := map[string]string{}
	separator := ","
	if r.strict {
		separator = ", "
	}
	rest, ok := strings.CutPrefix(field, "Digest ")
	for part := range strings.SplitSeq(rest, separator) {
		name, value, _ := strings.Cut(part, "=")
		if r.strict && !slices.Contains([]string{"realm", "domain", "nonce", "opaque", "stale", "algorithm", "qop"}, name) {
			ok = false
		}
		parameters[strings.TrimSpace(name)] = strings.Trim(value, `"`)
	}
	if !ok || parameters["nonce"] == "" || parameters["realm"] == "" || parameters["qop"] != "auth" {
		r.Fatalf("no challenge that the client can answer: %s", field)
	}
	return parameters
}

// credentials returns what the client writes into Authorization.
func (r *replay) credentials(method, uri string) string {
	switch r.form {
	case "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(r.caller.Pair.ID+":"+r.secret))
	case "token", "account":
		return "Bearer {token}"
	}
	r.signed++
	nc := "00000001"
	if r.counts {
		nc = fmt.Sprintf("%08d", r.signed)
	}
	hash := func(parts ...string) string {
		text := []byte(strings.Join(parts, ":"))
		if r.algorithm == "SHA-256" {
			sum := sha256.Sum256(text)
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum(text)
		return hex.EncodeToString(sum[:])
	}
	realm, nonce := r.challenge["realm"], r.challenge["nonce"]
	_, cnonce, _ := strings.Cut(r.credential, `cnonce="`)
	cnonce, _, _ = strings.Cut(cnonce, `"`)
	response := hash(hash(r.caller.Pair.ID, realm, r.secret), nonce, nc, cnonce, "auth", hash(method, uri))
	return strings.NewReplacer("{username}", r.caller.Pair.ID, "{realm}", realm, "{nonce}", nonce, "{uri}", uri,
		"{algorithm}", r.algorithm, "{nc}", nc, "{response}", response).Replace(r.credential)
}

var placeholders = regexp.MustCompile(`\{(\w+)\}`)

// fill replaces each {name} whose value is known.
func (r *replay) fill(text string) string {
	return placeholders.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := r.values[name[1:len(name)-1]]; ok {
			return value
		}
		return name
	})
}

// match compares a text with a pattern, and learns the value of each {name}.
func (r *replay) match(pattern, text string) bool {
	quoted := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllStringFunc(regexp.QuoteMeta(pattern), func(quoted string) string {
		name := quoted[2 : len(quoted)-2]
		if value, ok := r.values[name]; ok {
			return regexp.QuoteMeta(value)
		}
		return `(?P<` + name + `>[\w.-]+)`
	})
	expression := regexp.MustCompile(`^` + quoted + `$`)
	found := expression.FindStringSubmatch(text)
	for i, name := range expression.SubexpNames() {
		if found != nil && name != "" {
			r.values[name] = found[i]
		}
	}
	return found != nil
}
