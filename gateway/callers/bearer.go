package callers

import (
	"net/http"
	"strings"
)

// bearerWay is the Bearer scheme (RFC 6750). It tries each kind of token in its order.
type bearerWay struct{ kinds []tokenKind }

// A tokenKind is one kind of bearer token.
type tokenKind interface {
	// identify returns whose token it is, or why the token of a request is refused. It returns false
	// when the token is not of this kind.
	identify(r *http.Request, token bearerToken) (Caller, *Refusal, bool)
}

// A bearerToken is a token with its hash, which several kinds look it up by.
type bearerToken struct {
	text string
	hash hash
}

func (b *bearerWay) prove(r *http.Request, credentials string) (Caller, *Refusal) {
	token := strings.Trim(credentials, " ")
	if !isToken68(token) {
		return Caller{}, refuseBearer(Malformed, "the Authorization field is not one Bearer token")
	}
	shown := bearerToken{token, hashOf(token)}
	for _, kind := range b.kinds {
		if caller, refusal, ok := kind.identify(r, shown); ok {
			return caller, refusal
		}
	}
	return Caller{}, refuseBearer(WrongCredential, "the token is neither a caller's nor of an issuer, nor one that was issued here")
}

func (b *bearerWay) refuse(reason Reason, detail string) (Caller, *Refusal) {
	return Caller{}, refuseBearer(reason, detail)
}

// staticTokens are the tokens of the configuration, by their hash.
type staticTokens map[hash]staticToken

func (s staticTokens) identify(_ *http.Request, token bearerToken) (Caller, *Refusal, bool) {
	known, ok := s[token.hash]
	return known.caller, nil, ok && equal(known.token, token.hash)
}

// token68 are the characters of a bearer token, without those at its end (RFC 6750, section 2.1).
var token68 = func() (allowed [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		allowed[c] = true
	}
	return allowed
}()

// isToken68 reports whether s has the form of a bearer token.
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		if !token68[body[i]] {
			return false
		}
	}
	return body != ""
}

// refuseBearer returns a refusal in the form of RFC 6750, section 3.1.
func refuseBearer(reason Reason, detail string) *Refusal {
	return &Refusal{Challenge: []string{`Bearer error="invalid_token"`}, Reason: reason, detail: detail}
}
