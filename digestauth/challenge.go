package digestauth

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/icholy/digest"
)

// A Challenge is what a server sends in WWW-Authenticate to ask for a credential (RFC 7616,
// section 3.3).
type Challenge struct {
	// Realm is what the credential is for. Atlas's is "MMS Public API".
	Realm string
	// Domain lists the URIs that the challenge covers, separated by spaces. It is sent even if it
	// is empty, as Atlas does. A [Transport] ignores it: its credential is for one origin.
	Domain string
	// Nonce is what the client sends back with each credential.
	Nonce string
	// Opaque is what the client sends back as it is. It is not sent if it is empty.
	Opaque string
	// Algorithm is [MD5], [SHA256] or [SHA512256]. Empty means MD5, which [Challenge.String]
	// writes out.
	Algorithm string
	// QOP is the list of the qualities of protection that are offered, separated by commas. Empty
	// means "auth", which is the only one that this package supports. A simulated server may
	// send others.
	QOP string
	// Stale says that the credential was right, and only its nonce was not. Atlas never says so.
	Stale bool
	// Extra is appended as it is, such as `charset=UTF-8`. [ChooseChallenge] does not set it.
	Extra string
}

// String returns the field value, with the parameters in the order and form of Atlas:
//
//	Digest realm="MMS Public API", domain="", nonce="…", algorithm=MD5, qop="auth", stale=false
//
// The clients that users of Atlas have can read no other form: they read the first
// WWW-Authenticate, and expect `Digest ` with these capitals, a comma and a space between
// parameters, and a qop that is exactly "auth".
func (c Challenge) String() string {
	b := make([]byte, 0, 192)
	b = appendQuoted(append(b, "Digest realm="...), c.Realm)
	b = appendQuoted(append(b, ", domain="...), c.Domain)
	b = appendQuoted(append(b, ", nonce="...), c.Nonce)
	if c.Opaque != "" {
		b = appendQuoted(append(b, ", opaque="...), c.Opaque)
	}
	b = append(append(b, ", algorithm="...), cmp.Or(c.Algorithm, MD5)...)
	b = appendQuoted(append(b, ", qop="...), cmp.Or(c.QOP, "auth"))
	if c.Stale {
		b = append(b, ", stale=true"...)
	} else {
		b = append(b, ", stale=false"...)
	}
	if c.Extra != "" {
		b = append(append(b, ", "...), c.Extra...)
	}
	return string(b)
}

// A ChallengeError says why a 401 has no challenge that this package answers.
type ChallengeError struct {
	// Reasons has a sentence for each challenge, and for each field line that is malformed. It is
	// empty if there was no field.
	Reasons []string
}

// Error lists the reasons. What it quotes from the server is escaped and shortened.
func (e *ChallengeError) Error() string {
	const msg = "digestauth: the 401 carries no usable challenge"
	if len(e.Reasons) == 0 {
		return msg + ": it has no WWW-Authenticate field"
	}
	return msg + ": " + strings.Join(e.Reasons, "; ")
}

// ChooseChallenge returns the strongest challenge in the WWW-Authenticate fields of h that this
// package answers. Such a challenge is of the scheme Digest, offers qop=auth, and has an algorithm
// of RFC 7616. Unless realm is empty, the challenge is of that realm. Of equally strong
// challenges, ChooseChallenge returns the first (RFC 7616, section 3.7). It ignores other schemes
// and unknown parameters. The error is a *[ChallengeError].
func ChooseChallenge(h http.Header, realm string) (Challenge, error) {
	var best Challenge
	var strength algorithm
	var refused ChallengeError
	for _, line := range h.Values("Www-Authenticate") {
		fields, err := parseChallenges(line)
		if err != nil {
			refused.add("the field is malformed: " + err.Error())
		}
		for _, f := range fields {
			if f.scheme != "digest" {
				refused.add(fmt.Sprintf("the scheme %.32q is not Digest", f.scheme))
				continue
			}
			c, alg, err := usable(f, realm)
			if err != nil {
				refused.add(err.Error())
			} else if alg > strength {
				best, strength = c, alg
			}
		}
	}
	if strength == 0 {
		return Challenge{}, &refused
	}
	return best, nil
}

// maxReasons bounds the text of an error that a hostile server causes.
const maxReasons = 8

func (e *ChallengeError) add(reason string) {
	if len(e.Reasons) < maxReasons {
		e.Reasons = append(e.Reasons, reason)
	}
}

// usable returns the challenge in f and its algorithm. The error says why it can't be answered.
func usable(f challengeField, realm string) (Challenge, algorithm, error) {
	// digest.ParseChallenge reads one challenge in which no parameter occurs twice. Names must be in
	// lower case, and a value needs quotes unless it has only letters, digits and hyphens. Written
	// in this form, f means the same to it.
	b := []byte(digest.Prefix)
	for i, p := range f.params {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendQuoted(append(append(b, strings.Map(identOnly, p.name)...), '='), p.value)
	}
	d, err := digest.ParseChallenge(string(b))
	if err != nil {
		return Challenge{}, 0, err
	}
	alg, ok := algorithmOf(d.Algorithm)
	switch {
	case !ok && strings.HasSuffix(strings.ToLower(d.Algorithm), "-sess"):
		return Challenge{}, 0, fmt.Errorf("the session algorithm %.32q is not supported", d.Algorithm)
	case !ok:
		return Challenge{}, 0, fmt.Errorf("the algorithm %.32q is not supported", d.Algorithm)
	case len(d.QOP) == 0:
		return Challenge{}, 0, fmt.Errorf("no qop is offered, and qop=auth is required")
	case !slices.ContainsFunc(d.QOP, func(q string) bool { return strings.EqualFold(strings.Trim(q, " \t"), "auth") }):
		return Challenge{}, 0, fmt.Errorf("the qop %.32q is offered, and auth is required", strings.Join(d.QOP, ","))
	case d.Nonce == "":
		return Challenge{}, 0, fmt.Errorf("the nonce is missing")
	case len(d.Nonce) > maxNonce || len(d.Opaque) > maxNonce || len(d.Realm) > maxNonce:
		return Challenge{}, 0, fmt.Errorf("the realm, nonce or opaque is longer than %d bytes", maxNonce)
	case !slices.ContainsFunc(f.params, func(p param) bool { return p.name == "realm" }):
		return Challenge{}, 0, fmt.Errorf("the realm is missing")
	case realm != "" && d.Realm != realm:
		return Challenge{}, 0, fmt.Errorf("the realm is %.64q, not %q", d.Realm, realm)
	}
	return Challenge{
		Realm:     d.Realm,
		Domain:    strings.Join(d.Domain, " "),
		Nonce:     d.Nonce,
		Opaque:    d.Opaque,
		Algorithm: d.Algorithm,
		QOP:       strings.Join(d.QOP, ","),
		Stale:     d.Stale,
	}, alg, nil
}

// maxNonce bounds, in bytes, each of the values that a client has to keep and send back. Those of
// real servers have 32 to 200.
const maxNonce = 1024

// identOnly replaces the characters that digest.ParseChallenge can't read in a name. The names
// that it knows have no such characters.
func identOnly(r rune) rune {
	if isAlnum(byte(r)) {
		return r
	}
	return '-'
}
