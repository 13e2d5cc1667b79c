package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

const workload = "spiffe://prod/ns/backups/sa/exporter"

// withCertificates are settings for one caller, who has a client certificate and may do
// everything, and the variables of a listener that asks for it.
func withCertificates(t *testing.T, uri, caFile string, own *gatewaytest.Certificate) (settings string, environ []string) {
	t.Helper()
	return fmt.Sprintf("callers: {list: [{name: exporter, certificates: [{uri: %q}], grants: [{operations: [manage], groups: [%q]}]}]}\n", uri, "*"),
		append(own.Environ(t), "ATLAS_GATEWAY_LISTENER_CLIENT_CA_FILE="+caFile)
}

// A shown is a client that shows its certificate to whoever asks, and resumes sessions.
type shown struct {
	http.Client
	url string
}

func show(t *testing.T, p *process, own *gatewaytest.Authority, certificate *gatewaytest.Certificate, version uint16) *shown {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: own.Pool, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if certificate == nil {
				return &tls.Certificate{}, nil
			}
			return &certificate.Certificate, nil
		},
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &shown{http.Client{Transport: transport, Timeout: 10 * time.Second}, strings.Replace(p.Listener, "http:", "https:", 1)}
}

// get returns the status of a list, and 0 where the handshake fails.
func (s *shown) get(t *testing.T, fields ...string) (status int, resumed bool) {
	t.Helper()
	request, err := http.NewRequest("GET", s.url+buckets, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range append(fields, accept) {
		name, value, _ := strings.Cut(field, ": ")
		request.Header.Set(name, value)
	}
	response, err := s.Do(request)
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body) // so that the connection is kept
	return response.StatusCode, response.TLS.DidResume
}

// No certificate but a caller's own opens anything, and no field takes its place.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	caFile := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "clients.pem"), clients.PEM)
	settings, environ := withCertificates(t, workload, caFile, own.Loopback(t))
	p := serveFor(t, atlas.URL(), settings, environ...)
	right := clients.Workload(t, workload)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, test := range map[string]struct {
			certificate *gatewaytest.Certificate
			fields      []string
			want        int // 0 for a handshake that fails
		}{
			"none":                 {nil, nil, 401},
			"a stranger's":         {clients.Workload(t, workload+"2"), nil, 401},
			"of another authority": {gatewaytest.NewAuthority(t).Workload(t, workload), nil, 0},
			"of the system's":      {own.Workload(t, workload), nil, 0}, // an authority that only clients trust
			"self-signed":          {gatewaytest.NewAuthority(t).Own(), nil, 0},
			"a server's": {clients.Client(t, func(c *x509.Certificate) {
				c.URIs = right.Leaf.URIs
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}), nil, 0},
			"expired":              {clients.Client(t, func(c *x509.Certificate) { c.URIs = right.Leaf.URIs; c.NotAfter = time.Now().Add(-time.Second) }), nil, 0},
			"a field of a proxy's": {nil, []string{"X-Forwarded-Client-Cert: By=spiffe://gateway;Hash=00;URI=" + workload}, 401},
			"fields of proxies":    {nil, []string{"X-SSL-Client-Verify: SUCCESS", "X-SSL-Client-S-DN: CN=client", "Client-Cert: :MIIB:"}, 401}, // RFC 9440
			"right, and a bad key": {right, []string{"Authorization: Bearer agw_st_guess"}, 401},
		} {
			if got, _ := show(t, p, own, test.certificate, version).get(t, test.fields...); got != test.want {
				t.Errorf("%s: %d, want %d", name, got, test.want)
			}
		}
	}
	untouched(t, atlas, "certificates that are wrong")
	p.stop(t)
	if log := p.stderr.String(); strings.Contains(log, "TLS handshake error") || !strings.Contains(log, "the certificates of clients were refused") {
		t.Errorf("handshakes that failed are not rolled up: %s", log)
	}
}

// Trust that has ended ends at once: in new handshakes, in those that resume a session, and on
// connections that are open.
func TestClientCertificatesAfterTrustHasEnded(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	caFile := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "clients.pem"), clients.PEM)
	settings, environ := withCertificates(t, workload, caFile, own.Loopback(t))
	p := serveFor(t, atlas.URL(), settings, environ...)
	right := clients.Workload(t, workload)
	open, resuming := map[uint16]*shown{}, map[uint16]*shown{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		open[version], resuming[version] = show(t, p, own, right, version), show(t, p, own, right, version)
		for _, client := range []*shown{open[version], resuming[version], resuming[version]} {
			if client == resuming[version] {
				client.CloseIdleConnections()
			}
			if got, _ := client.get(t); got != 200 {
				t.Fatalf("with the right certificate: %d", got)
			}
		}
		resuming[version].CloseIdleConnections()
		if got, resumed := resuming[version].get(t); got != 200 || !resumed {
			t.Fatalf("the test resumes no session: %d %t", got, resumed)
		}
		resuming[version].CloseIdleConnections()
	}
	before := atlas.Counts().Requests
	gatewaytest.ReplaceFile(t, caFile, gatewaytest.NewAuthority(t).PEM)
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	gatewaytest.WaitFor(t, "the reload", func() bool { return strings.Contains(p.stderr.String(), "the configuration was reloaded") })
	for version := range open {
		if got, _ := open[version].get(t); got != 401 {
			t.Errorf("on an open connection, without the authority: %d", got)
		}
		if got, _ := resuming[version].get(t); got != 0 {
			t.Errorf("with a session that is resumed, without the authority: %d", got)
		}
	}
	if n := atlas.Counts().Requests - before; n != 0 {
		t.Errorf("%d requests at Atlas, without the authority", n)
	}
	p.stop(t)
}

// explain says whose a certificate is, or why it is nobody's.
func TestExplainCertificate(t *testing.T) {
	t.Parallel()
	dir, clients := t.TempDir(), gatewaytest.NewAuthority(t)
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	settings, environ := withCertificates(t, "spiffe://prod/ns/backups/sa/*", file("clients.pem", clients.PEM), clients.Loopback(t))
	config := file("gateway.yaml", "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n"+settings)
	below := clients.Below(t)
	right, stranger := file("right.pem", below.Workload(t, workload).With(below).CertPEM), file("stranger.pem", clients.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }).CertPEM)
	list := []string{"-operation", "listExportBuckets", "-group", "64f0c1a2b3d4e5f607182930"}
	for _, test := range []struct {
		arguments []string
		status    int
		want      string
	}{
		{[]string{"-certificate", right}, exitOK, "uri      " + workload + "\nsubject  CN=client\ncallers.list[0].certificates[0] (exporter): matches\nthe caller is exporter\n"},
		{append([]string{"-certificate", right}, list...), exitOK, "the caller is exporter\ngrants[0] allows it\n"},
		{[]string{"-certificate", stranger}, exitDenied, "dns      a.example\nsubject  CN=client\ncertificate_unknown: no caller has a name of the certificate\nthe certificate is no caller's\n"},
		{append([]string{"-certificate", stranger}, list...), exitDenied, "certificate_unknown: "},
		{[]string{"-certificate", file("other.pem", gatewaytest.NewAuthority(t).Workload(t, workload).CertPEM)}, exitDenied, "certificate_untrusted: "},
		{[]string{"-certificate", file("none.pem", "x")}, exitUsage, "atlas-gateway: explain: the certificate: the file holds no PEM certificate\n"},
		{[]string{"-certificate", filepath.Join(dir, "no.pem")}, exitUsage, "no such file"},
		{[]string{"-certificate", right, "-caller", "exporter"}, exitUsage, "-token-file or -certificate tells the caller"},
		{[]string{"-certificate", right, "-operation", "listExportBuckets"}, exitUsage, "-group goes with -operation"},
	} {
		status, output := runProgram(t, append(append([]string{"explain"}, test.arguments...), config), environ...)
		if status != test.status || !strings.Contains(output, test.want) {
			t.Errorf("%q: %d, want %d\n%s", test.arguments, status, test.status, output)
		}
	}
}
