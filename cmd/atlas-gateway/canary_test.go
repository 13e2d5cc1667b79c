package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/canary"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
)

// The secrets of these tests, but for those that programs make up.
const (
	atlasPrivate  = "c4na7y-a71a-5000-beef-aaaaaaaaaaaa" // of Atlas's key pair
	atlasSecret   = "mdb_sa_sk_c4na7y_of_the_account"    // of Atlas's service account
	atlasToken    = "c4na7y.the-access-token.of-the-account"
	callerPrivate = "c4na7yOfTheCallersKeyPair"
	callerSecret  = "agw_sk_c4na7yOfTheCallersAccount"
	callerToken   = "agw_st_c4na7yOfTheCaller"
	signingKey    = "c4na7y-that-signs-nonces-and-tokens"
	nobodys       = "c4na7y-of-nobody"
	told          = "c4na7y-in-a-wrong-place" // which its sender alone is told again
)

// observed is a gateway of which all that it prints and answers is kept, to be searched for
// secrets when it ends.
type observed struct {
	*process
	client  http.Client
	secrets canary.Secrets // that show nowhere
	told    canary.Secrets // that show in answers alone
	answers strings.Builder
}

func observe(t *testing.T, config string, roots *x509.CertPool, environ ...string) *observed {
	t.Helper()
	o := &observed{process: serveProcess(t, config, append(environ, "GOTRACEBACK=all")...)}
	o.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 10 * time.Second}
	o.secrets.Add("Atlas's private key", atlasPrivate)
	o.secrets.Add("Atlas's client secret", atlasSecret)
	o.secrets.Add("a secret that nobody has", nobodys)
	o.told.Add("a secret in a wrong place", told)
	return o
}

var digestResponse = regexp.MustCompile(`response="([0-9a-f]+)"`)

// keepAuthorization adds an Authorization field and what in it is as good as a secret.
func keepAuthorization(secrets *canary.Secrets, name, field string) {
	secrets.Add(name, field)
	if _, token, ok := strings.Cut(field, "Bearer "); ok {
		secrets.Add(name, token)
	}
	if response := digestResponse.FindStringSubmatch(field); response != nil {
		secrets.Add(name, response[1])
	}
}

// answer is what came back, read in full.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. Its Authorization field is secret from then on, and so is the access
// token that it gets.
func (o *observed) ask(t *testing.T, method, target, authorization, contentType, content string) answer {
	t.Helper()
	request, err := http.NewRequest(method, o.Listener+target, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	request.Header.Set("Content-Type", contentType)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
		keepAuthorization(&o.secrets, "an Authorization field of a caller", authorization)
	}
	response, err := o.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	head, err := httputil.DumpResponse(response, false)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{response.StatusCode, response.Header, string(body)}
	shown := a.body
	if token := a.accessToken(); token != "" {
		o.secrets.Add("an access token", token)
		shown = strings.Replace(shown, token, "", 1)
	}
	o.answers.WriteString(string(head) + shown)
	return a
}

func (a answer) accessToken() string {
	var content struct {
		AccessToken string `json:"access_token"`
	}
	json.Unmarshal([]byte(a.body), &content)
	return content.AccessToken
}

// quit ends the program by SIGQUIT, which has it dump its goroutines, and searches all that
// it ever printed and answered.
func (o *observed) quit(t *testing.T) {
	t.Helper()
	pages := ""
	for page, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/goroutine?debug=2": 404} {
		status, body := get(t, o.Management+page)
		if status != want {
			t.Errorf("%s: %d", page, status)
		}
		pages += body
	}
	commandLine, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", o.command.Process.Pid)) // on Linux
	if err := o.command.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&o.output, o.stdout); err != nil {
		t.Fatal(err)
	}
	o.command.Wait() // an error, after SIGQUIT
	if !strings.Contains(o.stderr.String(), "SIGQUIT: quit") || !strings.Contains(o.stderr.String(), "(*Gateway).Serve(") {
		t.Errorf("no dump: %.2000s", &o.stderr)
	}
	for where, text := range map[string]string{
		"standard output": o.output.String(), "standard error": o.stderr.String(), "the management pages": pages,
		"the command line": string(commandLine), "an answer": o.answers.String(),
	} {
		found := o.secrets.Find(text)
		if where != "an answer" {
			found = append(found, o.told.Find(text)...)
		}
		for _, secret := range found {
			t.Errorf("in %s: %s", where, secret)
		}
	}
}

func basic(id, secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}

func hash(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(secret))) }

// ha1 returns a hash of a key pair, which is as good as the private key.
func ha1(t *testing.T, algorithm, id, private string) string {
	t.Helper()
	hash, err := digestauth.HA1(algorithm, id, callers.DefaultRealm, secret.New(private))
	if err != nil {
		t.Fatal(err)
	}
	return hash.Reveal()
}

// write writes a file of the test's own.
func write(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// selfSigned makes a certificate for 127.0.0.1 and its key, as PEM.
func selfSigned(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	return cert, key, roots
}

// Whatever callers send, right or wrong, and whatever goes wrong at Atlas: no secret of
// either side shows.
func TestNoSecretShows(t *testing.T) {
	seed := sim.DefaultSeed()
	seed.Keys[0].PrivateKey = secret.New(atlasPrivate)
	seed.ServiceAccounts[0].ClientSecret = secret.New(atlasSecret)
	atlas := sim.Start(t, sim.Config{Seed: seed})
	dir := t.TempDir()
	file := func(name, content string) string { return write(t, filepath.Join(dir, name), content) }
	cert, key, roots := selfSigned(t)
	private := file("private", nobodys) // at first
	o := observe(t, `
upstream:
  base_url: `+atlas.URL()+`
  credentials:
    - groups: [64f0c1a2b3d4e5f607182930]
      public_key_file: `+file("public", sim.PublicKey)+`
      private_key_file: `+private+`
    - {groups: [64f0c1a2b3d4e5f607182931], client_id_env: ID, client_secret_env: SECRET}
    - {groups: ["000000000000000000000001"], client_id_env: ID, client_secret_env: WRONG}
    - {groups: ["000000000000000000000002"], client_id_env: ID, client_secret_env: SECRET}
callers:
  signing_key_file: `+file("signing", base64.StdEncoding.EncodeToString([]byte(signingKey)))+`
  attempts: {per_client: 100}
  list:
    - name: nightly
      key_pairs: [{public_key: agwnightly, ha1_file: `+file("ha1", "MD5:"+ha1(t, "MD5", "agwnightly", callerPrivate)+"\nSHA-256:"+ha1(t, "SHA-256", "agwnightly", callerPrivate))+`}]
      tokens: [{sha256: `+hash(callerToken)+`}]
      service_accounts: [{client_id: agw_id_nightly, secret_sha256: `+hash(callerSecret)+`}]
      grants: [{operations: [manage], groups: ["*"]}]
`, roots, "ID="+sim.ClientID, "SECRET="+atlasSecret, "WRONG="+nobodys,
		"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+file("cert", cert), "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+file("key", key))
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		o.secrets.Add("the caller's HA1", ha1(t, algorithm, "agwnightly", callerPrivate))
		o.secrets.Add("HA1 at Atlas", ha1(t, algorithm, sim.PublicKey, atlasPrivate))
	}
	for name, secret := range map[string]string{"private key": callerPrivate, "client secret": callerSecret, "token": callerToken} {
		o.secrets.Add("the caller's "+name, secret)
	}
	o.secrets.Add("the signing key", signingKey)
	for line := range strings.Lines(key) {
		o.secrets.Add("the listener's key", strings.TrimSpace(line))
	}

	const jobs = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/clusters/orders/backup/exports"
	bearer := "Bearer " + callerToken
	list := func(group string) string { return "/api/atlas/v2/groups/" + group + "/backup/exportBuckets" }
	expect := func(name string, got answer, status int) answer {
		t.Helper()
		if got.status != status {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, status)
		}
		return got
	}
	calls := func(name, authorization string, status int) {
		t.Helper()
		expect(name, o.ask(t, "GET", buckets, authorization, "", ""), status)
	}
	asksToken := func(name, authorization, content string, status int) answer {
		t.Helper()
		return expect(name, o.ask(t, "POST", "/api/oauth/token", authorization, "application/x-www-form-urlencoded", content), status)
	}
	creates := func(name, target, contentType, content string, status int) {
		t.Helper()
		expect(name, o.ask(t, "POST", target, bearer, contentType, content), status)
	}
	signed := func(target, private string) string {
		challenge, err := digest.ParseChallenge(o.ask(t, "GET", buckets, "", "", "").header.Get("WWW-Authenticate"))
		if err != nil {
			t.Fatal(err)
		}
		credentials, err := digest.Digest(challenge, digest.Options{Method: "GET", URI: target, Username: "agwnightly", Password: private, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		return credentials.String()
	}

	// The gateway's own credentials: a key pair that is wrong until its file is mended, a
	// service account, one that is refused, and a token endpoint that fails.
	calls("a wrong key at Atlas", bearer, 502)
	file("private", atlasPrivate+"\n")
	calls("the right key at Atlas", bearer, 200)
	expect("a service account", o.ask(t, "GET", list("64f0c1a2b3d4e5f607182931"), bearer, "", ""), 200)
	expect("a wrong client secret", o.ask(t, "GET", list("000000000000000000000001"), bearer, "", ""), 502)
	if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultUnavailable, Operation: "token", BeforeAuthentication: true}}); err != nil {
		t.Fatal(err)
	}
	expect("no token endpoint", o.ask(t, "GET", list("000000000000000000000002"), bearer, "", ""), 502)
	for _, fault := range []sim.Fault{
		{Kind: sim.FaultReset}, {Kind: sim.FaultResetAfter}, {Kind: sim.FaultRateLimit}, {Kind: sim.FaultRateLimit400}, {Kind: sim.FaultUnavailable},
		{Kind: sim.FaultUnavailableAfter}, {Kind: sim.FaultTruncate}, {Kind: sim.FaultOversize, Bytes: 9 << 20}, {Kind: sim.FaultRedirect, Location: "http://127.0.0.1:9"}, {Kind: sim.FaultNoChallenge},
	} {
		fault.Count = 1
		if err := atlas.SetFaults([]sim.Fault{fault}); err != nil {
			t.Fatal(err)
		}
		got := o.ask(t, "POST", jobs, bearer, "application/json", `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`)
		if got.status < 400 || atlas.Faults()[0].Struck != 1 {
			t.Errorf("%s: %d", fault.Kind, got.status)
		}
	}

	// Callers: each form, right and wrong.
	right := signed(buckets, callerPrivate)
	calls("Digest", right, 200)
	calls("Digest, replayed", right, 401)
	calls("Digest, a wrong key", signed(buckets, nobodys), 401)
	calls("Digest, for another target", signed(jobs, callerPrivate), 401)
	calls("Digest, garbage", `Digest username="`+nobodys+`", `+nobodys+`="x"`, 401)
	calls("Basic", basic("agwnightly", callerPrivate), 200)
	calls("Basic, a wrong key", basic("agwnightly", nobodys), 401)
	calls("Basic, the wrong way round", basic(callerPrivate, "agwnightly"), 401)
	calls("Basic, unencoded", "Basic agwnightly:"+callerPrivate, 401)
	calls("a token", bearer, 200)
	calls("a wrong token", "Bearer "+nobodys, 401)
	calls("a secret as a token", "Bearer "+callerSecret, 401)
	calls("a token without a scheme", callerToken, 401)
	calls("a token of another scheme", "Token "+callerToken, 401)
	const grant = "grant_type=client_credentials"
	account := basic("agw_id_nightly", callerSecret)
	access := asksToken("the token endpoint", account, grant, 200).accessToken()
	calls("an access token", "Bearer "+access, 200)
	calls("a forged access token", "Bearer "+access[:strings.LastIndex(access, ".")+1]+"c4na7y", 401)
	asksToken("a wrong secret", basic("agw_id_nightly", nobodys), grant, 401)
	asksToken("an unknown account", basic(nobodys, nobodys), grant, 401)
	asksToken("a secret as the client id", basic(callerSecret, "agw_id_nightly"), grant, 401)
	asksToken("a secret in the form", "", grant+"&client_id=agw_id_nightly&client_secret="+callerSecret, 401)
	asksToken("a secret beside the grant", account, grant+"&client_secret="+callerSecret+"&client_secret="+callerSecret, 400)
	asksToken("a secret as the grant", account, "grant_type="+callerSecret, 400)
	asksToken("no form", account, "%zz"+callerSecret, 400)
	for _, token := range []string{nobodys, access} {
		expect("revoke", o.ask(t, "POST", "/api/oauth/revoke", account, "application/x-www-form-urlencoded", "token="+token), 200)
	}
	calls("a revoked token", "Bearer "+access, 401)

	// Secrets in the wrong places of a request. What is wrong with it is told with the value,
	// to the caller alone.
	expect("in the path", o.ask(t, "GET", "/"+told, bearer, "", ""), 404)
	expect("in the id", o.ask(t, "GET", buckets+"/"+told, bearer, "", ""), 400)
	expect("in the query", o.ask(t, "GET", buckets+"?api_key="+told, bearer, "", ""), 400)
	expect("as a parameter", o.ask(t, "GET", buckets+"?"+told, bearer, "", ""), 400)
	expect("as a number", o.ask(t, "GET", buckets+"?pageNum="+told, bearer, "", ""), 400)
	expect("in the query of the token endpoint", o.ask(t, "POST", "/api/oauth/token?client_secret="+told, bearer, "", ""), 404)
	creates("as a media type", jobs, "application/"+told, "{}", 415)
	creates("as an id", jobs, "application/json", `{"snapshotId":"`+told+`","exportBucketId":"`+told+`"}`, 400)
	creates("as a member", jobs, "application/json", `{"`+told+`":{"`+told+`":1}}`, 400)
	creates("as a provider", buckets, "application/json", `{"cloudProvider":"`+told+`"}`, 400)
	creates("in broken JSON", jobs, "application/json", `{"snapshotId":"`+told+`" `+told, 400)
	creates("twice", jobs, "application/json", `{"`+told+`":1,"`+told+`":1}`, 400)

	// What net/http itself refuses.
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
		"POST " + jobs + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + callerToken + "\r\n\r\n",
		"POST " + jobs + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " + callerToken + "\r\n\r\n",
		"POST " + jobs + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/vnd.atlas.2025-03-12+json\r\nContent-Type: application/json\r\nAuthorization: " + bearer + "\r\nTransfer-Encoding: chunked\r\n\r\n" + callerToken + "\r\n\r\n",
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(o.Listener, "https://"), &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		o.answers.WriteString(exchange(t, conn, bytes))
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(o.Listener, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	o.answers.WriteString(exchange(t, conn, "GET "+buckets+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: "+bearer+"\r\n\r\n")) // without TLS

	// The dump shows a request on its way to Atlas.
	if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	hangs := make(chan struct{})
	go func() {
		defer close(hangs)
		request, err := http.NewRequest("GET", o.Listener+buckets, nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Authorization": {bearer}}
		if response, err := o.client.Do(request); err == nil {
			response.Body.Close()
			t.Errorf("the request that hangs: %s", response.Status)
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); atlas.Faults()[0].Struck == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no request hangs")
		}
	}
	for _, request := range atlas.Requests(0) {
		for _, field := range request.Header {
			if field.Name == "Authorization" {
				keepAuthorization(&o.secrets, "an Authorization field for Atlas", field.Value)
			}
		}
	}
	o.quit(t)
	<-hangs
	if !strings.Contains(o.stderr.String(), "(*Gateway).obtain(") {
		t.Error("the dump shows no request")
	}
}

// exchange sends bytes and returns what comes back until the connection ends.
func exchange(t *testing.T, conn net.Conn, bytes string) string {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, bytes) // an error means that the answer came first
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// echoes are answers that repeat an Authorization field, wherever there is room for one.
func echoes(authorization string) map[string]string {
	word := strings.ReplaceAll(authorization, " ", "_")
	quoted, err := json.Marshal(authorization)
	if err != nil {
		panic(err) // a string always encodes
	}
	withContent := func(head, content string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, len(content), content)
	}
	const ok = "200 OK\r\nContent-Type: application/json"
	return map[string]string{
		"the reason":               withContent("500 "+authorization, ""),
		"the status":               "HTTP/1.1 " + word + "\r\n\r\n",
		"the version":              "HTTP/" + word + " 200 OK\r\n\r\n",
		"the status line":          authorization + "\r\n\r\n",
		"a line of the header":     "HTTP/1.1 200 OK\r\n" + word + "\r\n\r\n",
		"a line with spaces":       "HTTP/1.1 200 OK\r\n" + authorization + "\r\n\r\n",
		"a continued line":         "HTTP/1.1 200 OK\r\n " + authorization + "\r\n\r\n",
		"a field's name":           "HTTP/1.1 200 OK\r\n" + authorization + ": x\r\n\r\n",
		"Content-Length":           "HTTP/1.1 200 OK\r\nContent-Length: " + authorization + "\r\n\r\n",
		"two Content-Lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + authorization + "\r\n\r\n",
		"Transfer-Encoding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + authorization + "\r\n\r\n",
		"a chunk":                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + authorization + "\r\n\r\n",
		"a trailer":                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + authorization + "\r\n\r\n",
		"Content-Type":             withContent("200 OK\r\nContent-Type: "+authorization, "{}"),
		"Content-Encoding":         withContent(ok+"\r\nContent-Encoding: "+authorization, "{}"),
		"fields that end here":     withContent(ok+"\r\nServer: "+authorization+"\r\nSet-Cookie: "+authorization+"\r\nX-Echo: "+authorization, "{}"),
		"HTML":                     withContent("503 Service Unavailable\r\nContent-Type: text/html", "<p>"+authorization),
		"broken JSON":              withContent(ok, `{"echo":`+string(quoted)),
		"half of the content":      "HTTP/1.1 " + ok + "\r\nContent-Length: 9999\r\n\r\n" + string(quoted),
		"a token with spaces":      withContent("200 OK\r\nContent-Type: text/plain", `{"access_token":`+string(quoted)+`,"token_type":"Bearer"}`),
		"an OAuth error":           withContent("400 Bad Request\r\nContent-Type: text/plain", `{"error":`+string(quoted)+`,"error_description":`+string(quoted)+`}`),
		"a redirect":               withContent("307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/?"+word, ""),
		"an errorCode":             withContent("401 Unauthorized\r\nX-Error-Code: "+authorization, ""),
		"a challenge":              withContent("401 Unauthorized\r\nWWW-Authenticate: "+authorization, ""),
		"a realm":                  withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm="+string(quoted)+`, nonce="1", qop="auth"`, ""),
		"an algorithm":             withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm="+string(quoted), ""),
		"the content of a 401":     withContent("401 Unauthorized\r\nContent-Type: application/json", `{"error":401,"errorCode":`+string(quoted)+`}`),
		"the content of a 429":     withContent("429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: text/plain", authorization),
		"an interim response":      "HTTP/1.1 103 " + authorization + "\r\nLink: " + authorization + "\r\n\r\n" + withContent("500 Error", ""),
		"another protocol":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + word + "\r\nConnection: Upgrade\r\n\r\n" + authorization,
		"a header that is endless": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat(authorization+" ", 3000),
	}
}

// An upstream that repeats what it was sent makes the gateway print and answer none of it,
// whether it was a signature, a token or a client secret. What stands in the JSON of Atlas's
// own answers is relayed: those are left out.
func TestNoSecretShowsOfAnEcho(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()

	// Each echo has three groups, whose credential is an API key, a service account, and a
	// service account that is given no token.
	names := slices.Sorted(maps.Keys(echoes("")))
	group := func(echo, kind int) string { return fmt.Sprintf("%023x%d", echo, kind) }
	groupOf := regexp.MustCompile(`groups/([0-9a-f]{23})([0-9])/`)
	var echoed sync.Map
	var secrets canary.Secrets
	answerTo := func(r *http.Request) string {
		authorization := r.Header.Get("Authorization")
		id, _, _ := r.BasicAuth()
		place := groupOf.FindStringSubmatch(r.URL.Path + "groups/" + id + "/")
		if authorization == "" {
			return "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"abcdefgh\", algorithm=MD5, qop=\"auth\"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
		}
		keepAuthorization(&secrets, "an Authorization field for Atlas", authorization)
		if r.URL.Path == "/api/oauth/token" && place[2] == "1" {
			content := `{"access_token":"` + atlasToken + `","token_type":"Bearer","expires_in":3600}`
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
		}
		var echo int
		fmt.Sscanf(place[1], "%x", &echo)
		echoed.Store(place[1]+place[2], true)
		return echoes(authorization)[names[echo]]
	}
	go func() {
		for {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, answerTo(r))
				}
			}()
		}
	}()
	config, environ := "upstream:\n  base_url: http://"+upstream.Addr().String()+"\n  realm: r\n  credentials:\n", []string{"PUBLIC=public", "PRIVATE=" + atlasPrivate, "SECRET=" + atlasSecret}
	for echo := range names {
		config += fmt.Sprintf("    - {groups: [%q], public_key_env: PUBLIC, private_key_env: PRIVATE}\n", group(echo, 0))
		for kind := 1; kind <= 2; kind++ {
			config += fmt.Sprintf("    - {groups: [%q], client_id_env: ID_%d_%d, client_secret_env: SECRET}\n", group(echo, kind), echo, kind)
			environ = append(environ, fmt.Sprintf("ID_%d_%d=%s", echo, kind, group(echo, kind)))
		}
	}
	o := observe(t, config, nil, environ...)
	o.secrets.Add("Atlas's access token", atlasToken)
	for echo, name := range names {
		for kind := range 3 {
			got := o.ask(t, "GET", "/api/atlas/v2/groups/"+group(echo, kind)+"/backup/exportBuckets", "", "", "")
			if _, ok := echoed.Load(group(echo, kind)); !ok || got.status >= 300 && got.header.Get("Gateway-Error") == "" {
				t.Errorf("%s, to credential %d: %d %s", name, kind, got.status, got.body)
			}
		}
	}
	o.quit(t)
	for where, text := range map[string]string{"standard error": o.stderr.String(), "an answer": o.answers.String()} {
		for _, found := range secrets.Find(text) {
			t.Errorf("in %s: %s", where, found)
		}
	}
}

// An upstream that does not speak TLS as it should is told nothing, and nothing of it shows.
func TestNoSecretShowsOfBrokenTLS(t *testing.T) {
	cert, key, _ := selfSigned(t)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	handshakes := []func(net.Conn) string{
		func(conn net.Conn) string { return "" },
		func(conn net.Conn) string {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			return ""
		},
		func(conn net.Conn) string {
			content, _ := io.ReadAll(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})) // which is of no authority
			return string(content)
		},
	}
	told := make(chan string, 16)
	go func() {
		for i := 0; ; i++ {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			told <- handshakes[i%len(handshakes)](conn)
			conn.Close()
		}
	}()
	const other = "64f0c1a2b3d4e5f607182931"
	o := observe(t, "upstream:\n  base_url: https://"+upstream.Addr().String()+"\n  credentials: [{groups: ["+other+"], client_id_env: ID, client_secret_env: SECRET}, {public_key_env: ID, private_key_env: PRIVATE}]\n",
		nil, "ID=public", "SECRET="+atlasSecret, "PRIVATE="+atlasPrivate)
	for i := range 4 {
		target := buckets
		if i == 3 {
			target = strings.Replace(buckets, "64f0c1a2b3d4e5f607182930", other, 1)
		}
		got := o.ask(t, "GET", target, "", "", "")
		select {
		case content := <-told:
			if got.status != 502 || content != "" {
				t.Errorf("%d %s; the upstream was told %q", got.status, got.body, content)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%d %s; the upstream was not asked", got.status, got.body)
		}
	}
	o.quit(t)
}

// A secret that stands where a setting, or the name of its file, belongs is not repeated by
// the error, which names the setting.
func TestNoSecretShowsOfASetting(t *testing.T) {
	var secrets canary.Secrets
	secrets.Add("the secret", nobodys)
	dir := t.TempDir()
	file := func(name, content string) string { return write(t, filepath.Join(dir, name), content) }
	cert, _, _ := selfSigned(t)
	_, key, _ := selfSigned(t)
	for line := range strings.Lines(key) {
		secrets.Add("the listener's key", strings.TrimSpace(line))
	}
	const (
		upstream  = "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n"
		anonymous = "callers: {anonymous: true}\n"
	)
	account := "callers: {list: [{name: a, service_accounts: [{client_id: a, secret_sha256: " + hash("x") + "}]}]"
	for _, test := range []struct {
		name, config, environ string
		want                  []string // settings
	}{
		{"everywhere", `
listener: {tls_cert_file: CANARY, tls_key_file: CANARY}
upstream:
  base_url: https://user:CANARY@cloud.mongodb.com
  credentials:
    - {public_key_file: CANARY, private_key_file: CANARY}
    - {public_key_env: CANARY, private_key_env: CANARY}
    - {client_id_file: CANARY, client_secret_file: CANARY}
    - {client_id_env: CANARY, client_secret_env: CANARY}
    - {private_key_file: CANARY}
    - {private_key_file: CANARY, client_secret_file: CANARY}
callers:
  signing_key_file: CANARY
  list:
    - name: a:CANARY
      key_pairs: [{public_key: a:CANARY, ha1_file: CANARY}]
      tokens: [{sha256: CANARY}]
      service_accounts: [{client_id: a:CANARY, secret_sha256: CANARY}]
`, "", []string{
			"listener.tls_cert_file", "upstream.base_url", "credentials[0].public_key_file", "credentials[0].private_key_file", "credentials[1].public_key_env", "credentials[1].private_key_env",
			"credentials[2].client_id_file", "credentials[2].client_secret_file", "credentials[3].client_id_env", "credentials[3].client_secret_env", "credentials[4]:", "credentials[5]:",
			"signing_key_file", "list[0].name", "list[0].key_pairs[0].public_key", "list[0].key_pairs[0].ha1_file", "list[0].tokens[0].sha256", "list[0].service_accounts[0].client_id", "list[0].service_accounts[0].secret_sha256",
		}},
		{"for an authority's file", "upstream: {ca_file: CANARY, credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n" + anonymous, "", []string{"upstream.ca_file"}},
		{"in files of another form", upstream + "callers:\n  signing_key_file: " + file("signing", nobodys) + "\n  list: [{name: a, key_pairs: [{public_key: a, ha1_file: " + file("ha1", "MD5:"+nobodys) + "}]}]\n", "", []string{"signing_key_file", "ha1_file"}},
		{"in a file of two keys", "upstream: {credentials: [{public_key_file: " + file("two", nobodys+" "+nobodys) + ", private_key_file: " + file("lines", nobodys+"\n"+nobodys) + "}]}\n" + anonymous, "", []string{"public_key_file", "private_key_file"}},
		{"in a variable of two keys", upstream + anonymous, "PRIVATE=two CANARY", []string{"private_key_env"}},
		{"of another certificate", upstream + anonymous + "listener: {tls_cert_file: " + file("cert", cert) + ", tls_key_file: " + file("key", key) + "}\n", "", []string{"listener.tls_cert_file"}},
		{"as a number", upstream + anonymous + "limits: {in_flight: CANARY}\n", "", []string{":3: limits.in_flight:"}},
		{"as a time", upstream + anonymous + "timeouts: {idle: CANARY}\n", "", []string{"timeouts.idle"}},
		{"as a switch", upstream + "callers: {anonymous: CANARY}\n", "", []string{":2: callers.anonymous:"}},
		{"as a section", "upstream: CANARY\n" + anonymous, "", []string{":1: upstream:"}},
		{"as a list", "upstream: {credentials: CANARY}\n" + anonymous, "", []string{":1: upstream.credentials:"}},
		{"as an entry", "upstream: {credentials: [CANARY]}\n" + anonymous, "", []string{":1: upstream.credentials[0]:"}},
		{"of an unknown key", "upstream: {credentials: [{public_key: PUBLIC, private_key: CANARY}]}\n" + anonymous, "", []string{"credentials[0].private_key:"}},
		{"twice", "upstream: {credentials: [{private_key_file: CANARY, private_key_file: CANARY}]}\n" + anonymous, "", []string{":1:"}},
		{"without a colon", "upstream:\n  credentials:\n    - public_key_env: PUBLIC\n      private_key_env CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"without a space", "upstream:\n  credentials:\n    - private_key_env:CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"in an open quote", "upstream:\n  credentials:\n    - private_key_env: 'CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"in an open list", "upstream:\n  credentials:\n    - private_key_env: [CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"behind a tab", "upstream:\n\tcredentials: CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"as a tag", "upstream: !CANARY {}\n" + anonymous, "", []string{"upstream"}},
		{"as an anchor", "upstream: &CANARY {}\n" + anonymous, "", []string{"upstream"}},
		{"as an alias", "upstream: *CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
		{"in the environment, as a file's name", upstream + account + "}\n", "ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE=CANARY", []string{"ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE:"}},
		{"in the environment, of no setting", upstream + anonymous, "ATLAS_GATEWAY_UPSTREAM_PRIVATE_KEY=CANARY", []string{"ATLAS_GATEWAY_UPSTREAM_PRIVATE_KEY"}},
		{"in the environment, as a number", upstream + anonymous, "ATLAS_GATEWAY_LIMITS_IN_FLIGHT=CANARY", []string{"ATLAS_GATEWAY_LIMITS_IN_FLIGHT"}},
		{"in the environment, as a time", upstream + anonymous, "ATLAS_GATEWAY_TIMEOUTS_IDLE=CANARY", []string{"ATLAS_GATEWAY_TIMEOUTS_IDLE"}},
		{"in the environment, as a switch", upstream, "ATLAS_GATEWAY_CALLERS_ANONYMOUS=CANARY", []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS"}},
	} {
		config := file("gateway.yaml", strings.ReplaceAll(test.config, "CANARY", nobodys))
		commands := [][]string{{"check"}}
		if test.name == "everywhere" {
			commands = append(commands, []string{"serve"}, []string{"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "b"})
		}
		for _, arguments := range commands {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // serve ends where it should not start
			defer cancel()
			command := exec.CommandContext(ctx, os.Args[0], append(arguments, config)...)
			command.Env = append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "PUBLIC=public", "PRIVATE=private")
			if test.environ != "" {
				command.Env = append(command.Env, strings.ReplaceAll(test.environ, "CANARY", nobodys))
			}
			output, _ := command.CombinedOutput()
			if status := command.ProcessState.ExitCode(); status != exitConfig {
				t.Errorf("%s: %s ends with %d: %s", test.name, arguments[0], status, output)
			}
			for _, setting := range test.want {
				if !strings.Contains(string(output), setting) {
					t.Errorf("%s: %s does not name %s: %s", test.name, arguments[0], setting, output)
				}
			}
			for _, found := range secrets.Find(string(output)) {
				t.Errorf("%s: %s: %s", test.name, arguments[0], found)
			}
		}
	}
}
