package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// A certGateway is a gateway that looks at the certificates of clients.
type certGateway struct {
	*gatewaytest.Gateway
	upstream *gatewaytest.Upstream
	clients  *gatewaytest.Authority // of the certificates of clients
	caFile   string                 // trusts clients, at first
	listener string                 // the settings of the listener without a bracket at the end
	own      *x509.CertPool         // trusts the gateway's certificate
}

// startCertificates serves a gateway whose listener has more settings, such as ", hosts: [a]".
func startCertificates(t testing.TB, more string, list ...*gatewaytest.Caller) *certGateway {
	t.Helper()
	authority := gatewaytest.NewAuthority(t)
	certFile, keyFile := authority.Loopback(t).WriteFiles(t)
	g := &certGateway{
		upstream: gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job))),
		clients:  gatewaytest.NewAuthority(t),
		caFile:   filepath.Join(t.TempDir(), "clients.pem"),
		own:      authority.Pool,
	}
	gatewaytest.WriteFile(t, g.caFile, g.clients.PEM)
	g.listener = fmt.Sprintf("listener: {tls_cert_file: %q, tls_key_file: %q, client_ca_file: %q", certFile, keyFile, g.caFile)
	g.Gateway = gatewaytest.Start(t, g.yaml(more, list...))
	return g
}

func (g *certGateway) yaml(more string, list ...*gatewaytest.Caller) string {
	text := gatewaytest.YAML(g.upstream.URL, g.listener+more+"}\nbudget: {requests: 1000000, per_minute: 1000000}\n"+eachSent, list...)
	return strings.Replace(text, "callers:\n", "callers:\n  attempts: {per_client: 1000}\n", 1)
}

// bound returns a caller of the list that has only certificates, in YAML.
func bound(name, certificates, grants string) *gatewaytest.Caller {
	return &gatewaytest.Caller{Name: name, YAML: fmt.Sprintf("  - name: %s\n    certificates: %s\n    grants: %s\n", name, certificates, grants)}
}

// protocols are the versions of TLS and HTTP that clients speak.
var protocols = map[string]func(*http.Transport){
	"TLS 1.2, HTTP/1.1": func(c *http.Transport) { c.TLSClientConfig.MaxVersion, c.ForceAttemptHTTP2 = tls.VersionTLS12, false },
	"TLS 1.2, HTTP/2":   func(c *http.Transport) { c.TLSClientConfig.MaxVersion = tls.VersionTLS12 },
	"TLS 1.3, HTTP/1.1": func(c *http.Transport) { c.ForceAttemptHTTP2 = false },
	"TLS 1.3, HTTP/2":   func(*http.Transport) {},
}

// A certClient shows its certificate to whoever asks for one, and resumes sessions.
type certClient struct {
	http.Client
	url string
}

// client returns a client. The certificate may be nil.
func (g *certGateway) client(t testing.TB, certificate *gatewaytest.Certificate, protocol string) *certClient {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, ResponseHeaderTimeout: 20 * time.Second, TLSClientConfig: &tls.Config{
		RootCAs:            g.own,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		// Certificates would be held back from a server that names other authorities.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if certificate == nil {
				return &tls.Certificate{}, nil
			}
			return &certificate.Certificate, nil
		},
	}}
	protocols[protocol](transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &certClient{http.Client{Transport: transport, Timeout: 20 * time.Second}, g.URL}
}

// An answered is an answer, or the error where there was none.
type answered struct {
	status    int
	challenge string
	resumed   bool
	protocol  string
}

// send sends a request with an Authorization field, unless that is empty.
func (c *certClient) send(method, target, authorization, body string) (answered, error) {
	request, err := http.NewRequest(method, c.url+target, strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	for name, value := range as(authorization) {
		request.Header.Set(name, value)
	}
	response, err := c.Do(request)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return answered{response.StatusCode, response.Header.Get("WWW-Authenticate"), response.TLS.DidResume, response.Proto}, err
}

// get gets what the upstream of these tests has.
func (c *certClient) get(authorization string) (answered, error) {
	return c.send("GET", v2Exports+"/"+jobID, authorization, "")
}

const readOnly = `[{operations: [read], groups: ["*"]}]`

// A certificate is a caller's, a stranger's, or ends the handshake. An Authorization field decides
// where there is one.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	keyed := gatewaytest.Issue(t, "keyed", readOnly)
	g := startCertificates(t, "", keyed,
		bound("exporter", `[{uri: "spiffe://prod/ns/backups/sa/*"}]`, everything),
		bound("anonymous", `[{dns: "reader.example.com"}]`, readOnly))
	mine := g.clients.Workload(t, "spiffe://prod/ns/backups/sa/nightly")
	below := g.clients.Below(t)
	change := func(f func(*x509.Certificate)) *gatewaytest.Certificate {
		return g.clients.Client(t, func(c *x509.Certificate) {
			c.URIs = mine.Leaf.URIs
			f(c)
		})
	}
	reader := g.clients.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"reader.example.com"} })
	for name, test := range map[string]struct {
		certificate    *gatewaytest.Certificate
		authorization  string
		status         int    // 0 for a handshake that fails
		caller, reason string // in the record, or of the metric
	}{
		"a caller's":                           {mine, "", 200, `"caller":"exporter","key":"spiffe://prod/ns/backups/sa/nightly","form":"certificate"`, ""},
		"a caller's, of an authority between":  {below.Workload(t, "spiffe://prod/ns/backups/sa/x").With(below), "", 200, `"caller":"exporter"`, ""},
		"of a caller called anonymous":         {reader, "", 200, `"caller":"anonymous","key":"reader.example.com","form":"certificate"`, ""},
		"none":                                 {nil, "", 401, "", "no_credential"},
		"none, and a key":                      {nil, keyed.Bearer(), 200, `"caller":"keyed"`, ""},
		"a caller's, and the key of another":   {mine, keyed.Bearer(), 200, `"caller":"keyed"`, ""},
		"a caller's, and a wrong key":          {mine, "Bearer agw_st_wrong", 401, "", "wrong_credential"},
		"a caller's, and an empty field":       {mine, " ", 401, "", "malformed"},
		"of no caller":                         {g.clients.Workload(t, "spiffe://prod/ns/other/sa/nightly"), "", 401, `"tried":"spiffe://prod/ns/other/sa/nightly"`, "certificate_unknown"},
		"of no caller, and a key":              {g.clients.Workload(t, "spiffe://prod/ns/other/sa/nightly"), keyed.Bearer(), 200, `"caller":"keyed"`, ""},
		"with two URIs":                        {change(func(c *x509.Certificate) { c.URIs = append(slices.Clone(c.URIs), c.URIs[0]) }), "", 401, "", "certificate_malformed"},
		"expired":                              {change(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "", 0, "", "certificate_expired"},
		"not valid yet":                        {change(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "", 0, "", "certificate_expired"},
		"of another authority":                 {gatewaytest.NewAuthority(t).Workload(t, "spiffe://prod/ns/backups/sa/nightly"), "", 0, "", "certificate_untrusted"},
		"of nobody but itself":                 {gatewaytest.NewAuthority(t).Own(), "", 0, "", "certificate_untrusted"},
		"for servers only":                     {change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "", 0, "", "certificate_untrusted"},
		"of an authority between that is kept": {below.Workload(t, "spiffe://prod/ns/backups/sa/x"), "", 0, "", "certificate_untrusted"},
	} {
		for protocol := range protocols {
			before, offset := g.upstream.Signed.Load(), g.Log.Len()
			got, err := g.client(t, test.certificate, protocol).get(test.authorization)
			if (err != nil) != (test.status == 0) || got.status != test.status {
				t.Errorf("%s, %s: %+v %v, want %d", name, protocol, got, err, test.status)
			}
			if n := g.upstream.Signed.Load() - before; n != 0 && test.status != 200 {
				t.Errorf("%s, %s: %d requests at Atlas", name, protocol, n)
			}
			if err == nil && (got.protocol == "HTTP/2.0") != strings.HasSuffix(protocol, "HTTP/2") {
				t.Errorf("%s, %s: %s", name, protocol, got.protocol)
			}
			if test.status == 0 {
				gatewaytest.WaitFor(t, "the count of a handshake that failed", func() bool {
					series := `atlas_gateway_handshakes_refused_total{reason="` + test.reason + `"} `
					metrics := g.Metrics(t)
					return strings.Contains(metrics, series) && !strings.Contains(metrics, series+"0\n")
				})
				continue
			}
			record := g.Await(t, offset, `"msg":"request"`)
			if !strings.Contains(record, test.caller) || test.reason != "" && !strings.Contains(record, `"reason":"`+test.reason+`"`) {
				t.Errorf("%s, %s: %s", name, protocol, record)
			}
			// Whoever has a certificate of no caller can still show a key.
			if test.status == 401 && test.authorization == "" && !strings.HasPrefix(got.challenge, "Digest ") {
				t.Errorf("%s, %s: the challenge is %s", name, protocol, got.challenge)
			}
		}
	}
}

// What a caller may do goes by its entry, whatever the entry is called.
func TestGrantsOfCertificates(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, "", bound("exporter", `[{dns: "a.example"}]`, everything), bound("anonymous", `[{dns: "b.example"}]`, readOnly))
	for name, status := range map[string]int{"a.example": 200, "b.example": 403} {
		client := g.client(t, g.clients.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{name} }), "TLS 1.3, HTTP/2")
		if got, err := client.send("POST", v2Exports, "", export); err != nil || got.status != status {
			t.Errorf("a create: %+v %v, want %d", got, err, status)
		}
	}
}

// Handshakes that fail are in one record of the log, however many there are.
func TestFailedHandshakesAreRolledUp(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, ", client_certificates: required", bound("exporter", `[{dns: "a.example"}]`, everything))
	began := time.Now()
	stranger := gatewaytest.NewAuthority(t).Client(t, func(c *x509.Certificate) { c.Subject.CommonName = "\x1b[2J" })
	for i := range 6 {
		who := stranger
		if i == 5 {
			who = nil
		}
		if got, err := g.client(t, who, "TLS 1.2, HTTP/1.1").get(""); err == nil {
			t.Errorf("%+v", got)
		}
	}
	gatewaytest.WaitFor(t, "the counts", func() bool {
		metrics := g.Metrics(t)
		return strings.Contains(metrics, `atlas_gateway_handshakes_refused_total{reason="certificate_untrusted"} 5`) &&
			strings.Contains(metrics, `atlas_gateway_handshakes_refused_total{reason="certificate_required"} 1`)
	})
	g.Stop()
	g.Wait(t)
	log, count := g.Log.String(), 0
	records := regexp.MustCompile(`"msg":"handshakes failed, since the certificates of clients were refused","count":(\d+),"latest_peer":"127.0.0.1","latest_reason":"certificate_`).FindAllStringSubmatch(log, -1)
	for _, record := range records {
		n, _ := strconv.Atoi(record[1])
		count += n
	}
	// On a busy machine, the handshakes may take longer than the five seconds of one record.
	if most := 1 + int(time.Since(began)/(5*time.Second)); count != 6 || len(records) > most || strings.Contains(log, "TLS handshake error") || strings.Contains(log, "2J") {
		t.Error(log)
	}
}

// Where certificates are required, nobody without a good one gets as far as HTTP, not even with a
// key; and a key still decides.
func TestRequiredCertificates(t *testing.T) {
	t.Parallel()
	keyed := gatewaytest.Issue(t, "keyed", everything)
	g := startCertificates(t, ", client_certificates: required", keyed)
	stranger := g.clients.Client(t, nil)
	for protocol := range protocols {
		if got, err := g.client(t, nil, protocol).get(keyed.Bearer()); err == nil {
			t.Errorf("%s: without a certificate: %+v", protocol, got)
		}
		if got, err := g.client(t, stranger, protocol).get(keyed.Bearer()); err != nil || got.status != 200 {
			t.Errorf("%s: %+v %v", protocol, got, err)
		}
		if got, err := g.client(t, stranger, protocol).get(""); err != nil || got.status != 401 {
			t.Errorf("%s: without a key: %+v %v", protocol, got, err)
		}
	}
	// A session that was begun without a certificate is worth nothing once one is required.
	reloaded(t, g.Rewrite(t, g.yaml("", keyed)))
	for protocol := range protocols {
		reloaded(t, g.Rewrite(t, g.yaml("", keyed)))
		client := g.client(t, nil, protocol)
		if got, err := client.get(keyed.Bearer()); err != nil || got.status != 200 {
			t.Fatalf("%s: %+v %v", protocol, got, err)
		}
		reloaded(t, g.Rewrite(t, g.yaml(", client_certificates: required", keyed)))
		client.CloseIdleConnections()
		if got, err := client.get(keyed.Bearer()); err == nil {
			t.Errorf("%s: resumed without a certificate: %+v", protocol, got)
		}
	}
	// Nor is a connection that was opened before, or whose certificate is no longer trusted, whatever
	// key is shown on it.
	reloaded(t, g.Rewrite(t, g.yaml("", keyed)))
	none, trusted, account := g.client(t, nil, "TLS 1.3, HTTP/1.1"), g.client(t, stranger, "TLS 1.3, HTTP/2"), g.client(t, nil, "TLS 1.2, HTTP/2")
	for _, client := range []*certClient{none, trusted, account} {
		if got, err := client.get(keyed.Bearer()); err != nil || got.status != 200 {
			t.Fatalf("%+v %v", got, err)
		}
	}
	sent := g.upstream.Signed.Load()
	reloaded(t, g.Rewrite(t, g.yaml(", client_certificates: required", keyed)))
	if got, err := none.get(keyed.Bearer()); err != nil || got.status != 401 {
		t.Errorf("on a connection from before: %+v %v", got, err)
	}
	if status, token, content := account.token(t, keyed); status != 401 || token != "" || !strings.Contains(content, "invalid_client") {
		t.Errorf("a token on a connection from before: %d %s", status, content)
	}
	gatewaytest.ReplaceFile(t, g.caFile, gatewaytest.NewAuthority(t).PEM)
	reloaded(t, g.Reload(t))
	if got, err := trusted.get(keyed.Bearer()); err != nil || got.status != 401 {
		t.Errorf("without the authority: %+v %v", got, err)
	}
	if n := g.upstream.Signed.Load() - sent; n != 0 {
		t.Errorf("%d requests at Atlas", n)
	}
}

// On a listener that lets everyone in, a certificate of the list is that caller, with no more than
// its grants. One of nobody's counts as none.
func TestAnonymousListenerWithCertificates(t *testing.T) {
	t.Parallel()
	reader := bound("reader", `[{dns: "reader.example.com"}]`, readOnly)
	g := startCertificates(t, "", reader)
	anonymous := func(list ...*gatewaytest.Caller) string {
		return strings.Replace(g.yaml("", list...), "callers:\n", "callers:\n  anonymous: true\n", 1)
	}
	reloaded(t, g.Rewrite(t, anonymous(reader)))
	known := g.client(t, g.clients.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"reader.example.com"} }), "TLS 1.3, HTTP/1.1")
	stranger := g.client(t, g.clients.Client(t, nil), "TLS 1.3, HTTP/1.1")
	for name, test := range map[string]struct {
		client       *certClient
		method, body string
		status       int
		caller       string
	}{
		"a caller's read":               {known, "GET", "", 200, `"caller":"reader"`},
		"a caller's create":             {known, "POST", export, 403, `"caller":"reader"`},
		"a caller's, without content":   {known, "POST", "", 400, `"caller":"reader"`}, // no challenge: the certificate is enough
		"a stranger's read":             {stranger, "GET", "", 200, `"caller":"anonymous","form":"anonymous"`},
		"a stranger's create":           {stranger, "POST", export, 200, `"caller":"anonymous","form":"anonymous"`},
		"a stranger's, without content": {stranger, "POST", "", 401, `"reason":"certificate_unknown"`},
		"one's without any, and a read": {g.client(t, nil, "TLS 1.2, HTTP/2"), "GET", "", 200, `"caller":"anonymous","form":"anonymous"`},
	} {
		offset := g.Log.Len()
		target := v2Exports
		if test.method == "GET" {
			target += "/" + jobID
		}
		got, err := test.client.send(test.method, target, "", test.body)
		record := g.Await(t, offset, `"msg":"request"`)
		if err != nil || got.status != test.status || !strings.Contains(record, test.caller) {
			t.Errorf("%s: %+v %v, %s", name, got, err, record)
		}
	}
	// An authority that is no longer trusted: the certificate is wrong, and not nobody's.
	gatewaytest.ReplaceFile(t, g.caFile, gatewaytest.NewAuthority(t).PEM)
	reloaded(t, g.Reload(t))
	for _, client := range []*certClient{known, stranger} {
		if got, err := client.get(""); err != nil || got.status != 401 {
			t.Errorf("after its authority was removed: %+v %v", got, err)
		}
	}
}

// A page of another site can't use the certificate that a browser shows for it.
func TestCertificatesAndPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, ", public_url: 'https://exports.example.com'", bound("person", `[{subject: "CN=client"}]`, everything))
	client := g.client(t, g.clients.Client(t, nil), "TLS 1.3, HTTP/1.1")
	for fields, status := range map[string]int{
		"":                                       200,
		"Sec-Fetch-Site: none":                   200,
		"Sec-Fetch-Site: same-origin":            200,
		"Origin: https://exports.example.com":    200,
		"Origin: https://evil.example":           403,
		"Origin: null":                           403,
		"Sec-Fetch-Site: cross-site":             403,
		"Sec-Fetch-Site: same-site":              403,
		"X-Forwarded-Client-Cert: Subject=\"x\"": 200, // not looked at
	} {
		before := g.upstream.Signed.Load()
		request, err := http.NewRequest("GET", g.URL+v2Exports+"/"+jobID, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		if name, value, ok := strings.Cut(fields, ": "); ok {
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status || (g.upstream.Signed.Load() == before) != (status == 403) {
			t.Errorf("%q: %d, and %d requests at Atlas", fields, response.StatusCode, g.upstream.Signed.Load()-before)
		}
	}
}
