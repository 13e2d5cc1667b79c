package callers

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"regexp"
	"slices"
	"strings"

	"atlas-export-gateway/gateway/callers/glob"
)

// certNames are the names in a certificate.
type certNames struct {
	uri     string // the only one that counts; empty if there is none
	fault   string // why there is none although the certificate has URIs
	uris    []string
	dns     []string // in lower case
	subject string
}

// readNames reads the names of a certificate.
func readNames(c *x509.Certificate) certNames {
	n := certNames{subject: subjectOf(c)}
	for _, name := range c.DNSNames {
		n.dns = append(n.dns, strings.ToLower(name))
	}
	for _, u := range c.URIs {
		n.uris = append(n.uris, u.String())
	}
	switch {
	case len(n.uris) == 0:
	case len(n.uris) > 1: // X509-SVID, section 2
		n.fault = "there are several"
	case !strings.HasPrefix(n.uris[0], "spiffe:"):
		n.uri = n.uris[0]
	case !isSPIFFE(n.uris[0]):
		n.fault = "it is no SPIFFE id of a workload"
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0: // X509-SVID, section 5.2
		n.fault = "a workload's certificate may not sign others"
	default:
		n.uri = n.uris[0]
	}
	return n
}

// first returns a name to show for the certificate.
func (n certNames) first() string {
	for _, name := range slices.Concat(n.uris, n.dns, []string{n.subject}) {
		if name != "" {
			return name
		}
	}
	return ""
}

// spiffeID is the form of a SPIFFE id of a workload: trust domain and path (SPIFFE-ID, section 2).
var spiffeID = regexp.MustCompile(`^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$`)

func isSPIFFE(uri string) bool {
	segments := strings.Split(uri, "/")
	return len(uri) <= 2048 && spiffeID.MatchString(uri) && !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// subjectOf returns the subject of a certificate as RFC 4514 writes it: the last attribute first,
// without spaces between them. It reads the subject anew, since pkix.Name loses the order.
func subjectOf(c *x509.Certificate) string {
	var names pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &names); err != nil || len(rest) > 0 {
		return ""
	}
	var written []string
	for _, set := range slices.Backward(names) {
		var parts []string
		for _, attribute := range set {
			parts = append(parts, writeAttribute(attribute))
		}
		written = append(written, strings.Join(parts, "+"))
	}
	return strings.Join(written, ",")
}

// Attribute types that RFC 4514, section 3, has a short name for, and pkix has not.
var shortNames = map[string]string{"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID"}

// commonName is a type that pkix writes with its value as text.
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

func writeAttribute(a pkix.AttributeTypeAndValue) string {
	short := shortNames[a.Type.String()]
	if _, ok := a.Value.(string); !ok || short == "" {
		return pkix.RDNSequence{{a}}.String()
	}
	a.Type = commonName
	return short + strings.TrimPrefix(pkix.RDNSequence{{a}}.String(), "CN")
}

// A certificateName binds a caller to a name in certificates.
type certificateName struct {
	key    *key
	member string // of CertificateName
	text   string // its value
	match  matchNames
}

// maxNameShown bounds what a record has of a certificate's name, in bytes.
const maxNameShown = 100

// bounded returns the first bytes of a name, and a question mark for each that is not printable
// ASCII.
func bounded(name string) string {
	shown := []byte(cut(name, maxNameShown))
	for i, b := range shown {
		if b < ' ' || b > '~' {
			shown[i] = '?'
		}
	}
	return string(shown)
}

func (c *compiler) addCertificate(o *owner, at string, is CertificateName) {
	set := 0
	for _, text := range []string{is.URI, is.DNS, is.Subject} {
		if text != "" {
			set++
		}
	}
	if set != 1 {
		c.refuse(at, "expected exactly one of uri, dns and subject")
		return
	}
	n, compile := certificateName{member: "subject", text: is.URI + is.DNS + is.Subject}, compileSubject
	switch {
	case is.URI != "":
		n.member, compile = "uri", compileURI
	case is.DNS != "":
		n.member, compile = "dns", compileDNS
	}
	if slices.ContainsFunc(c.certificates, func(other certificateName) bool { return other.member == n.member && other.text == n.text }) {
		c.refuse(at, "another certificate has the same name; the first one is the caller")
		return
	}
	var err error
	if n.match, err = compile(n.text); err != nil {
		c.refuse(at+"."+n.member, "%w", err)
		return
	}
	n.key = c.addKey(o, at, Certificate, bounded(n.text), is.Validity)
	c.certificates = append(c.certificates, n)
}

// matchNames reports whether a certificate has a name, and which of its names that is.
type matchNames = func(certNames) (string, bool)

// uriOrigin is the part of a URI that stands as it is: scheme and host, or trust domain.
var uriOrigin = regexp.MustCompile(`^([a-z][a-z0-9+.-]*)://[^/*?#@]+(/|$)`)

func compileURI(text string) (matchNames, error) {
	pattern, err := glob.Compile(text)
	if err != nil {
		return nil, err
	}
	if !uriOrigin.MatchString(text) {
		return nil, errors.New("expected scheme://host/path, with stars only in the path")
	}
	if strings.HasPrefix(text, "spiffe:") && !isSPIFFE(strings.ReplaceAll(text, "*", "x")) {
		return nil, errors.New("expected spiffe://trust-domain/path, the trust domain in lower case, without empty segments and a slash at the end")
	}
	return func(n certNames) (string, bool) { return n.uri, n.uri != "" && pattern.Match(n.uri) }, nil
}

// dnsName is a name with an optional star as its first label.
var dnsName = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

func compileDNS(text string) (matchNames, error) {
	text = strings.ToLower(text)
	if len(text) > 253 || !dnsName.MatchString(text) {
		return nil, errors.New("expected a DNS name; a star may stand for its first label")
	}
	domain, wild := strings.CutPrefix(text, "*.")
	return func(n certNames) (string, bool) {
		for _, name := range n.dns {
			rest, known := name, true
			if wild {
				var label string
				label, rest, _ = strings.Cut(name, ".")
				known = label != "" && label != "*" // a certificate for many hosts names none of them
			}
			if known && rest == domain {
				return name, true
			}
		}
		return "", false
	}, nil
}

// looseComma finds a space that no subject has, since RFC 4514 writes none after a comma.
var looseComma = regexp.MustCompile(`(^|[^\\]), `)

func compileSubject(text string) (matchNames, error) {
	switch {
	case len(text) > glob.MaxPattern:
		return nil, errors.New("is too long")
	case !strings.Contains(text, "="):
		return nil, errors.New("expected a subject as RFC 4514 writes it, such as CN=exporter,O=Acme")
	case looseComma.MatchString(text):
		return nil, errors.New("has a space after a comma; RFC 4514 writes none, as in CN=exporter,O=Acme")
	}
	return func(n certNames) (string, bool) { return n.subject, n.subject == text }, nil
}
