package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// A library is how a client authenticates by Digest.
type library struct {
	name        string
	credential  string // what it writes, with a cnonce that it once made up
	strict      bool   // it reads only challenges in the form of Atlas's
	empty       bool   // it sends no content before it has a challenge
	reuses      bool   // it uses a nonce again
	counts      bool   // nc counts all of its credentials, in decimal digits, whatever the nonce
	connections int    // how many connections it uses by turns; 0 means 1
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
	urllib = library{ // it knows only MD5
		name:       "urllib 4.9.1",
		credential: `Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", qop=auth, nc={nc}, cnonce="6c898d1a5770be55"`,
		counts:     true, connections: 2,
	}
)

// Each client sends to the gateway what it sends to Atlas, byte for byte except for the base URL
// and the key, and reads what it would read from Atlas. With a wrong key, every answer is a
// refusal. Atlas receives these calls and no others, with the gateway's own credential.
func TestConformance(t *testing.T) {
	for _, client := range []struct {
		transcript string
		library    library
		forms      []string // of authentication, each with callers.digest_algorithm
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

// replayCalls makes the calls of a transcript through a new gateway, with the right key or with a
// wrong one.
func replayCalls(t *testing.T, library library, form string, calls []call, wrong bool) {
	now := time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)
	atlas := sim.Start(t, sim.Config{Now: func() time.Time { return now }})
	r := &replay{T: t, library: library, caller: gatewaytest.Issue(t, "nightly", everything)}
	r.form, r.algorithm, _ = strings.Cut(form, " ")
	r.caller.YAML += "  digest_algorithm: " + r.algorithm + "\n" // of callers, beside the list
	r.conns = make([]*connection, max(1, library.connections))
	defer r.hangUp()
	account := r.caller.Account.Secret.Reveal()
	r.secret, r.values = r.caller.Pair.Secret.Reveal(), map[string]string{"token": r.caller.Token.Secret.Reveal()}
	if wrong {
		r.secret, account = "wrong", "wrong"
		r.values = map[string]string{"token": "wrong", "bucket": bucketID, "job": jobID, "job2": jobID, "snapshot": snapshot}
	}
	if r.form == "account" {
		delete(r.values, "token") // the client asks for one
	}
	r.values["client"] = base64.StdEncoding.EncodeToString([]byte(r.caller.Account.ID + ":" + account))
	r.start(atlas)
	var want []received
	for _, c := range calls {
		if c.only != "" && c.only != r.form || wrong && c.only != "account" && r.form == "account" {
			continue // without a token, the client makes no more calls
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

// What Atlas's clients take for JSON.
var jsonType = regexp.MustCompile(`(?i)^application/(vnd\.[^;]+\+)?json(;|$)`)

// check checks what holds for every answer. left is how many bytes follow the answer.
func (r *replay) check(a reading, left int) {
	if left > 0 || a.ContentLength < 0 || a.Header.Get("Content-Encoding") != "" || a.Header.Get("Location") != "" || a.StatusCode/100 == 3 {
		r.Errorf("a redirect, an encoding or no clear end: %s %v, followed by %d bytes", a.Status, a.Header, left)
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
		return // errors of the token endpoint have OAuth's form
	}
	var e struct {
		Error   json.RawMessage
		Content struct{ Error json.RawMessage } // in an envelope
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || !bytes.Equal(append(e.Error, e.Content.Error...), []byte(strconv.Itoa(a.StatusCode))) {
		r.Errorf("not Atlas's error %d: %s", a.StatusCode, a.body)
	}
}

// expectedChallenge returns a pattern for the one challenge of a 401. For Digest it is the
// challenge that was recorded from Atlas.
func (r *replay) expectedChallenge() string {
	switch r.form {
	case "token":
		return `^Bearer error="invalid_token"$`
	case "account":
		return `^Basic realm="MMS Public API"$`
	}
	return `^Digest realm="MMS Public API", domain="", nonce="[\w-]{32}", algorithm=` + r.algorithm + `, qop="auth", stale=false$`
}

// checkAtlas checks that Atlas received these calls, signed by the gateway, and otherwise only
// requests for a challenge, without content. Nothing of the caller's credentials may have reached
// Atlas.
func (r *replay) checkAtlas(atlas *sim.Server, want []received) {
	var got []received
	for _, request := range atlas.Requests(0) {
		for _, secret := range []string{r.caller.Pair.ID, r.caller.Pair.Secret.Reveal(), r.caller.Account.ID, r.caller.Account.Secret.Reveal(), r.caller.Token.Secret.Reveal(), r.values["client"], r.values["token"]} {
			if secret != "" && bytes.Contains(request.Raw, []byte(secret)) {
				r.Errorf("Atlas received some of the caller's credentials:\n%s", request.Raw)
			}
		}
		header := map[string]string{}
		for _, field := range request.Header {
			header[field.Name] += field.Value
			if !slices.Contains([]string{"Host", "User-Agent", "Accept", "Authorization", "Content-Type", "Content-Length", "Use-Effective-Instance-Fields"}, field.Name) {
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
