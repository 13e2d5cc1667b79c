package callers

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// assertionType is the client_assertion_type of a JWT (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// clientCredential is what a request to the token or revoke endpoint shows of a service account.
type clientCredential struct {
	id          string // the client id; may be empty beside an assertion
	secret      string // the client secret, or a token of an issuer
	isAssertion bool   // the secret is a client_assertion
}

// proof is what has proved a service account at the token endpoint.
type proof struct {
	form     Form
	identity string    // the print of the identity that a token has; empty for a secret
	until    time.Time // the token's exp; zero for a secret
}

// assertionOf returns what a form shows of a service account, and a reason as clientOf does.
func (a *Authenticator) assertionOf(form url.Values, r *http.Request) (clientCredential, Reason) {
	shown := clientCredential{id: form.Get("client_id"), secret: form.Get("client_assertion"), isAssertion: true}
	switch {
	case shown.secret == "":
		return shown, NoCredential
	case form.Get("client_assertion_type") != assertionType || form.Has("client_secret"):
		return shown, Malformed
	case !a.allowBasic(r):
		return shown, NotPrivate
	}
	return shown, WrongCredential
}

// clientByJWT returns the service account that a token of an issuer proves: one without a secret,
// of the caller that the token is of. An assertion may leave the client id out where the caller
// has only one such account. The token may be used again until its exp, as the account's secret
// could be.
func (a *Authenticator) clientByJWT(r *http.Request, from netip.Addr, shown clientCredential) (serviceAccount, proof, *Refusal) {
	known, token, refusal := a.jwts.match(r.Context(), shown.secret)
	if refusal != nil {
		return serviceAccount{}, proof{}, refusal
	}
	refuse := func(reason Reason, detail string) (serviceAccount, proof, *Refusal) {
		return serviceAccount{}, proof{}, &Refusal{Reason: reason, detail: detail}
	}
	var account serviceAccount
	owned := known.key.owner.accounts
	for i := range owned {
		if equal(owned[i].id, hashOf(shown.id)) || shown.id == "" && shown.isAssertion && len(owned) == 1 {
			account = owned[i]
		}
	}
	if !account.byJWT {
		return refuse(WrongCredential, "the token is good, and its caller has no such service account without a secret")
	}
	now := a.now()
	expiry, err := jwt.MapClaims(token.Claims).GetExpirationTime()
	if err != nil || expiry == nil || expiry.Sub(now) < time.Second { // in the issuer's leeway
		return refuse(TokenExpired, "the token has expired")
	}
	by := proof{form: ClientAssertion, identity: known.print, until: expiry.Time}
	if end := known.key.notAfter; !end.IsZero() && end.Before(by.until) {
		by.until = end
	}
	reason := a.use(known.key, from)
	if reason == "" {
		reason = a.use(account.caller.key, from)
	}
	if reason != "" {
		return refuse(reason, reason.unusable())
	}
	return account, by, nil
}
