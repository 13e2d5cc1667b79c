package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// A library is how a client authenticates by Digest.
type library struct {
	name        string
	credential  string // that it writes, with a cnonce that it once made up
	strict      bool   // reads a challenge in the form of Atlas's and in no other
	empty       bool   // sends no content before it was challenged
	reuses      bool   // goes on using a nonce
	counts      bool   // nc counts all of its credentials, in decimal digits, whatever the nonce
	connections int    // that it takes turns with; 0 is 1
}

var (
	forks = library{
		name:       "mongodb-forks/digest v1.1.0",
		credential: `Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", algorithm="{algorithm}", qop=auth, nc={nc}, cnonce="a7a5b755da8165b2"`,
		strict:     true,
	}
	curl = library{
		name:       "curl 7.88.1",
		credential: `Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", cnonce="YjlmMDM4ODlkMTU2NzI0NTI0OGIwNGUzNmVmYjBkNWE=", nc={nc}, qop=auth, response="{response}", algorithm={algorithm}`,
		empty:      true,
	}
	fetch3 = library{
		name:       "digest-fetch 3.1.1",
		credential: `Digest username="{username}",realm="{realm}",nonce="{nonce}",uri="{uri}",qop=auth,algorithm={algorithm},response="{response}",nc={nc},cnonce="389e896f162a6efb949b4df8b2019ee9"`,
		reuses:     true, counts: true, connections: 2,
	}
	fetch1 = library{
		name:       "digest-fetch 1.3.0",
		credential: `Digest username="{username}",realm="{realm}",nonce="{nonce}",uri="{uri}",qop="auth",algorithm="{algorithm}",response="{response}",nc={nc},cnonce="a78cce232aa55c26c948efe58d152414"`,
		reuses:     true, counts: true, connections: 2,
	}
	urllib = library{ // knows MD5 alone
		name:       "urllib 4.9.1",
		credential: `Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", qop=auth, nc={nc}, cnonce="6c898d1a5770be55"`,
		counts:     true, connections: 2,
	}
)

// Each client of Atlas sends what it sends to Atlas, byte for byte but for the base URL and
// the key, and reads what it would read there. With a wrong key it reads a refusal every
// time. Atlas receives those calls alone, by the gateway's own credential.
func TestConformance(t *testing.T) {
	for _, client := range []struct {
		transcript string
		library    library
		forms      []string // of authentication, and the listener's digest_algorithm
	}{
		{"atlas-sdk", forks, []string{"digest MD5", "digest SHA-256", "account MD5"}},
		{"atlas-cli", forks, []string{"digest MD5", "digest SHA-256"}},
		{"atlas-cli-account", library{}, []string{"account MD5"}},
		{"atlas-api", forks, []string{"digest MD5", "digest SHA-256"}},
		{"atlas-api-account", library{}, []string{"account MD5"}},
		{"terraform", forks, []string{"digest MD5", "digest SHA-256", "account MD5"}},
		{"atlas-v1", forks, []string{"digest MD5", "digest SHA-256"}},
		{"curl", curl, []string{"digest MD5", "digest SHA-256", "basic MD5", "basic SHA-256"}},
		{"curl-bearer", library{}, []string{"token MD5", "account MD5"}},
		{"digest-fetch", fetch3, []string{"digest MD5", "digest SHA-256", "basic MD5"}},
		{"digest-fetch", fetch1, []string{"digest MD5", "digest SHA-256"}},
		{"urllib", urllib, []string{"digest MD5", "basic MD5"}},
	} {
		calls := readTranscript(t, client.transcript)
		for _, form := range client.forms {
			name := client.transcript + " " + form
			if strings.HasPrefix(form, "digest ") {
				name += " by " + client.library.name
			}
			t.Run(name, func(t *testing.T) { replayCalls(t, client.library, form, calls, false) })
			t.Run(name+" with a wrong key", func(t *testing.T) { replayCalls(t, client.library, form, calls, true) })
		}
	}
}

// A call is a request of a transcript and its answer.
type call struct {
	only      string        // the form of authentication that makes it; "" for all
	after     time.Duration // by which Atlas's clock goes ahead first
	times     int
	restart   bool // of the gateway, first
	head      string
	content   string // with its framing
	continued bool   // content is sent after 100 Continue
	status    int
	mediaType string
	gateway   bool   // Atlas hears nothing of it
	upstream  string // method and target that Atlas receives
	answer    string
}

// readTranscript reads calls in this form:
//
//	=== NAME
//	the request
//	--- STATUS MEDIATYPE
//	the answer's content
//
// A request's lines end in LF here and in CRLF on the wire, but for content of a known
// length; the line break before "---" is none of it. Before NAME may stand, each with ": ",
// a form of authentication, without which the call is not made; "after 13m", by which
// Atlas's clock goes ahead; "7 times"; and "restart", of the gateway. Before STATUS 100
// stands where content waits for it; behind the media type, "gateway" where Atlas hears
// nothing of the call, and "as METHOD TARGET" where it receives something else.
//
// {authorization} is the client's credential. Without a challenge to answer, a client of
// Digest sends the request without that field first. {host}, {client} and {length} are the
// gateway's address, the service account as in Basic, and the content's length. Any other
// {name} is what first stood there in an answer.
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

// A replay is a client at work.
type replay struct {
	*testing.T
	library
	form, algorithm string // form is digest, basic, token or account
	caller          issued
	secret          string // of the key pair, or a wrong one
	gateway         *running
	values          map[string]string // of {name}
	challenge       map[string]string // to answer
	signed          int               // credentials so far
	conns           []*wire
	turn            int // of the connections
}

// wire is a connection of the client.
type wire struct {
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

// replayCalls makes the calls of a transcript through a gateway of their own, with the key or
// with a wrong one.
func replayCalls(t *testing.T, library library, form string, calls []call, wrong bool) {
	now := time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)
	atlas := sim.Start(t, sim.Config{Now: func() time.Time { return now }})
	r := &replay{T: t, library: library, caller: issue(t, "nightly", everything)}
	r.form, r.algorithm, _ = strings.Cut(form, " ")
	r.caller.yaml += "  digest_algorithm: " + r.algorithm + "\n" // beside the list
	r.conns = make([]*wire, max(1, library.connections))
	defer r.hangUp()
	account := r.caller.account.Secret.Reveal()
	r.secret, r.values = r.caller.pair.Secret.Reveal(), map[string]string{"token": r.caller.token.Secret.Reveal()}
	if wrong {
		r.secret, account = "wrong", "wrong"
		r.values = map[string]string{"token": "wrong", "bucket": bucketID, "job": jobID, "job2": jobID}
	}
	if r.form == "account" {
		delete(r.values, "token") // it is given one
	}
	r.values["client"] = base64.StdEncoding.EncodeToString([]byte(r.caller.account.ID + ":" + account))
	r.start(atlas)
	var want []received
	for _, c := range calls {
		if c.only != "" && c.only != r.form || wrong && c.only != "account" && r.form == "account" {
			continue // without a token, no more calls
		}
		if c.restart {
			r.start(atlas)
		}
		atlas.Advance(c.after)
		for range c.times {
			a := r.call(c)
			if wrong {
				if a.StatusCode != 401 || a.continued || r.form == "account" && a.body != `{"error":"invalid_client","error_description":"Invalid credentials provided."}` {
					t.Fatalf("%s with a wrong key: %s %s", c.upstream, a.Status, a.body)
				}
				continue
			}
			if a.StatusCode != c.status || a.Header.Get("Content-Type") != c.mediaType || a.continued != c.continued || !r.match(c.answer, strings.TrimSpace(a.body)) {
				t.Fatalf("%s:\n got %s %v, continued %t\n%s\nwant %d %s, continued %t\n%s", c.upstream, a.Status, a.Header, a.continued, a.body, c.status, c.mediaType, c.continued, r.fill(c.answer))
			}
			if !c.gateway {
				content := r.fill(c.content)
				if lines := strings.Split(content, "\r\n"); len(lines) > 1 {
					content = lines[1] // of the one chunk
				}
				want = append(want, received{r.fill(c.upstream), content, c.status})
			}
		}
	}
	if n := atlas.Counts().Requests; wrong && n > 0 {
		t.Errorf("with a wrong key, Atlas received %d requests", n)
	}
	r.checkAtlas(atlas, want)
}

// start starts the gateway, anew with nothing that the last one knew.
func (r *replay) start(atlas *sim.Server) {
	r.hangUp()
	r.gateway = startFor(r.T, atlas, "", r.caller)
	r.values["host"] = r.gateway.address
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

// call makes a call, with as many requests as it takes the client.
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

// send sends a request on the connection whose turn it is, and reads the answer.
func (r *replay) send(head, content string) reading {
	head, content = r.fill(head), r.fill(content)
	head = strings.Replace(head, "{length}", strconv.Itoa(len(content)), 1)
	waits := strings.Contains(head, "\r\nExpect: 100-continue\r\n") && !strings.Contains(head, "\r\nContent-Length: 0\r\n")
	if length := contentLength.FindStringSubmatch(head); length != nil && length[2] != strconv.Itoa(len(content)) && content != "" {
		r.Fatalf("the transcript has content of %d bytes behind\n%s", len(content), head)
	}
	at := r.turn % len(r.conns)
	r.turn++
	c := r.conns[at]
	if c == nil {
		conn, err := net.Dial("tcp", r.gateway.address)
		if err != nil {
			r.Fatal(err)
		}
		c = &wire{conn, bufio.NewReader(conn)}
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
	// A connection goes on, but where a request's end is a matter of opinion or did not come.
	if closes := strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n") || waits && !a.continued; a.Close != closes {
		r.Errorf("closes is %t, want %t\n%s", a.Close, closes, head)
	}
	if a.Close {
		c.Close()
		r.conns[at] = nil
	}
	return a
}

// What Atlas's clients take for JSON.
var jsonType = regexp.MustCompile(`(?i)^application/(vnd\.[^;]+\+)?json(;|$)`)

// check checks what holds for every answer; left is how many bytes stand behind it.
func (r *replay) check(a reading, left int) {
	if left > 0 || a.ContentLength < 0 || a.Header.Get("Content-Encoding") != "" || a.Header.Get("Location") != "" || a.StatusCode/100 == 3 {
		r.Errorf("a redirect, an encoding or an end that is not clear: %s %v, %d bytes behind it", a.Status, a.Header, left)
	}
	if a.body != "" && (!jsonType.MatchString(a.Header.Get("Content-Type")) || !json.Valid([]byte(a.body))) {
		r.Errorf("not JSON: %v %s", a.Header, a.body)
	}
	challenges := a.Header["Www-Authenticate"]
	if a.StatusCode != 401 {
		if challenges != nil {
			r.Errorf("a challenge with %s: %q", a.Status, challenges)
		}
	} else if len(challenges) != 1 || !regexp.MustCompile(r.expectedChallenge()).MatchString(challenges[0]) {
		r.Fatalf("challenges: %q", challenges)
	}
	if a.StatusCode < 400 || a.body == "" || r.form == "account" && a.StatusCode == 401 {
		return // the token endpoint's errors are OAuth's
	}
	var e struct {
		Error   json.RawMessage
		Content struct{ Error json.RawMessage } // in an envelope
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || !bytes.Equal(append(e.Error, e.Content.Error...), []byte(strconv.Itoa(a.StatusCode))) {
		r.Errorf("not Atlas's error %d: %s", a.StatusCode, a.body)
	}
}

// expectedChallenge is the one challenge of a 401, for Digest as it was recorded at Atlas.
func (r *replay) expectedChallenge() string {
	switch r.form {
	case "token":
		return `^Bearer error="invalid_token"$`
	case "account":
		return `^Basic realm="MMS Public API"$`
	}
	return `^Digest realm="MMS Public API", domain="", nonce="[\w-]{32}", algorithm=` + r.algorithm + `, qop="auth", stale=false$`
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

// credentials is what the client writes into Authorization.
func (r *replay) credentials(method, uri string) string {
	switch r.form {
	case "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(r.caller.pair.ID+":"+r.secret))
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
	response := hash(hash(r.caller.pair.ID, realm, r.secret), nonce, nc, cnonce, "auth", hash(method, uri))
	return strings.NewReplacer("{username}", r.caller.pair.ID, "{realm}", realm, "{nonce}", nonce, "{uri}", uri,
		"{algorithm}", r.algorithm, "{nc}", nc, "{response}", response).Replace(r.credential)
}

var placeholders = regexp.MustCompile(`\{(\w+)\}`)

// fill puts in what {name} stands for, where that is known.
func (r *replay) fill(text string) string {
	return placeholders.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := r.values[name[1:len(name)-1]]; ok {
			return value
		}
		return name
	})
}

// match compares a text with a pattern, and learns what {name} stands for.
func (r *replay) match(pattern, text string) bool {
	quoted := regexp.QuoteMeta(r.fill(pattern))
	expression := regexp.MustCompile(`^` + regexp.MustCompile(`\\\{(\w+)\\\}`).ReplaceAllString(quoted, `(?P<$1>[\w.-]+)`) + `$`)
	found := expression.FindStringSubmatch(text)
	for i, name := range expression.SubexpNames() {
		if found != nil && name != "" {
			r.values[name] = found[i]
		}
	}
	return found != nil
}

// checkAtlas checks what Atlas received: these calls, signed by the gateway, and otherwise
// only empty requests for a challenge; of the caller, nothing.
func (r *replay) checkAtlas(atlas *sim.Server, want []received) {
	var got []received
	for _, request := range atlas.Requests(0) {
		for _, secret := range []string{r.caller.pair.ID, r.caller.pair.Secret.Reveal(), r.caller.account.ID, r.caller.account.Secret.Reveal(), r.caller.token.Secret.Reveal(), r.values["client"], r.values["token"]} {
			if secret != "" && bytes.Contains(request.Raw, []byte(secret)) {
				r.Errorf("of the caller's credentials, Atlas received:\n%s", request.Raw)
			}
		}
		header := map[string]string{}
		for _, field := range request.Header {
			header[field.Name] += field.Value
			if !slices.Contains([]string{"Host", "User-Agent", "Accept", "Authorization", "Content-Type", "Content-Length"}, field.Name) {
				r.Errorf("Atlas received the field %s: %s", field.Name, field.Value)
			}
		}
		if header["User-Agent"] != "atlas-export-gateway" || request.Challenged != (header["Authorization"] == "") || request.Challenged && request.Body != "" {
			r.Errorf("Atlas received:\n%s", request.Raw)
		}
		if request.Challenged {
			continue
		}
		if request.Caller != sim.PublicKey || !strings.HasPrefix(header["Authorization"], `Digest username="`+sim.PublicKey+`"`) {
			r.Errorf("Atlas received, of %q:\n%s", request.Caller, request.Raw)
		}
		got = append(got, received{request.Method + " " + request.Target, request.Body, request.Status})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("Atlas received:\n%s", diff)
	}
}
