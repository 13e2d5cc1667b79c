package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A client certificate takes the place of a credential at a gateway that knows it, from each place
// that a setting can come from, and a refused one has a hint.
func TestClientCert(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), text)
	}
	settings := strings.Replace(own.Loopback(t).TLS(t), "}", fmt.Sprintf(", client_ca_file: %q, client_certificates: required}", file("clients.pem", clients.PEM)), 1)
	g := gatewaytest.StartFor(t, atlas.URL(), settings, &gatewaytest.Caller{YAML: "  - {name: exporter, certificates: [{uri: 'spiffe://prod/exporter'}], grants: [{operations: [manage], groups: ['*']}]}\n"})
	right, other := clients.Workload(t, "spiffe://prod/exporter"), gatewaytest.NewAuthority(t).Workload(t, "spiffe://prod/exporter")
	cert, key := file("cert.pem", right.CertPEM), file("key.pem", right.KeyPEM)
	both := file("both.pem", right.CertPEM+right.KeyPEM)
	wrong := file("wrong.pem", other.CertPEM+other.KeyPEM)
	authorities := file("authorities.pem", own.PEM)
	profile := file("config.yaml", "profiles:\n  default:\n    client_cert: cert.pem\n    client_key: key.pem\n")
	const hint = `hint: the server asks for a client certificate, or does not trust the one that was shown; --client-cert FILE and --client-key FILE, or the settings client_cert and client_key, name one\n$`
	for _, test := range []struct {
		args, env string
		status    int
		stderr    string
	}{
		{"--client-cert " + cert + " --client-key " + key, "", exitOK, "^$"},
		{"--client-cert " + both, "", exitOK, "^$"},
		{"--client-key " + key, "ATLAS_EXPORT_CLIENT_CERT=" + cert, exitOK, "^$"},
		{"", "ATLAS_EXPORT_CONFIG=" + profile, exitOK, "^$"},
		{"", "", exitUnavailable, `(?s)^atlas-export: listExportBuckets: .*certificate.*\n` + hint},
		{"--client-cert " + wrong, "", exitUnavailable, `(?s)^atlas-export: listExportBuckets: .*certificate.*\n` + hint},
		{"--client-cert " + cert, "", exitInvalid, `^atlas-export: client_cert from flag --client-cert, with client_key: tls: `},
		{"--client-cert /dev/zero", "", exitInvalid, `larger than 1048576 bytes\n$`},
		{"--client-key " + key, "", exitInvalid, `^atlas-export: client_key is set from flag --client-key, and client_cert is not\n$`},
	} {
		args := append(strings.Fields("buckets list -o name --retries 0 --group 64f0c1a2b3d4e5f607182930 --base-url "+g.URL+" --ca-file "+authorities), strings.Fields(test.args)...)
		// The server's alert may be lost, since the client may still write when the connection ends.
		for try := 1; ; try++ {
			var stdout, stderr strings.Builder
			status := run(t.Context(), args, []string{"HOME=" + dir, test.env}, nil, &stdout, &stderr)
			matches := regexp.MustCompile(test.stderr).MatchString(stderr.String())
			if status == test.status && !matches && status == exitUnavailable && try < 20 {
				continue
			}
			if status != test.status || !matches {
				t.Errorf("%s %s: exit status %d: %s", test.args, test.env, status, &stderr)
			}
			break
		}
	}
}

// A server that ends the connection without a word of certificates may want one; one that speaks no
// TLS does not.
func TestClientCertHintWithoutReason(t *testing.T) {
	failure := &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}
	broken := &net.OpError{Op: "write", Err: syscall.EPIPE}
	for _, test := range []struct {
		err    error
		hinted bool
	}{
		{&url.Error{URL: "https://h/", Err: failure}, true},
		{&url.Error{URL: "https://h/", Err: broken}, true},
		{&url.Error{URL: "http://h/", Err: broken}, false},
		{&url.Error{URL: "https://h/", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, false},
	} {
		if hint := certificateHint(test.err); strings.Contains(hint, "it may ask for a client certificate") != test.hinted {
			t.Errorf("the hint for %v is %q", test.err, hint)
		}
	}
}

// Over HTTP/2, net/http may lose the alert of a server that wants a client certificate. What it
// says instead has a hint, too.
func TestClientCertHintWithoutAlert(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2, server.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	conn, err := server.Client().Transport.(*http.Transport).NewClientConn(t.Context(), "https", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	gatewaytest.WaitFor(t, "the end of the connection", func() bool { return conn.Err() != nil })
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.RoundTrip(request)
	if err == nil {
		t.Fatal("an answer")
	}
	if hint := certificateHint(err); !strings.HasPrefix(hint, "the server ended the connection at once; it may ask for a client certificate") {
		t.Errorf("the hint for %v is %q", err, hint)
	}
}
