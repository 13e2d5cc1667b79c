package gateway_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	icholy "github.com/icholy/digest"
)

// outcome is all that a request of a caller leaves behind.
type outcome struct {
	Status       int
	Challenge    string // the WWW-Authenticate field, with N for the nonce
	GatewayError string // the Gateway-Error field
	Refusal      string // the content, where the status is 400 or more
	Record       record
	Atlas        int64 // requests that Atlas received
}

// record is what the record of a request says of its caller.
type record struct {
	Status                 int
	Caller, Key, Form      string
	Error, Reason, Missing string
}

var nonceField = regexp.MustCompile(`nonce="[A-Za-z0-9_-]{32}"`)

// try sends a request to a gateway and returns what came of it.
func try(t *testing.T, g *gatewaytest.Gateway, atlas *sim.Server, send func() gatewaytest.Response) outcome {
	t.Helper()
	before := atlas.Counts().Requests
	got := send()
	o := outcome{
		Status:       got.Status,
		Challenge:    nonceField.ReplaceAllString(strings.Join(got.Header["Www-Authenticate"], " and "), `nonce="N"`),
		GatewayError: got.Header.Get("Gateway-Error"),
		Atlas:        atlas.Counts().Requests - before,
	}
	if got.Status >= 400 {
		o.Refusal = strings.TrimSpace(got.Body)
	}
	line := g.Await(t, 0, `"id":"`+got.Header.Get("Gateway-Request-Id")+`"`)
	if err := json.Unmarshal([]byte(line), &o.Record); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return o
}

// An authentication is two gateways, and what the cases of TestAuthentication are made of.
type authentication struct {
	*testing.T
	algorithm                  string // of Digest
	atlas                      *sim.Server
	nightly, other, stranger   *gatewaytest.Caller
	signing, previous, foreign secret.Secret // signing keys
	// g lists nightly only, and without lists other only, as after an operator has removed
	// nightly.
	g, without *gatewaytest.Gateway
	wrong      secret.Secret // the secret of nobody
	access     string        // nightly's access token
}

// Every form in which a caller proves who it is, in every case: what is answered and recorded.
// Atlas hears nothing of a caller who is not let in.
func TestAuthentication(t *testing.T) {
	for _, algorithm := range []string{digestauth.MD5, digestauth.SHA256} {
		t.Run(algorithm, func(t *testing.T) {
			a := &authentication{T: t, algorithm: algorithm, atlas: sim.Start(t, sim.Config{}), wrong: secret.New("c4na7y-wrong-secret")}
			a.nightly, a.other, a.stranger = gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "other", everything), gatewaytest.Issue(t, "stranger", everything)
			a.signing, a.previous, a.foreign = callers.NewSigningKey(), callers.NewSigningKey(), callers.NewSigningKey()
			a.g, a.without = a.serve(a.nightly), a.serve(a.other)
			a.access = a.tokenOf(a.process(a.signing, 0), a.nightly.Account)
			for _, form := range a.forms() {
				a.tryForm(form)
			}
			for _, test := range a.others() {
				authorization := test.make()
				a.check(test.name, "", try(t, a.g, a.atlas, func() gatewaytest.Response { return test.show(a.g, authorization) }), test.want)
			}
		})
	}
}

// An authForm is a form of authentication, with a cell for each case.
type authForm struct {
	name                                                string
	show                                                shows
	allowed, wrongSecret, unknownCaller, expired, again cell
}

// A cell is a case of a form.
type cell struct {
	instead string // what the case is, if the form does not have it
	at      *gatewaytest.Gateway
	make    func() string // the Authorization field
	want    outcome
}

// shows sends a request with an Authorization field to a gateway.
type shows func(g *gatewaytest.Gateway, authorization string) gatewaytest.Response

func (a *authentication) tryForm(form authForm) {
	for name, cell := range map[string]cell{"allowed": form.allowed, "wrong secret": form.wrongSecret, "unknown caller": form.unknownCaller, "expired": form.expired} {
		authorization := cell.make()
		got := try(a.T, cell.at, a.atlas, func() gatewaytest.Response { return form.show(cell.at, authorization) })
		a.check(form.name+", "+name, cell.instead, got, cell.want)
	}
	authorization := form.again.make()
	show := func() gatewaytest.Response { return form.show(a.g, authorization) }
	a.check(form.name+", before it is replayed", "", try(a.T, a.g, a.atlas, show), form.allowed.want)
	a.check(form.name+", replayed", form.again.instead, try(a.T, a.g, a.atlas, show), form.again.want)
}

func (a *authentication) check(name, instead string, got, want outcome) {
	a.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		a.Errorf("%s %s:\n%s", name, instead, diff)
	}
}

// forms returns the forms of authentication with their cases.
func (a *authentication) forms() []authForm {
	const removed = "it does not expire, but ends with its entry in the configuration"
	const same = "it is the same with every request"
	g, nightly, stranger := a.g, a.nightly, a.stranger
	byDigest, byBasic := letIn(callers.Digest, nightly.Pair.ID), letIn(callers.Basic, nightly.Pair.ID)
	byToken, byAccess := letIn(callers.StaticToken, nightly.Token.Entry.Tokens[0].SHA256[:8]), letIn(callers.AccessToken, nightly.Account.ID)
	bySecret := letIn(callers.ClientSecret, nightly.Account.ID)
	bySecret.Atlas = 0 // the token endpoint is the gateway's own
	return []authForm{
		{
			"Digest", a.call,
			cell{"", g, a.right(a.fresh), byDigest},
			cell{"", g, a.digest(a.fresh, "GET", v2Buckets, nightly.Pair.ID, a.wrong), a.challenged(callers.WrongCredential)},
			cell{"", g, a.digest(a.fresh, "GET", v2Buckets, stranger.Pair.ID, stranger.Pair.Secret), a.challenged(callers.WrongCredential)},
			cell{"", g, a.right(a.of(a.signing, time.Hour)), a.challenged(callers.NonceExpired)},
			cell{"", g, a.right(a.fresh), a.challenged(callers.Replayed)},
		},
		{
			"Basic", a.call,
			cell{"", g, basic(nightly.Pair), byBasic},
			cell{"", g, text(gatewaytest.Basic(nightly.Pair.ID, a.wrong.Reveal())), a.challenged(callers.WrongCredential)},
			cell{"", g, basic(stranger.Pair), a.challenged(callers.WrongCredential)},
			cell{removed, a.without, basic(nightly.Pair), a.challenged(callers.WrongCredential)},
			cell{same, g, basic(nightly.Pair), byBasic},
		},
		{
			"static token", a.call,
			cell{"", g, text(nightly.Bearer()), byToken},
			cell{"", g, text(nightly.Bearer()[:len("Bearer ")+27] + "AAAAAA"), refused(callers.WrongCredential)},
			cell{"", g, text(stranger.Bearer()), refused(callers.WrongCredential)},
			cell{removed, a.without, text(nightly.Bearer()), refused(callers.WrongCredential)},
			cell{same, g, text(nightly.Bearer()), byToken},
		},
		{
			"service account, at the token endpoint", a.token,
			cell{"", g, basic(nightly.Account), bySecret},
			cell{"", g, text(gatewaytest.Basic(nightly.Account.ID, a.wrong.Reveal())), noClient(callers.WrongCredential)},
			cell{"", g, basic(stranger.Account), noClient(callers.WrongCredential)},
			cell{removed, a.without, basic(nightly.Account), noClient(callers.WrongCredential)},
			cell{"each request is given a token of its own", g, basic(nightly.Account), bySecret},
		},
		{
			"service account, with its access token", a.call,
			cell{"", g, bearer(a.access), byAccess},
			cell{"", g, bearer(a.forge(jwt.SigningMethodHS256, []byte(a.wrong.Reveal()))), refused(callers.WrongCredential)},
			cell{"", g, bearer(a.tokenOf(a.process(a.signing, 0), stranger.Account)), refused(callers.WrongCredential)},
			cell{"", g, bearer(a.tokenOf(a.process(a.signing, 2*time.Hour), nightly.Account)), refused(callers.TokenExpired)},
			cell{same + ", until it expires or is revoked", g, bearer(a.access), byAccess},
		},
	}
}

// An authCase is a case that one form has and others do not.
type authCase struct {
	name string
	show shows
	make func() string
	want outcome
}

// others returns all other cases.
func (a *authentication) others() []authCase {
	nightly := a.nightly
	another := map[string]string{digestauth.MD5: digestauth.SHA256, digestauth.SHA256: digestauth.MD5}[a.algorithm]
	return []authCase{
		{"no credential", a.call, text(""), a.challenged(callers.NoCredential)},
		{"an unknown scheme", a.call, text("Negotiate " + nightly.Token.Secret.Reveal()), a.challenged(callers.Malformed)},
		{"a nonce signed with the previous key", a.call, a.right(a.of(a.previous, 0)), letIn(callers.Digest, nightly.Pair.ID)},
		{"a nonce signed with a foreign key", a.call, a.right(a.of(a.foreign, 0)), a.challenged(callers.NonceUnknown)},
		{"an expired nonce signed with a foreign key", a.call, a.right(a.of(a.foreign, time.Hour)), a.challenged(callers.NonceUnknown)},
		{"Digest for another target", a.call, a.digest(a.fresh, "GET", v2Exports, nightly.Pair.ID, nightly.Pair.Secret), a.challenged(callers.Mismatched)},
		{"Digest for another query", a.call, a.digest(a.fresh, "GET", v2Buckets+"?pageNum=2", nightly.Pair.ID, nightly.Pair.Secret), a.challenged(callers.Mismatched)},
		{"Digest for another method", a.call, a.digest(a.fresh, "DELETE", v2Buckets, nightly.Pair.ID, nightly.Pair.Secret), a.challenged(callers.WrongCredential)},
		{"Digest for another realm", a.call, a.right(a.changed("MMS Public API", "Another API")), a.challenged(callers.Mismatched)},
		{"Digest of another algorithm", a.call, a.right(a.changed("algorithm="+a.algorithm, "algorithm="+another)), a.challenged(callers.Mismatched)},
		{"a service account as a key pair", a.call, basic(nightly.Account), a.challenged(callers.WrongCredential)},
		{"an access token signed with the previous key", a.call, bearer(a.tokenOf(a.process(a.previous, 0), nightly.Account)), letIn(callers.AccessToken, nightly.Account.ID)},
		{"an access token signed with a foreign key", a.call, bearer(a.tokenOf(a.process(a.foreign, 0), nightly.Account)), refused(callers.WrongCredential)},
		{"an access token without a signature", a.call, bearer(a.forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)), refused(callers.WrongCredential)},
		{"an access token of another algorithm", a.call, bearer(a.forge(jwt.SigningMethodHS512, []byte(a.wrong.Reveal()))), refused(callers.WrongCredential)},
		{"a revoked access token", a.call, bearer(a.revoked()), refused(callers.TokenRevoked)},
		{"a client secret as a token", a.call, bearer(nightly.Account.Secret.Reveal()), refused(callers.WrongCredential)},
		{"no credential at the token endpoint", a.token, text(""), noClient(callers.NoCredential)},
		{"an access token at the token endpoint", a.token, bearer(a.access), noClient(callers.Malformed)},
		{"a key pair at the token endpoint", a.token, basic(nightly.Pair), noClient(callers.WrongCredential)},
	}
}

// serve serves a gateway for a caller.
func (a *authentication) serve(caller *gatewaytest.Caller) *gatewaytest.Gateway {
	g := gatewaytest.Start(a, gatewaytest.YAML(a.atlas.URL(), "", caller),
		"ATLAS_GATEWAY_CALLERS_DIGEST_ALGORITHM="+a.algorithm, "ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE="+a.keyFile(a.signing, a.previous))
	// From now on the gateway needs no challenge of Atlas's for a request.
	if got := g.Send(a, "GET", v2Buckets, as(caller.Bearer()), ""); got.Status != 200 {
		a.Fatal(got)
	}
	return g
}

// keyFile writes signing keys into a file.
func (a *authentication) keyFile(keys ...secret.Secret) string {
	var content string
	for _, key := range keys {
		content += key.Reveal()
	}
	return gatewaytest.WriteFile(a, filepath.Join(a.TempDir(), "signing.key"), content)
}

// process is another process, which signs nonces and tokens with a key and whose clock is behind.
func (a *authentication) process(key secret.Secret, behind time.Duration) *callers.Authenticator {
	d := callers.Compile(callers.Config{
		Settings: callers.Settings{DigestAlgorithm: a.algorithm, SigningKeyFile: a.keyFile(key)},
		List:     []callers.Entry{a.nightly.Entry, a.stranger.Entry},
	}, false, func(path, format string, args ...any) { a.Fatalf(path+": "+format, args...) })
	return callers.New(d, callers.NewMemory(), callers.Options{Now: func() time.Time { return time.Now().Add(-behind) }})
}

// tokenForm is the content of a request for an access token.
const tokenForm = "grant_type=client_credentials"

// tokenOf returns an access token that a process issues.
func (a *authentication) tokenOf(process *callers.Authenticator, account callers.Issued) string {
	r := httptest.NewRequest("POST", "https://localhost/api/oauth/token", strings.NewReader(tokenForm))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(account.ID, account.Secret.Reveal())
	w := httptest.NewRecorder()
	if _, err := process.ServeToken(w, r, netip.Addr{}); err != nil {
		a.Fatal(err)
	}
	token := gatewaytest.Response{Body: w.Body.String()}.AccessToken()
	if token == "" {
		a.Fatal("no access token")
	}
	return token
}

// revoked returns an access token that was revoked.
func (a *authentication) revoked() string {
	token := a.g.AccessToken(a, a.nightly)
	if got := a.oauth("revoke", url.Values{"token": {token}}.Encode())(a.g, basic(a.nightly.Account)()); got.Status != 200 {
		a.Error(got)
	}
	return token
}

// forge makes another token of nightly's access token.
func (a *authentication) forge(method jwt.SigningMethod, key any) string {
	good, _, err := jwt.NewParser().ParseUnverified(a.access, jwt.MapClaims{})
	if err != nil {
		a.Fatal(err)
	}
	forged := jwt.NewWithClaims(method, good.Claims)
	forged.Header["kid"] = good.Header["kid"]
	token, err := forged.SignedString(key)
	if err != nil {
		a.Fatal(err)
	}
	return token
}

// call shows an Authorization field with a list of export buckets.
func (a *authentication) call(g *gatewaytest.Gateway, authorization string) gatewaytest.Response {
	return g.Send(a, "GET", v2Buckets, as(authorization), "")
}

// token shows an Authorization field at the token endpoint.
func (a *authentication) token(g *gatewaytest.Gateway, authorization string) gatewaytest.Response {
	return a.oauth("token", tokenForm)(g, authorization)
}

// oauth shows an Authorization field at one of the gateway's own endpoints.
func (a *authentication) oauth(endpoint, content string) shows {
	return func(g *gatewaytest.Gateway, authorization string) gatewaytest.Response {
		header := as(authorization)
		header["Content-Type"] = "application/x-www-form-urlencoded"
		return g.Send(a, "POST", "/api/oauth/"+endpoint, header, content)
	}
}

// fresh returns a new challenge of the gateway's.
func (a *authentication) fresh() string { return a.call(a.g, "").Header.Get("WWW-Authenticate") }

// of returns a challenge of another process.
func (a *authentication) of(key secret.Secret, behind time.Duration) func() string {
	return func() string {
		_, err := a.process(key, behind).Authenticate(httptest.NewRequest("GET", "/", nil), netip.Addr{})
		var refused *callers.Refusal
		if !errors.As(err, &refused) {
			a.Fatal(err)
		}
		return refused.Challenge[0]
	}
}

// changed returns a new challenge of the gateway's, changed in one place.
func (a *authentication) changed(from, to string) func() string {
	return func() string {
		challenge := a.fresh()
		if !strings.Contains(challenge, from) {
			a.Fatalf("%s is not in %s", from, challenge)
		}
		return strings.Replace(challenge, from, to, 1)
	}
}

// digest returns Digest credentials for a challenge.
func (a *authentication) digest(challenge func() string, method, target, id string, key secret.Secret) func() string {
	return func() string {
		c, err := icholy.ParseChallenge(challenge())
		if err != nil {
			a.Fatal(err)
		}
		credentials, err := icholy.Digest(c, icholy.Options{Method: method, URI: target, Username: id, Password: key.Reveal(), Count: 1})
		if err != nil {
			a.Fatal(err)
		}
		return credentials.String()
	}
}

// right returns Digest credentials as nightly makes them for call.
func (a *authentication) right(challenge func() string) func() string {
	return a.digest(challenge, "GET", v2Buckets, a.nightly.Pair.ID, a.nightly.Pair.Secret)
}

func text(authorization string) func() string { return func() string { return authorization } }

func bearer(token string) func() string { return text("Bearer " + token) }

func basic(key callers.Issued) func() string {
	return text(gatewaytest.Basic(key.ID, key.Secret.Reveal()))
}

// letIn is what comes of a call by nightly.
func letIn(form callers.Form, key string) outcome {
	return outcome{Status: 200, Record: record{Status: 200, Caller: "nightly", Key: key, Form: string(form)}, Atlas: 1}
}

// notLetIn is what comes of a call by a caller who is refused. Only the scheme of the challenge
// tells the caller anything of the reason.
func notLetIn(challenge string, reason callers.Reason) outcome {
	return outcome{
		Status: 401, Challenge: challenge, GatewayError: "unauthorized",
		Refusal: `{"error":401,"errorCode":"UNEXPECTED_ERROR","reason":"Unauthorized","detail":"You are not authorized for this resource."}`,
		Record:  record{Status: 401, Error: "unauthorized", Reason: string(reason)},
	}
}

// challenged is notLetIn by a challenge for Digest.
func (a *authentication) challenged(reason callers.Reason) outcome {
	return notLetIn(`Digest realm="MMS Public API", domain="", nonce="N", algorithm=`+a.algorithm+`, qop="auth", stale=false`, reason)
}

// refused is notLetIn of a token.
func refused(reason callers.Reason) outcome { return notLetIn(`Bearer error="invalid_token"`, reason) }

// noClient is what comes of a request at the token endpoint that is refused.
func noClient(reason callers.Reason) outcome {
	return outcome{
		Status: 401, Challenge: `Basic realm="MMS Public API"`,
		Refusal: `{"error":"invalid_client","error_description":"Invalid credentials provided."}`,
		Record:  record{Status: 401, Error: "oauth", Reason: string(reason)},
	}
}
