package callers

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is the iss claim of the gateway's own access tokens (RFC 7519, section 4.1.1).
const issuer = "atlas-export-gateway"

// accessTokens issues and verifies the access tokens of service accounts. They are JWTs (RFC 7519)
// that are signed here and not stored.
type accessTokens struct {
	directory *Directory
	keys      []signingKey // the first signs
	lifetime  time.Duration
	memory    *Memory
	now       func() time.Time
	parser    *jwt.Parser
}

// accessClaims are the claims of an access token.
type accessClaims struct {
	jwt.RegisteredClaims
	// Identity is the print of the identity that the service account had proved; empty if it had
	// proved itself by its secret.
	Identity string `json:"identity,omitempty"`
}

func newAccessTokens(d *Directory, keys []signingKey, m *Memory, now func() time.Time) *accessTokens {
	// verify checks the claims, since there are two clocks.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	return &accessTokens{d, keys, d.settings.TokenLifetime, m, now, parser}
}

// issue returns a new token for a service account, and its lifetime. The token ends with the account
// and with what proved it.
func (t *accessTokens) issue(account Caller, by proof) (string, time.Duration, error) {
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
	}, by.identity})
	token.Header["kid"] = key.id
	signed, err := token.SignedString([]byte(key.token.Reveal()))
	return signed, expiry.Sub(now), err
}

func (t *accessTokens) identify(_ context.Context, token bearerToken) (Caller, *Refusal, bool) {
	claims, refusal, ours := t.verify(token.text)
	if !ours {
		return Caller{}, nil, false
	}
	account, ok := t.directory.account(claims.Subject)
	if refusal == nil && !ok {
		refusal = refuseBearer(WrongCredential, "the token is for a service account that is no longer configured")
	}
	if refusal == nil {
		refusal = t.stillProved(account, claims.Identity)
	}
	if refusal != nil {
		refusal.Tried = t.directory.shown(claims.Subject)
		return Caller{}, refusal, true
	}
	return account.caller, nil, true
}

// stillProved refuses a token whose service account could no longer prove itself as it did then: by
// an identity, or by a secret where the print is empty.
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
