package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
)

// A leakTest is a gateway with secrets of every kind, and the simulated Atlas behind it.
type leakTest struct {
	*testing.T
	*observed
	atlas *sim.Server
	spans *gatewaytest.Receiver
	dir   string // of the gateway's files
	roots *x509.CertPool
}

// bearer, account and grant are what a caller shows, and asks for a token with.
const (
	bearer = "Bearer " + callerToken
	grant  = "grant_type=client_credentials"
)

var account = gatewaytest.Basic("agw_id_nightly", callerSecret)

// Whatever callers send, right or wrong, and whatever goes wrong at Atlas: no secret of either
// side shows.
func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	l := newLeakTest(t)
	l.upstreamCredentials()
	l.callers()
	l.accessTokens()
	l.wrongPlaces()
	l.brokenRequests()
	l.searchSpans()
	l.dump()
}

func newLeakTest(t *testing.T) *leakTest {
	seed := sim.DefaultSeed()
	seed.Keys[0].PrivateKey = secret.New(atlasPrivate)
	seed.ServiceAccounts[0].ClientSecret = secret.New(atlasSecret)
	authority := gatewaytest.NewAuthority(t)
	l := &leakTest{T: t, atlas: sim.Start(t, sim.Config{Seed: seed}), spans: gatewaytest.StartReceiver(t, nil), dir: t.TempDir(), roots: authority.Pool}
	certificate := authority.Loopback(t)
	l.observed = serveObserved(t, `
upstream:
  base_url: `+l.atlas.URL()+`
  credentials:
    - groups: [64f0c1a2b3d4e5f607182930]
      public_key_file: `+l.file("public", sim.PublicKey)+`
      private_key_file: `+l.file("private", nobodys)+` # at first
    - {groups: [64f0c1a2b3d4e5f607182931], client_id_env: ID, client_secret_env: SECRET}
    - {groups: ["000000000000000000000001"], client_id_env: ID, client_secret_env: WRONG}
    - {groups: ["000000000000000000000002"], client_id_env: ID_2, client_secret_env: SECRET_2} # a token of its own
audit: {file: stderr, required: true} # beside the log, which is searched
tracing: {endpoint: "`+l.spans.URL+`", headers_file: `+l.file("headers", "Api-Key: "+receiverKey)+`, trust_traceparent: true}
callers:
  signing_key_file: `+l.file("signing", base64.StdEncoding.EncodeToString([]byte(signingKey)))+`
  attempts: {per_client: 100}
  list:
    - name: nightly
      key_pairs: [{public_key: agwnightly, ha1_file: `+l.file("ha1", "MD5:"+ha1(t, "MD5", "agwnightly", callerPrivate)+"\nSHA-256:"+ha1(t, "SHA-256", "agwnightly", callerPrivate))+`}]
      tokens: [{sha256: `+hash(callerToken)+`}]
      service_accounts: [{client_id: agw_id_nightly, secret_sha256: `+hash(callerSecret)+`}]
      grants: [{operations: [manage], groups: ["*"]}]
`, l.roots, append(certificate.Environ(t), "ID="+sim.ClientID, "SECRET="+atlasSecret, "ID_2="+sim.ClientID, "SECRET_2="+atlasSecret, "WRONG="+nobodys)...)
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		l.secrets.Add("the caller's HA1", ha1(t, algorithm, "agwnightly", callerPrivate))
		l.secrets.Add("HA1 at Atlas", ha1(t, algorithm, sim.PublicKey, atlasPrivate))
	}
	for name, secret := range map[string]string{"private key": callerPrivate, "client secret": callerSecret, "token": callerToken} {
		l.secrets.Add("the caller's "+name, secret)
	}
	l.secrets.Add("the signing key", signingKey)
	l.secrets.Add("the key of the receiver of spans", receiverKey)
	for line := range strings.Lines(certificate.KeyPEM) {
		l.secrets.Add("the listener's key", strings.TrimSpace(line))
	}
	return l
}

// file writes a file of the gateway's.
func (l *leakTest) file(name, content string) string {
	return gatewaytest.WriteFile(l.T, filepath.Join(l.dir, name), content)
}

func (l *leakTest) expect(name string, got gatewaytest.Response, status int) gatewaytest.Response {
	l.Helper()
	if got.Status != status {
		l.Errorf("%s: %d %s, want %d", name, got.Status, got.Body, status)
	}
	return got
}

// calls lists export buckets.
func (l *leakTest) calls(name, authorization string, status int) {
	l.Helper()
	l.expect(name, l.ask(l.T, "GET", buckets, authorization, "", ""), status)
}

// asksToken asks for an access token.
func (l *leakTest) asksToken(name, authorization, content string, status int) gatewaytest.Response {
	l.Helper()
	return l.expect(name, l.ask(l.T, "POST", "/api/oauth/token", authorization, "application/x-www-form-urlencoded", content), status)
}

// creates sends content with the caller's token.
func (l *leakTest) creates(name, target, contentType, content string, status int) {
	l.Helper()
	l.expect(name, l.ask(l.T, "POST", target, bearer, contentType, content), status)
}

// signed makes Digest credentials for a new challenge.
func (l *leakTest) signed(target, private string) string {
	challenge, err := digest.ParseChallenge(l.ask(l.T, "GET", buckets, "", "", "").Header.Get("WWW-Authenticate"))
	if err != nil {
		l.Fatal(err)
	}
	credentials, err := digest.Digest(challenge, digest.Options{Method: "GET", URI: target, Username: "agwnightly", Password: private, Count: 1})
	if err != nil {
		l.Fatal(err)
	}
	return credentials.String()
}

// bucketsOf is the path of a group's export buckets.
func bucketsOf(group string) string { return "/api/atlas/v2/groups/" + group + "/backup/exportBuckets" }

// upstreamCredentials has the gateway use each of its own credentials: a key pair that is wrong
// until its file is corrected, a service account, one that is refused, and one whose token
// endpoint fails. Then it has Atlas fail in each way.
func (l *leakTest) upstreamCredentials() {
	l.calls("a wrong key at Atlas", bearer, 502)
	l.file("private", atlasPrivate+"\n")
	l.calls("the right key at Atlas", bearer, 200)
	l.expect("a service account", l.ask(l.T, "GET", bucketsOf("64f0c1a2b3d4e5f607182931"), bearer, "", ""), 200)
	l.expect("a wrong client secret", l.ask(l.T, "GET", bucketsOf("000000000000000000000001"), bearer, "", ""), 502)
	if err := l.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultUnavailable, Operation: "token", BeforeAuthentication: true}}); err != nil {
		l.Fatal(err)
	}
	l.expect("no token endpoint", l.ask(l.T, "GET", bucketsOf("000000000000000000000002"), bearer, "", ""), 502)
	for _, fault := range []sim.Fault{
		{Kind: sim.FaultReset}, {Kind: sim.FaultResetAfter}, {Kind: sim.FaultRateLimit}, {Kind: sim.FaultRateLimit400}, {Kind: sim.FaultUnavailable},
		{Kind: sim.FaultUnavailableAfter}, {Kind: sim.FaultTruncate}, {Kind: sim.FaultOversize, Bytes: 9 << 20}, {Kind: sim.FaultRedirect, Location: "http://127.0.0.1:9"}, {Kind: sim.FaultNoChallenge},
	} {
		fault.Count = 1
		if err := l.atlas.SetFaults([]sim.Fault{fault}); err != nil {
			l.Fatal(err)
		}
		got := l.ask(l.T, "POST", exports, bearer, "application/json", `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`)
		if got.Status < 400 || l.atlas.Faults()[0].Struck != 1 {
			l.Errorf("%s: %d", fault.Kind, got.Status)
		}
	}
}

// callers sends credentials of callers, right and wrong.
func (l *leakTest) callers() {
	right := l.signed(buckets, callerPrivate)
	l.calls("Digest", right, 200)
	l.calls("Digest, replayed", right, 401)
	l.calls("Digest, a wrong key", l.signed(buckets, nobodys), 401)
	l.calls("Digest, for another target", l.signed(exports, callerPrivate), 401)
	l.calls("Digest, garbage", `Digest username="`+nobodys+`", `+nobodys+`="x"`, 401)
	l.calls("Basic", gatewaytest.Basic("agwnightly", callerPrivate), 200)
	l.calls("Basic, a wrong key", gatewaytest.Basic("agwnightly", nobodys), 401)
	l.calls("Basic, the wrong way round", gatewaytest.Basic(callerPrivate, "agwnightly"), 401)
	l.calls("Basic, unencoded", "Basic agwnightly:"+callerPrivate, 401)
	l.calls("a token", bearer, 200)
	l.calls("a wrong token", "Bearer "+nobodys, 401)
	l.calls("a secret as a token", "Bearer "+callerSecret, 401)
	l.calls("a token without a scheme", callerToken, 401)
	l.calls("a token of another scheme", "Token "+callerToken, 401)
}

// accessTokens asks for access tokens, uses them and revokes them.
func (l *leakTest) accessTokens() {
	access := l.asksToken("the token endpoint", account, grant, 200).AccessToken()
	l.calls("an access token", "Bearer "+access, 200)
	l.calls("a forged access token", "Bearer "+access[:strings.LastIndex(access, ".")+1]+"c4na7y", 401)
	l.asksToken("a wrong secret", gatewaytest.Basic("agw_id_nightly", nobodys), grant, 401)
	l.asksToken("an unknown account", gatewaytest.Basic(nobodys, nobodys), grant, 401)
	l.asksToken("a secret as the client id", gatewaytest.Basic(callerSecret, "agw_id_nightly"), grant, 401)
	l.asksToken("a secret in the form", "", grant+"&client_id=agw_id_nightly&client_secret="+callerSecret, 401)
	l.asksToken("a secret beside the grant", account, grant+"&client_secret="+callerSecret+"&client_secret="+callerSecret, 400)
	l.asksToken("a secret as the grant", account, "grant_type="+callerSecret, 400)
	l.asksToken("no form", account, "%zz"+callerSecret, 400)
	for _, token := range []string{nobodys, access} {
		l.expect("revoke", l.ask(l.T, "POST", "/api/oauth/revoke", account, "application/x-www-form-urlencoded", "token="+token), 200)
	}
	l.calls("a revoked token", "Bearer "+access, 401)
}

// wrongPlaces sends secrets in the wrong places of a request. Only its sender is told what is
// wrong, with the value.
func (l *leakTest) wrongPlaces() {
	l.expect("in the path", l.ask(l.T, "GET", "/"+told, bearer, "", ""), 403)
	l.expect("in a path of Atlas's", l.ask(l.T, "GET", buckets+"/"+told+"/"+told, bearer, "", ""), 403)
	l.expect("as the name of a flex cluster", l.ask(l.T, "GET", group+"/flexClusters/"+told+"/backup/snapshots", bearer, "", ""), 400)
	l.expect("in the id", l.ask(l.T, "GET", buckets+"/"+told, bearer, "", ""), 400)
	l.expect("in the query", l.ask(l.T, "GET", buckets+"?api_key="+told, bearer, "", ""), 400)
	l.expect("as a parameter", l.ask(l.T, "GET", buckets+"?"+told, bearer, "", ""), 400)
	l.expect("as a number", l.ask(l.T, "GET", buckets+"?pageNum="+told, bearer, "", ""), 400)
	l.expect("in the query of the token endpoint", l.ask(l.T, "POST", "/api/oauth/token?client_secret="+told, bearer, "", ""), 403)
	l.creates("as a media type", exports, "application/"+told, "{}", 415)
	l.creates("as an id", exports, "application/json", `{"snapshotId":"`+told+`","exportBucketId":"`+told+`"}`, 400)
	l.creates("as a member", exports, "application/json", `{"`+told+`":{"`+told+`":1}}`, 400)
	l.creates("as a provider", buckets, "application/json", `{"cloudProvider":"`+told+`"}`, 400)
	l.creates("in broken JSON", exports, "application/json", `{"snapshotId":"`+told+`" `+told, 400)
	l.creates("twice", exports, "application/json", `{"`+told+`":1,"`+told+`":1}`, 400)
}

// brokenRequests sends requests that net/http itself refuses.
func (l *leakTest) brokenRequests() {
	for _, bytes := range []string{
		"GET / HTTP/1.1\r\nAuthorization: " + bearer + "\r\n\r\n",
		"GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\nAuthorization : " + bearer + "\r\n\r\n",
		"GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: " + bearer + "\r\nAuthorization: " + account + "\r\n\r\n",
		"GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\n" + callerToken + "\r\n\r\n",
		"GET " + buckets + " HTTP/1.1\r\nHost: " + callerToken + "@localhost\r\n\r\n",
		"GET https://agwnightly:" + callerPrivate + "@localhost" + buckets + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"Bearer " + callerToken + "\r\n\r\n",
		callerToken + "\r\n\r\n",
		"GET " + callerToken + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /%zz" + callerToken + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET " + buckets + " " + callerToken + "\r\nHost: localhost\r\n\r\n",
		"GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat(callerToken+" ", 4000) + "\r\n\r\n",
		"POST " + exports + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + callerToken + "\r\n\r\n",
		"POST " + exports + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " + callerToken + "\r\n\r\n",
		"POST " + exports + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/vnd.atlas.2025-03-12+json\r\nContent-Type: application/json\r\nAuthorization: " + bearer + "\r\nTransfer-Encoding: chunked\r\n\r\n" + callerToken + "\r\n\r\n",
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(l.Listener, "https://"), &tls.Config{RootCAs: l.roots})
		if err != nil {
			l.Fatal(err)
		}
		l.answers.WriteString(exchange(l.T, conn, bytes))
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.Listener, "https://"))
	if err != nil {
		l.Fatal(err)
	}
	l.answers.WriteString(exchange(l.T, conn, "GET "+buckets+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: "+bearer+"\r\n\r\n")) // without TLS
}

// dump ends the gateway, which then dumps its goroutines, while a request is on its way to Atlas.
func (l *leakTest) dump() {
	if err := l.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Minute)}}); err != nil {
		l.Fatal(err)
	}
	hangs := make(chan struct{})
	go func() {
		defer close(hangs)
		request, err := http.NewRequest("GET", l.Listener+buckets, nil)
		if err != nil {
			l.Error(err)
			return
		}
		request.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Authorization": {bearer}}
		if response, err := l.client.Do(request); err == nil {
			response.Body.Close()
			l.Errorf("the request that hangs: %s", response.Status)
		}
	}()
	gatewaytest.WaitFor(l.T, "a request that hangs", func() bool { return l.atlas.Faults()[0].Struck > 0 })
	for _, request := range l.atlas.Requests(0) {
		for _, field := range request.Header {
			if field.Name == "Authorization" {
				keepAuthorization(&l.secrets, "an Authorization field for Atlas", field.Value)
			}
		}
	}
	l.quit(l.T)
	gatewaytest.Receive(l.T, "the end of the request that hangs", hangs)
	if !strings.Contains(l.stderr.String(), "(*Gateway).obtain(") {
		l.Error("the dump shows no request")
	}
}

// searchSpans searches the spans of all requests so far.
func (l *leakTest) searchSpans() {
	last := l.ask(l.T, "GET", buckets, bearer, "", "").Header.Get("Gateway-Request-Id")
	spans := ""
	gatewaytest.WaitFor(l.T, "the last span", func() bool {
		spans = fmt.Sprintf("%+v", l.spans.Spans())
		return strings.Contains(spans, "atlas_gateway.request_id:"+last)
	})
	for _, secret := range append(l.secrets.Find(spans), l.told.Find(spans)...) {
		l.Errorf("in a span: %s", secret)
	}
	if batch := l.spans.Batches()[0].Header; batch.Get("Api-Key") != receiverKey || !strings.Contains(spans, "POST /api/oauth/token") {
		l.Errorf("the receiver got %v, and %.2000s", batch, spans)
	}
}
