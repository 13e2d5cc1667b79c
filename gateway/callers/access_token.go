package callers

import (
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is the iss claim of the gateway's own access tokens (RFC 7519, section 4.1.1).
const issuer = "atlas-export-gateway"

// accessTokens issues and verifies the access tokens of service accounts. They are JWTs (RFC 7519)
// that are signed here and not stored.
type accessTokens struct {
	directory    *Directory
	keys         []signingKey // the first signs
	lifetime     time.Duration
	memory       *Memory
	certificates *clientCertificates
	now          func() time.Time
	parser       *jwt.Parser
}

// accessClaims are the claims of an access token.
type accessClaims struct {
	jwt.RegisteredClaims
	// Identity is the print of the identity that the service account had proved; empty if it had
	// proved itself by its secret.
	Identity string `json:"identity,omitempty"`
	// Confirmation is nil in a token that is bound to no certificate.
	Confirmation *confirmation `json:"cnf,omitempty"`
}

// confirmation binds a token to a client certificate (RFC 8705, section 3.1).
type confirmation struct {
	Thumbprint string `json:"x5t#S256"`
}

func newAccessTokens(d *Directory, keys []signingKey, m *Memory, c *clientCertificates, now func() time.Time) *accessTokens {
	// verify checks the claims, since there are two clocks.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	return &accessTokens{d, keys, d.settings.TokenLifetime, m, c, now, parser}
}

// issue returns a new token for a service account, and its lifetime. The token ends with the
// account and with what proved it. Unless it is nil, the token is bound to a certificate.
func (t *accessTokens) issue(account Caller, by proof, bound *confirmation) (string, time.Duration, error) {
	now := t.now()
	key, expiry := &t.keys[0], now.Add(t.lifetime)
	for _, end := range []time.Time{account.key.notAfter, by.until} {
		if !end.IsZero() && end.Before(expiry) {
			expiry = end
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, accessClaims{jwt.RegisteredClaims{
		ID:        rand.Text(),
		Issuer:    issuer,
		Subject:   account.Key,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(expiry),
	}, by.identity, bound})
	token.Header["kid"] = key.id
	signed, err := token.SignedString([]byte(key.token.Reveal()))
	return signed, expiry.Sub(now), err
}

func (t *accessTokens) identify(r *http.Request, token bearerToken) (Caller, *Refusal, bool) {
	account, bound, refusal, ours := t.whose(token)
	if !ours {
		return Caller{}, nil, false
	}
	if refusal == nil {
		refusal = t.checkBound(r, bound, account.bound)
	}
	if refusal != nil {
		refusal.Tried = t.directory.shown(account.caller.Key)
		return Caller{}, refusal, true
	}
	return account.caller, nil, true
}

// stillProved refuses a token whose service account could no longer prove itself as it did then:
// by an identity, or by a secret where the print is empty.
func (t *accessTokens) stillProved(account serviceAccount, print string) *Refusal {
	if !account.byJWT && print == "" {
		return nil
	}
	for _, known := range account.caller.key.owner.identities {
		if !account.byJWT || known.print != print {
			continue
		}
		if reason := known.key.out(t.now()); reason != "" {
			return refuseBearer(reason, reason.unusable())
		}
		return nil
	}
	return refuseBearer(WrongCredential, "the token was issued for a proof that is no longer configured")
}

// whose returns the service account that a token is for, and what the token is bound to, wherever
// the token is shown. Where the account is no longer configured, it has only its client id.
func (t *accessTokens) whose(token bearerToken) (account serviceAccount, bound *confirmation, refusal *Refusal, ours bool) {
	claims, refusal, ours := t.verify(token.text)
	if !ours {
		return account, nil, nil, false
	}
	account, ok := t.directory.account(claims.Subject)
	if !ok {
		account.caller.Key = claims.Subject
	}
	if refusal == nil && !ok {
		refusal = refuseBearer(WrongCredential, "the token is for a service account that is no longer configured")
	}
	if refusal == nil {
		refusal = t.stillProved(account, claims.Identity)
	}
	return account, claims.Confirmation, refusal, true
}

// checkBound refuses a token that is bound to another certificate than that of the connection, or
// to none although its service account wants it bound.
func (t *accessTokens) checkBound(r *http.Request, bound *confirmation, wanted bool) *Refusal {
	if bound == nil && !wanted {
		return nil
	}
	v := t.certificates.of(r)
	switch {
	case bound == nil:
		return refuseBearer(CertificateMismatch, "the access token is not bound to a client certificate")
	case v == nil:
		return refuseBearer(CertificateMismatch, "the access token is bound to a client certificate, and the connection has none")
	case v.untrusted:
		return refuseBearer(v.reason, v.detail)
	case bound.Thumbprint != v.thumbprint:
		return refuseBearer(CertificateMismatch, "the access token is bound to another client certificate")
	}
	return nil
}

// verify returns the claims of a token that was issued here, and a refusal if the token is no
// longer good. For any other token it returns false. It does not return the parser's errors,
// which may quote the token.
func (t *accessTokens) verify(token string) (claims accessClaims, refusal *Refusal, ours bool) {
	_, err := t.parser.ParseWithClaims(token, &claims, t.keyOf)
	if err != nil || claims.Issuer != issuer || claims.ID == "" || claims.IssuedAt == nil || claims.ExpiresAt == nil {
		return claims, nil, false
	}
	now := t.now()
	at, _ := t.memory.timeline.read(now)
	issued, expiry := claims.IssuedAt.Time, claims.ExpiresAt.Time
	switch {
	case !lasts(now, issued, expiry) && !lasts(at, issued, expiry):
		return claims, refuseBearer(TokenExpired, "the access token has expired"), true
	case t.memory.revoked.has(claims.ID):
		return claims, refuseBearer(TokenRevoked, "the access token was revoked"), true
	}
	return claims, nil, true
}

// keyOf returns the key that a token says it was signed with.
func (t *accessTokens) keyOf(token *jwt.Token) (any, error) {
	for i := range t.keys {
		if key := &t.keys[i]; token.Header["kid"] == key.id {
			return []byte(key.token.Reveal()), nil
		}
	}
	return nil, errors.New("no such key")
}
