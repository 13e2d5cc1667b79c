package callers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"

	"github.com/google/go-cmp/cmp"
)

// named returns a change of a certificate: its URIs and its DNS names, between spaces.
func named(t *testing.T, uris, dns string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, text := range strings.Fields(uris) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		c.DNSNames = strings.Fields(dns)
	}
}

// namedCase is a change of a certificate, and what becomes of it: the caller's name and key, or
// the reason for which there is none.
type namedCase struct {
	change func(*x509.Certificate)
	want   string
}

// distinguished gives a certificate a subject of several attributes.
func distinguished(t *testing.T) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		at := func(oid asn1.ObjectIdentifier, value string) pkix.AttributeTypeAndValue {
			return pkix.AttributeTypeAndValue{Type: oid, Value: value}
		}
		dc, ou := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, asn1.ObjectIdentifier{2, 5, 4, 11}
		raw, err := asn1.Marshal(pkix.RDNSequence{
			{at(dc, "example")}, {at(dc, "corp")}, {at(asn1.ObjectIdentifier{2, 5, 4, 10}, "Acme")}, {at(ou, "x"), at(ou, "y")}, {at(asn1.ObjectIdentifier{2, 5, 4, 3}, "a,b")},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.RawSubject = raw
	}
}

func namedCases(t *testing.T) map[string]namedCase {
	dn := distinguished(t)
	return map[string]namedCase{
		"exact":                      {named(t, "spiffe://prod/ns/backups/sa/exporter", ""), "exact spiffe://prod/ns/backups/sa/exporter"},
		"a glob":                     {named(t, "spiffe://prod/ns/other/sa/x", ""), "wide spiffe://prod/ns/other/sa/x"},
		"a glob and a slash":         {named(t, "spiffe://prod/ns/other/more/sa/x", ""), "certificate_unknown"},
		"another trust domain":       {named(t, "spiffe://prod.evil/ns/backups/sa/exporter", ""), "certificate_unknown"},
		"two stars":                  {named(t, "https://ci.example.com/a/b", ""), "wide https://ci.example.com/a/b"},
		"a port":                     {named(t, "https://ci.example.com:444/a/b", ""), "certificate_unknown"},
		"two URIs":                   {named(t, "spiffe://prod/ns/backups/sa/exporter https://x.example", ""), "certificate_malformed"},
		"two URIs, and a DNS name":   {named(t, "spiffe://prod/ns/a/sa/b spiffe://prod/ns/a/sa/c", "exporter.example.com"), "exact exporter.example.com"},
		"dots in a SPIFFE id":        {named(t, "spiffe://prod/ns/a/sa/..", ""), "certificate_malformed"},
		"an empty segment":           {named(t, "spiffe://prod/ns//sa/x", ""), "certificate_malformed"},
		"an escape":                  {named(t, "spiffe://prod/ns/a%2Fb/sa/x", ""), "certificate_malformed"},
		"a query":                    {named(t, "spiffe://prod/ns/a/sa/x?y", ""), "certificate_malformed"},
		"a SPIFFE id without a path": {named(t, "spiffe://prod", ""), "certificate_malformed"},
		"a SPIFFE id of one who may sign": {func(c *x509.Certificate) {
			named(t, "spiffe://prod/ns/a/sa/x", "")(c)
			c.KeyUsage |= x509.KeyUsageCertSign
		}, "certificate_malformed"},
		"a DNS name in capitals":         {named(t, "", "EXPORTER.example.COM"), "exact exporter.example.com"},
		"the second of the DNS names":    {named(t, "", "x.example.com a.jobs.example.com"), "wide a.jobs.example.com"},
		"two labels for a star":          {named(t, "", "a.b.jobs.example.com jobs.example.com .jobs.example.com"), "certificate_unknown"},
		"a certificate for many hosts":   {named(t, "", "*.jobs.example.com *.example.com"), "certificate_unknown"},
		"a subject":                      {dn, `anonymous CN=a\,b,OU=x+OU=y,O=Acme,DC=corp,DC=example`},
		"a subject with more":            {func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "root", Organization: []string{"x"}} }, "certificate_unknown"},
		"a subject like others, in one":  {func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "root,O=x"} }, "certificate_unknown"},
		"the common name is no DNS name": {func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "exporter.example.com"} }, "certificate_unknown"},
		"expired": {func(c *x509.Certificate) {
			named(t, "", "exporter.example.com")(c)
			c.NotAfter = time.Now().Add(-time.Second)
		}, "certificate_expired"},
		"not valid yet": {func(c *x509.Certificate) {
			named(t, "", "exporter.example.com")(c)
			c.NotBefore = time.Now().Add(time.Minute)
		}, "certificate_expired"},
		"for servers only": {func(c *x509.Certificate) {
			named(t, "", "exporter.example.com")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, "certificate_untrusted"},
		"a long name, with what is hidden": {func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: "root"}
			named(t, "https://ci.example.com/"+strings.Repeat("x", 200), "")(c)
		}, "wide https://ci.example.com/" + strings.Repeat("x", 77)},
	}
}

// Which caller a certificate is: the first of the list that has a name of it.
func TestCertificateNames(t *testing.T) {
	t.Parallel()
	authority, other := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	d := compile(t, callers.Config{List: []callers.Entry{
		{Name: "exact", Certificates: []callers.CertificateName{{URI: "spiffe://prod/ns/backups/sa/exporter"}, {DNS: "exporter.example.com"}}},
		{Name: "wide", Certificates: []callers.CertificateName{{URI: "spiffe://prod/ns/*/sa/*"}, {DNS: "*.jobs.example.com"}, {URI: "https://ci.example.com/**"}}},
		{Name: "anonymous", Certificates: []callers.CertificateName{{Subject: `CN=a\,b,OU=x+OU=y,O=Acme,DC=corp,DC=example`}, {Subject: "CN=root"}}},
	}})
	for name, test := range namedCases(t) {
		certificate := authority.Client(t, test.change)
		who, lines := d.ExplainCertificate([]*x509.Certificate{certificate.Leaf}, authority.Pool, time.Now())
		got := who.Name + " " + who.Key
		if who == (callers.Caller{}) {
			got, _, _ = strings.Cut(lines[len(lines)-1], ":")
		} else if who.Form != callers.Certificate || who.IsAnonymous() || !strings.HasSuffix(lines[len(lines)-1], "] ("+who.Name+"): matches") {
			t.Errorf("%s: %+v, %s", name, who, lines)
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s; %s", name, got, test.want, lines)
		}
		if who, lines := d.ExplainCertificate([]*x509.Certificate{certificate.Leaf}, other.Pool, time.Now()); who.Name != "" || !strings.Contains(lines[len(lines)-1], "certificate_") {
			t.Errorf("%s, of an authority that is not trusted: %s", name, lines)
		}
	}
	below := authority.Below(t)
	leaf := below.Client(t, named(t, "", "exporter.example.com"))
	if who, lines := d.ExplainCertificate([]*x509.Certificate{leaf.Leaf}, below.Pool, time.Now()); who.Name != "exact" {
		t.Errorf("of an authority that is trusted, and not a root: %s", lines)
	}
	if _, lines := d.ExplainCertificate([]*x509.Certificate{leaf.Leaf}, nil, time.Now()); !slices.Equal(lines, []string{"dns      exporter.example.com", "subject  CN=client", "listener.client_ca_file is not set, so that no certificate counts"}) {
		t.Errorf("%q", lines)
	}
}

// A name in certificates has an end, can be disabled and is bound to networks like every key, and
// its use is noted.
func TestCertificatesAreKeys(t *testing.T) {
	t.Parallel()
	authority, clock := gatewaytest.NewAuthority(t), newClock()
	name := func(dns string, v callers.Validity) callers.CertificateName {
		return callers.CertificateName{DNS: dns, Validity: v}
	}
	a := build(t, callers.Config{List: []callers.Entry{
		{Name: "a", Certificates: []callers.CertificateName{
			name("good.example", callers.Validity{NotAfter: clock.now().Add(time.Minute).Format(time.RFC3339)}),
			name("off.example", callers.Validity{Disabled: true}),
		}},
		{Name: "b", Certificates: []callers.CertificateName{name("far.example", callers.Validity{})}, SourceNetworks: []string{"10.0.0.0/8"}},
		{Name: "c", Certificates: []callers.CertificateName{name("gone.example", callers.Validity{})}, Disabled: true},
		{Name: "d", Certificates: []callers.CertificateName{name("*.example", callers.Validity{})}},
	}}, callers.Options{ClientCAs: authority.Pool, Now: clock.now})
	try := func(dns string, want callers.Reason) {
		t.Helper()
		r := newRequest(nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{authority.Client(t, named(t, "", dns)).Leaf}}
		who, err := a.Authenticate(r, netip.Addr{})
		refusal, _ := errors.AsType[*callers.Refusal](err)
		if want == "" && err != nil || want != "" && (refusal == nil || refusal.Reason != want || refusal.Tried != dns || len(refusal.Challenge) != 1) {
			t.Errorf("%s: %+v, %v, want %q", dns, who, err, want)
		}
	}
	try("good.example", "")
	try("off.example", callers.KeyDisabled) // and not the caller of a later name
	try("far.example", callers.SourceNetwork)
	try("gone.example", callers.KeyDisabled)
	try("other.example", "")
	clock.pass(2 * time.Minute)
	try("good.example", callers.KeyExpired)
	keys := a.List()[0].Keys
	if k := keys[0]; k.KeyName != (callers.KeyName{Caller: "a", Form: callers.Certificate, Key: "good.example"}) || k.Path != "list[0].certificates[0]" || k.LastUsed.IsZero() || !keys[1].LastUsed.IsZero() {
		t.Errorf("%+v", keys)
	}
}

// Names that would never match, or match too much, are refused, each with its path.
func TestCertificateNamesAreRefused(t *testing.T) {
	t.Parallel()
	name := func(uri, dns, subject string) callers.CertificateName {
		return callers.CertificateName{URI: uri, DNS: dns, Subject: subject}
	}
	c := callers.Config{List: []callers.Entry{
		{Name: "a", Certificates: []callers.CertificateName{
			name("", "", ""), name("spiffe://prod/x", "x.example", ""), name("spiffe://*/x", "", ""), name("*", "", ""), name("spiffe://prod", "", ""),
			name("spiffe://Prod/x", "", ""), name("spiffe://prod/x/", "", ""), name("spiffe://prod/***", "", ""), name("https://user@host/*", "", ""),
			name("", "a.*.example", ""), name("", "*", ""), name("", "a b", ""), name("", "x.example.", ""),
			name("", "", "CN=a, O=b"), name("", "", "exporter"), name("", "", strings.Repeat("CN=a", 300)),
			name("", "twice.example", ""), name("https://good.example/*", "", ""), name("", "", `CN=a\, b`),
		}},
		{Name: "b", Certificates: []callers.CertificateName{name("", "twice.example", "")}},
	}}
	const (
		one    = "expected exactly one of uri, dns and subject"
		uri    = "expected scheme://host/path, with stars only in the path"
		spiffe = "expected spiffe://trust-domain/path, the trust domain in lower case, without empty segments and a slash at the end"
		dns    = "expected a DNS name; a star may stand for its first label"
	)
	want := []string{
		"[0]: " + one, "[1]: " + one, "[2].uri: " + uri, "[3].uri: " + uri, "[4].uri: " + spiffe, "[5].uri: " + spiffe, "[6].uri: " + spiffe,
		"[7].uri: has three stars in a row; expected * or **", "[8].uri: " + uri, "[9].dns: " + dns, "[10].dns: " + dns, "[11].dns: " + dns, "[12].dns: " + dns,
		"[13].subject: has a space after a comma; RFC 4514 writes none, as in CN=exporter,O=Acme",
		"[14].subject: expected a subject as RFC 4514 writes it, such as CN=exporter,O=Acme", "[15].subject: is too long",
	}
	for i := range want {
		want[i] = "list[0].certificates" + want[i]
	}
	want = append(want, "list[1].certificates[0]: another certificate has the same name; the first one is the caller")
	slices.Sort(want)
	if diff := cmp.Diff(want, reports(t, c, true)); diff != "" {
		t.Error(diff)
	}
}

// A certificate that expires while its connection is open is good no longer, nor is it once its
// authority has expired; a clock that was set back makes neither good that was not valid then.
func TestCertificateExpiresOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	authority, clock := gatewaytest.NewAuthority(t), newClock()
	expires := clock.now().Add(2 * time.Hour) // an hour after the authority
	certificate := authority.Client(t, func(c *x509.Certificate) {
		named(t, "", "a.example")(c)
		c.NotAfter = expires
	})
	short := authority.Client(t, func(c *x509.Certificate) {
		named(t, "", "a.example")(c)
		c.NotAfter = clock.now().Add(time.Minute)
	})
	c := callers.Config{List: []callers.Entry{{Name: "a", Certificates: []callers.CertificateName{{DNS: "a.example"}}}}}
	a := build(t, c, callers.Options{ClientCAs: authority.Pool, Now: clock.now})
	server := httptest.NewUnstartedServer(handler(func() *callers.Authenticator { return a }))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	var opened atomic.Int64
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		opened.Add(1)
		return callers.WithConnection(ctx)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	connect := func(certificate *gatewaytest.Certificate) func(want string) {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = []tls.Certificate{certificate.Certificate}
		t.Cleanup(transport.CloseIdleConnections)
		return func(want string) {
			t.Helper()
			response, err := (&http.Client{Transport: transport}).Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, err := io.ReadAll(response.Body); err != nil || string(text) != want {
				t.Errorf("%s %v, want %s", text, err, want)
			}
		}
	}
	long, brief := connect(certificate), connect(short)
	long("a certificate")
	brief("a certificate")
	clock.pass(59 * time.Second)
	brief("a certificate")
	clock.pass(2 * time.Second)
	brief("certificate_expired")
	long("a certificate")
	clock.pass(time.Hour)
	long("certificate_expired")
	clock.pass(-time.Hour)
	long("a certificate")
	clock.pass(-3 * time.Hour)
	long("certificate_expired")
	brief("certificate_expired")
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}
