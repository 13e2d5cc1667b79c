package digestauth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An Authorization is the Digest credential of one request (RFC 7616, section 3.4). It is
// well-formed; whether it is right is for a [Verifier] to check.
type Authorization struct {
	Username  string
	Realm     string
	Nonce     string
	URI       string // the request target that the client signed
	Response  string // lower-case hexadecimal digits, as many as the algorithm has
	Algorithm string // as sent; empty means MD5, and some clients send none
	CNonce    string
	Opaque    string // empty if not sent
	NC        uint32 // how often the client has used the nonce, with this request; never 0

	nc string // NC as sent, which is what the response is computed from
}

// ParseAuthorization reads the value of an Authorization field. It requires username, realm,
// nonce, uri, response, cnonce, qop=auth and an nc of exactly eight hexadecimal digits. Only the
// realm may be empty. The order does not matter, nor do quotes where the value allows both forms.
// No parameter may occur twice. Unknown parameters are ignored. It refuses username*,
// userhash=true and the algorithms that [HA1] refuses. Errors quote names of parameters, never
// their values.
func ParseAuthorization(field string) (Authorization, error) {
	c := cursor{s: field}
	if scheme := c.span(isToken); !strings.EqualFold(scheme, "Digest") {
		return Authorization{}, errors.New("the scheme is not Digest")
	}
	if c.space() == 0 {
		return Authorization{}, errors.New("no parameter follows the scheme")
	}
	var space [12]param
	params, err := parseParams(&c, space[:0])
	if err != nil {
		return Authorization{}, err
	}
	var a Authorization
	var qop string
	for _, p := range params {
		switch p.name {
		case "username":
			a.Username = p.value
		case "realm":
			a.Realm = p.value
		case "nonce":
			a.Nonce = p.value
		case "uri":
			a.URI = p.value
		case "response":
			a.Response = p.value
		case "algorithm":
			a.Algorithm = p.value
		case "cnonce":
			a.CNonce = p.value
		case "opaque":
			a.Opaque = p.value
		case "nc":
			a.nc = p.value
		case "qop":
			qop = p.value
		case "username*":
			return Authorization{}, errors.New(`the parameter "username*" is not supported`)
		case "userhash":
			if !strings.EqualFold(p.value, "false") {
				return Authorization{}, errors.New(`the parameter "userhash" is not supported`)
			}
		}
	}
	if err := a.check(qop, has(params, "realm")); err != nil {
		return Authorization{}, err
	}
	return a, nil
}

// check refuses an Authorization that lacks a parameter, or has one that is not supported, and
// sets NC.
func (a *Authorization) check(qop string, hasRealm bool) error {
	for _, required := range [...]struct{ name, value string }{
		{"username", a.Username}, {"nonce", a.Nonce}, {"uri", a.URI}, {"response", a.Response},
		{"cnonce", a.CNonce}, {"nc", a.nc}, {"qop", qop},
	} {
		if required.value == "" {
			return fmt.Errorf("the parameter %q is missing or empty", required.name)
		}
	}
	if !hasRealm {
		return errors.New(`the parameter "realm" is missing`)
	}
	if qop != "auth" {
		return errors.New(`the parameter "qop" is not auth`)
	}
	alg, ok := algorithmOf(a.Algorithm)
	if !ok {
		return errors.New(`the parameter "algorithm" names none that is supported`)
	}
	if len(a.Response) != alg.hexLen() || strings.Trim(a.Response, "0123456789abcdef") != "" {
		return errors.New(`the parameter "response" is not a hash of the algorithm`)
	}
	// RFC 7616, section 3.4: nc = 8LHEX. Capitals are accepted too, since they have one meaning.
	// Signs and prefixes are not.
	nc, err := strconv.ParseUint(a.nc, 16, 32)
	if len(a.nc) != 8 || err != nil || nc == 0 {
		return errors.New(`the parameter "nc" is not a count of eight hexadecimal digits`)
	}
	a.NC = uint32(nc)
	return nil
}

func has(params []param, name string) bool {
	for _, p := range params {
		if p.name == name {
			return true
		}
	}
	return false
}
