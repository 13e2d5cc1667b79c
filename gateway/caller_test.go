package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"github.com/goccy/go-yaml"
	icholy "github.com/icholy/digest"
)

// issued is a caller of a gateway in each form, with grants.
type issued struct {
	pair, account, token callers.Issued
	entry                callers.Entry
	yaml                 string
}

// issue makes keys for a caller and the entry of the configuration, with grants in YAML.
func issue(t testing.TB, name, grants string) issued {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".ha1")
	i := issued{pair: callers.NewKeyPair(name, "", file), account: callers.NewServiceAccount(name), token: callers.NewToken(name)}
	if err := os.WriteFile(file, []byte(i.pair.HA1File.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	keepSecret(t, "the private key of "+name, i.pair.Secret.Reveal())
	keepSecret(t, "the client secret of "+name, i.account.Secret.Reveal())
	keepSecret(t, "the token of "+name, i.token.Secret.Reveal())
	i.entry = i.pair.Entry
	i.entry.ServiceAccounts, i.entry.Tokens = i.account.Entry.ServiceAccounts, i.token.Entry.Tokens
	text, err := yaml.Marshal([]callers.Entry{i.entry})
	if err != nil {
		t.Fatal(err)
	}
	i.yaml = "  " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  ") + "\n    grants: " + grants + "\n"
	return i
}

// startFor serves a gateway in front of a simulated Atlas for listed callers.
func startFor(t testing.TB, atlas *sim.Server, settings string, list ...issued) *running {
	t.Helper()
	text := settings + "upstream:\n  base_url: " + atlas.URL() + "\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  list:\n"
	for _, i := range list {
		text += i.yaml
	}
	return startWith(t, text, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
}

const everything = `[{operations: [manage], groups: ["*"]}]`

// A caller is let in by its key pair over Digest and Basic, by its token, and by the access
// token of its service account; nobody else is, and Atlas hears of neither.
func TestCallers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	other := issue(t, "other", everything)
	g := startFor(t, atlas, "", nightly)
	accept := map[string]string{"Accept": latest}
	with := func(authorization string) map[string]string {
		return map[string]string{"Accept": latest, "Authorization": authorization}
	}
	basic := func(i callers.Issued, secret string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(i.ID, secret)
		return r.Header.Get("Authorization")
	}
	if got := send(t, "GET", g.url+v2Exports, accept, ""); got.status != 401 || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), `Digest realm="MMS Public API", domain="", nonce="`) ||
		len(got.header["Www-Authenticate"]) != 1 || got.header.Get("Gateway-Error") != "unauthorized" || !strings.Contains(got.body, `"errorCode":"UNEXPECTED_ERROR"`) {
		t.Errorf("without a key: %d %v %s", got.status, got.header, got.body)
	}
	before := atlas.Counts().Requests
	for name, authorization := range map[string]string{
		"a wrong private key":  basic(nightly.pair, "wrong"),
		"another's key pair":   basic(other.pair, other.pair.Secret.Reveal()),
		"an unknown token":     "Bearer " + other.token.Secret.Reveal(),
		"a token as Basic":     basic(nightly.pair, nightly.token.Secret.Reveal()),
		"a secret as a token":  "Bearer " + nightly.account.Secret.Reveal(),
		"no scheme":            nightly.token.Secret.Reveal(),
		"Atlas's own key":      basic(callers.Issued{ID: sim.PublicKey}, sim.PrivateKey),
		"an unsigned JWT":      "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
		"an empty credential":  "Digest",
		"someone else's realm": `Digest username="x", realm="y", nonce="z", uri="/", response="0", qop=auth, nc=00000001, cnonce="a"`,
	} {
		if got := send(t, "GET", g.url+v2Exports, with(authorization), ""); got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if n := atlas.Counts().Requests; n != before {
		t.Errorf("Atlas received %d requests", n-before)
	}
	// In each form.
	for name, authorization := range map[string]string{
		"Basic":  basic(nightly.pair, nightly.pair.Secret.Reveal()),
		"Bearer": "Bearer " + nightly.token.Secret.Reveal(),
	} {
		if got := send(t, "GET", g.url+v2Exports, with(authorization), ""); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	client := &http.Client{Transport: &icholy.Transport{Username: nightly.pair.ID, Password: nightly.pair.Secret.Reveal(), Transport: &http.Transport{DisableKeepAlives: true}}}
	for i := range 3 {
		request, err := http.NewRequest("POST", g.url+v2Buckets, strings.NewReader(`{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"`+role+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("Digest, request %d: %d", i, response.StatusCode)
		}
	}
	token := func(id, secret string) (response, string) {
		got := send(t, "POST", g.url+"/api/oauth/token", map[string]string{"Authorization": basic(callers.Issued{ID: id}, secret), "Content-Type": "application/x-www-form-urlencoded"}, "grant_type=client_credentials")
		var content struct {
			AccessToken string `json:"access_token"`
		}
		json.Unmarshal([]byte(got.body), &content)
		return got, content.AccessToken
	}
	if got, _ := token(nightly.account.ID, "wrong"); got.status != 401 || !strings.Contains(got.body, `"invalid_client"`) {
		t.Errorf("a wrong client secret: %d %s", got.status, got.body)
	}
	got, access := token(nightly.account.ID, nightly.account.Secret.Reveal())
	if got.status != 200 || access == "" {
		t.Fatalf("the token endpoint: %d %s", got.status, got.body)
	}
	if got := send(t, "GET", g.url+v2Exports, with("Bearer "+access), ""); got.status != 200 {
		t.Errorf("an access token: %d %s", got.status, got.body)
	}
	revoke := send(t, "POST", g.url+"/api/oauth/revoke", map[string]string{"Authorization": basic(nightly.account, nightly.account.Secret.Reveal()), "Content-Type": "application/x-www-form-urlencoded"}, url.Values{"token": {access}}.Encode())
	if revoke.status != 200 {
		t.Errorf("the revoke endpoint: %d %s", revoke.status, revoke.body)
	}
	if got := send(t, "GET", g.url+v2Exports, with("Bearer "+access), ""); got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("a revoked token: %d %s", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := send(t, "GET", g.url+"/api/oauth/token", nil, ""); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET of the token endpoint: %d", got.status)
	}
	// The upstream saw the gateway's credential alone.
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if strings.Contains(field.Value, nightly.pair.ID) || strings.HasPrefix(field.Value, "Bearer ") || strings.HasPrefix(field.Value, "Basic ") {
				t.Errorf("a caller's credential reached Atlas: %s", field.Value)
			}
		}
		if strings.HasPrefix(r.Target, "/api/oauth") {
			t.Errorf("Atlas received %s", r.Target)
		}
	}
	if logs := g.logs.String(); !strings.Contains(logs, `"caller":"nightly"`) || !strings.Contains(logs, `"reason":"wrong_credential"`) {
		t.Errorf("logs: %.1000s", logs)
	}
}

// A bad key is refused before the content is asked for, and a replayed request.
func TestCallersBeforeTheContent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g := startFor(t, atlas, "", nightly)
	answer := raw(t, g.address, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\nAuthorization: Bearer wrong\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("a bad key: %s", answer)
	}
	first := send(t, "POST", g.url+v1Buckets, map[string]string{"Accept": plain, "Content-Type": plain}, "")
	challenged, err := icholy.ParseChallenge(first.header.Get("WWW-Authenticate"))
	if err != nil || first.status != 401 {
		t.Fatal(first, err)
	}
	credentials, err := icholy.Digest(challenged, icholy.Options{Method: "GET", URI: v1Buckets, Username: nightly.pair.ID, Password: nightly.pair.Secret.Reveal(), Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 401} {
		if got := send(t, "GET", g.url+v1Buckets, map[string]string{"Accept": plain, "Authorization": credentials.String()}, ""); got.status != want {
			t.Errorf("the signed request, time %d: %d %s", i+1, got.status, got.body)
		}
	}
}

// A token request that is too large ends its connection: nothing behind it is read as a request.
func TestTokenRequestTooLarge(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g := startFor(t, atlas, "", nightly)
	credential := &http.Request{Header: http.Header{}}
	credential.SetBasicAuth(nightly.account.ID, nightly.account.Secret.Reveal())
	head := " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + credential.Header.Get("Authorization") + "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	next := "GET " + v2Exports + " HTTP/1.1\r\nHost: localhost\r\nAccept: " + latest + "\r\nAuthorization: Bearer " + nightly.token.Secret.Reveal() + "\r\n\r\n"
	const maxForm = 8 << 10
	form := "grant_type=client_credentials&token=x"
	large := form + strings.Repeat("&", maxForm+1-len(form))
	for _, endpoint := range []string{"token", "revoke"} {
		for name, content := range map[string]string{
			"a length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large),
			// As much of it as is left unread is a request, should anyone read on in the middle.
			"a request within": fmt.Sprintf("Content-Length: %d\r\n\r\n%s%s", len(large)+len(next), large, next),
			"chunks":           fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large),
		} {
			before := atlas.Counts().Requests
			answer := raw(t, g.address, "POST /api/oauth/"+endpoint+head+content+next)
			if !strings.HasPrefix(answer, "HTTP/1.1 413 ") || strings.Count(answer, "HTTP/1.1 ") != 1 || !strings.Contains(answer, "\r\nConnection: close\r\n") || atlas.Counts().Requests != before {
				t.Errorf("%s, %s: %s", endpoint, name, answer)
			}
		}
		// One that is not too large leaves the connection open.
		answer := raw(t, g.address, "POST /api/oauth/"+endpoint+head+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(form), form)+strings.Replace(next, "\r\n", "\r\nConnection: close\r\n", 1))
		if strings.Count(answer, "HTTP/1.1 200 ") != 2 {
			t.Errorf("%s, followed by a request: %s", endpoint, answer)
		}
	}
}

// A caller may do what a grant allows, and the refusal says what is missing, whether or not
// the thing exists.
func TestPolicy(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	exporter := issue(t, "exporter", `[{operations: [export], groups: [`+group+`], clusters: [orders], export_buckets: [`+bucketID+`]}]`)
	reader := issue(t, "reader", `[{operations: [read], groups: ["64*"]}]`)
	builder := issue(t, "builder", `[{operations: [createExportBucket], groups: ["*"], cloud_providers: [AWS], bucket_names: ["acme-*"]}]`)
	azure := issue(t, "azure", `[{operations: [createExportBucket], groups: ["*"], service_urls: ["https://acmestore.blob.core.windows.net/snap*"]}]`)
	nobody := issue(t, "nobody", `[]`)
	g := startFor(t, atlas, "", exporter, reader, builder, azure, nobody)
	const denied = -403 // by the gateway; Atlas hears nothing
	other := strings.Replace(v2Exports, "orders", "events", 1)
	bucket := func(name string) string {
		return `{"cloudProvider":"AWS","bucketName":"` + name + `","iamRoleId":"` + role + `"}`
	}
	container := func(url, more string) string {
		return `{"cloudProvider":"AZURE","roleId":"` + role + `","serviceUrl":"https://` + url + `"` + more + `}`
	}
	for _, test := range []struct {
		who                  issued
		method, target, body string
		status               int
	}{
		{exporter, "POST", v2Exports, export, 404}, // by Atlas, which has no such bucket
		{exporter, "POST", v1Exports, export, 404},
		{exporter, "POST", v2Exports, strings.Replace(export, bucketID, jobID, 1), denied},
		{exporter, "POST", other, export, denied},
		{exporter, "GET", v2Exports, "", 200},
		{exporter, "HEAD", v2Exports, "", 200},
		{exporter, "GET", strings.Replace(v2Exports, group, jobID, 1), "", denied},
		{exporter, "DELETE", v2Buckets + "/" + bucketID, "", denied},
		{exporter, "POST", v2Buckets, bucket("acme-1"), denied},
		{reader, "GET", v2Exports, "", 200},
		{reader, "GET", v1Buckets, "", 200},
		{reader, "POST", v2Exports, export, denied},
		{reader, "DELETE", v2Buckets + "/" + bucketID, "", denied},
		{reader, "PATCH", v2Buckets + "/" + bucketID, `{"requirePrivateNetworking":true}`, denied},
		{builder, "POST", v2Buckets, bucket("acme-1"), 200},
		{builder, "POST", v1Buckets, bucket("acme-2"), 200},
		{builder, "POST", v2Buckets, bucket("other-1"), denied},
		{builder, "POST", v2Buckets, `{"cloudProvider":"GCP","bucketName":"acme-1","roleId":"` + role + `"}`, denied},
		{builder, "POST", v2Buckets, container("acmestore.blob.core.windows.net/acme-1", ""), denied},
		{builder, "GET", v2Buckets, "", denied},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/snapshots", ""), 200},
		{azure, "POST", v2Buckets, container("AcmeStore.blob.core.windows.net/snap-2", `,"bucketName":"snap-2"`), 200},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/snap-2", `,"bucketName":"other"`), denied},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/other", ""), denied},
		{azure, "POST", v2Buckets, container("otherstore.blob.core.windows.net/snapshots", ""), denied},
		{azure, "POST", v2Buckets, bucket("snapshots"), denied},
		{nobody, "GET", v2Buckets, "", denied},
	} {
		before := atlas.Counts().Requests
		accept := latest
		if strings.Contains(test.target, "v1.0") {
			accept = plain
		}
		got := send(t, test.method, g.url+test.target, map[string]string{"Accept": accept, "Content-Type": plain, "Authorization": "Bearer " + test.who.token.Secret.Reveal()}, test.body)
		if test.status == denied {
			if got.status != 403 || got.header.Get("Gateway-Error") != "forbidden" || !strings.Contains(got.body, "no grant of caller "+test.who.token.Entry.Name) || atlas.Counts().Requests != before {
				t.Errorf("%s %s %s: %d %s", test.who.token.Entry.Name, test.method, test.target, got.status, got.body)
			}
		} else if got.status != test.status || atlas.Counts().Requests == before {
			t.Errorf("%s %s %s: %d %s, want %d", test.who.token.Entry.Name, test.method, test.target, got.status, got.body, test.status)
		}
	}
}

// Anonymous callers and those with keys share a gateway: a key that is shown must be right.
func TestAnonymousBesideKeys(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	reader := issue(t, "reader", `[{operations: [read], groups: ["*"]}]`)
	g := startWith(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  anonymous: true\n  list:\n"+reader.yaml, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	for authorization, want := range map[string]int{"": 200, "Bearer wrong": 401, "Bearer " + reader.token.Secret.Reveal(): 403} {
		header := map[string]string{"Accept": latest, "Content-Type": plain}
		if authorization != "" {
			header["Authorization"] = authorization
		}
		if got := send(t, "POST", g.url+v2Buckets, header, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"`+role+`"}`); got.status != want {
			t.Errorf("%.10q: %d %s, want %d", authorization, got.status, got.body, want)
		}
	}
}

// The listener speaks TLS, and a replaced certificate serves the next connection while
// clients run; a pair of files that does not fit leaves the last one.
func TestListenerTLS(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	reader := issue(t, "reader", `[{operations: [read], groups: ["*"]}]`)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca, caKey := certificate(t, nil, nil, time.Hour)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	var stamp time.Time
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp = stamp.Add(time.Second) // coarse clocks of file systems
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	key := func(k *ecdsa.PrivateKey) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	stamp = time.Now().Add(-time.Hour)
	first, firstKey := certificate(t, ca, caKey, time.Hour, net.IPv4(127, 0, 0, 1))
	write(certFile, "CERTIFICATE", first.Raw)
	write(keyFile, "PRIVATE KEY", key(firstKey))
	g := startFor(t, atlas, "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}\n", reader)
	get := func() *x509.Certificate {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 10 * time.Second}
		request, err := http.NewRequestWithContext(context.Background(), "GET", "https://"+g.address+v2Exports, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		request.Header.Set("Authorization", "Bearer "+reader.token.Secret.Reveal())
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), `"href":"https://`+g.address) {
			t.Errorf("%d %s %v", response.StatusCode, body, err)
		}
		return response.TLS.PeerCertificates[0]
	}
	if !get().Equal(first) {
		t.Error("another certificate than the first")
	}
	second, secondKey := certificate(t, ca, caKey, time.Hour, net.IPv4(127, 0, 0, 1))
	offset := len(g.logs.String())
	write(certFile, "CERTIFICATE", second.Raw)
	if line := g.await(t, offset, "the configuration was"); !strings.Contains(line, "refused; the one before stays") || !get().Equal(first) {
		t.Errorf("a certificate without its key was used: %s", line)
	}
	offset = len(g.logs.String())
	write(keyFile, "PRIVATE KEY", key(secondKey))
	if line := g.await(t, offset, "the configuration was"); !strings.Contains(line, "reloaded") {
		t.Error(line)
	}
	if !get().Equal(second) {
		t.Error("another certificate than the second")
	}
	if answer := raw(t, g.address, request("GET /", "")); strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("plain HTTP: %s", answer)
	}
	waitFor(t, "net/http's own log", func() bool {
		return strings.Contains(g.logs.String(), "client sent an HTTP request to an HTTPS server\"}\n")
	})
}

// A refusal is not held back by content that was announced and does not come, and the
// record of a request names the key that was shown.
func TestRefusalDoesNotWaitForContent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g := startFor(t, atlas, "timeouts: {request: 30s}\n", nightly)
	for _, line := range []string{"POST " + v2Exports, "POST /nothing", "POST /api/oauth/token"} {
		answer := raw(t, g.address, line+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\nAuthorization: Bearer wrong\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 40") {
			t.Errorf("%s: %q", line, answer)
		}
	}
	if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest, "Authorization": "Bearer " + nightly.token.Secret.Reveal()}, ""); got.status != 200 {
		t.Fatal(got)
	}
	if logs := g.logs.String(); !strings.Contains(logs, `"caller":"nightly","key":"`) {
		t.Errorf("logs: %s", logs)
	}
}
