package sim

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/secret"

	"github.com/golang-jwt/jwt/v5"
)

// tokenLifetime is how long the token of a service account is good for.
const tokenLifetime = time.Hour

// tokens issues and verifies the tokens of service accounts. Tokens are signed and not
// stored. Only revoked tokens are stored.
type tokens struct {
	now    func() time.Time
	key    []byte
	parser *jwt.Parser
	limits limits

	mu      sync.Mutex
	revoked map[string]time.Time // expiry by token id
}

func newTokens(now func() time.Time, key string) *tokens {
	return &tokens{
		now: now,
		key: []byte(key),
		parser: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithExpirationRequired(), jwt.WithTimeFunc(now)),
		revoked: map[string]time.Time{},
	}
}

func (t *tokens) issue(clientID string) (string, error) {
	now := t.now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		ID:        rand.Text(),
		Issuer:    "https://cloud.mongodb.com",
		Subject:   clientID,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLifetime)),
	}).SignedString(t.key)
}

// claims returns the claims of a token, and whether the token is good.
func (t *tokens) claims(token string) (jwt.RegisteredClaims, bool) {
	var claims jwt.RegisteredClaims
	if _, err := t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.key, nil }); err != nil {
		return claims, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, revoked := t.revoked[claims.ID]
	return claims, !revoked
}

func (t *tokens) revoke(claims jwt.RegisteredClaims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, expiry := range t.revoked {
		if expiry.Before(t.now()) {
			delete(t.revoked, id)
		}
	}
	t.revoked[claims.ID] = claims.ExpiresAt.Time
}

// tokenCaller returns the service account of a token, or nil.
func (s *Server) tokenCaller(token string) *caller {
	claims, ok := s.tokens.claims(token)
	if !ok {
		return nil
	}
	return existing(s.world.accounts, claims.Subject)
}

// issueToken serves POST /api/oauth/token (RFC 6749, section 4.4) for clients that
// authenticate by Basic.
func (s *Server) issueToken(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	if !s.tokenAllowed(x, r) {
		return
	}
	account := s.client(r)
	if account == nil {
		refuseClient(x)
		return
	}
	x.caller = account
	content, ok := formContent(x, r)
	switch {
	case !ok:
		oauthError(x, http.StatusBadRequest, "invalid_request", "The request is not a form.")
		return
	case content.Get("grant_type") != "client_credentials":
		oauthError(x, http.StatusBadRequest, "unsupported_grant_type", "The grant type is not supported.")
		return
	}
	token, err := s.tokens.issue(account.id)
	if err != nil {
		x.answer.refuse(err)
		return
	}
	body, _ := json.Marshal(map[string]any{
		"access_token": token,
		"expires_in":   int(tokenLifetime / time.Second),
		"token_type":   "Bearer",
	})
	x.answer.header.Set("Cache-Control", "no-store")
	x.answer.write(http.StatusOK, "application/json", body)
}

// revokeToken serves POST /api/oauth/revoke (RFC 7009). The answer is 200 also for a token
// that is not valid.
func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	account := s.client(r)
	if account == nil {
		refuseClient(x)
		return
	}
	x.caller = account
	content, ok := formContent(x, r)
	if !ok || content.Get("token") == "" {
		oauthError(x, http.StatusBadRequest, "invalid_request", "The token is missing.")
		return
	}
	if claims, ok := s.tokens.claims(content.Get("token")); ok && claims.Subject == account.id {
		s.tokens.revoke(claims)
	}
	x.answer.WriteHeader(http.StatusOK)
}

// client returns the service account whose id and secret the request has, or nil.
func (s *Server) client(r *http.Request) *caller {
	id, clientSecret, ok := r.BasicAuth()
	if !ok {
		return nil
	}
	// RFC 6749, section 2.3.1: id and secret are form-encoded. Atlas's have no character that
	// the encoding changes.
	if decoded, err := url.QueryUnescape(clientSecret); err == nil {
		clientSecret = decoded
	}
	account := existing(s.world.accounts, id)
	if account == nil || !account.secret.Equal(secret.New(clientSecret)) {
		return nil
	}
	return account
}

// formContent returns the request's content as a form, and whether it is one.
func formContent(x *exchange, r *http.Request) (url.Values, bool) {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded") {
		return nil, false
	}
	values, err := url.ParseQuery(string(x.body))
	return values, err == nil
}

func refuseClient(x *exchange) {
	oauthError(x, http.StatusUnauthorized, "invalid_client", "Invalid credentials provided.")
}

// oauthError writes an error as RFC 6749, section 5.2, has it, and not as an ApiError.
func oauthError(x *exchange, status int, code, description string) {
	body, _ := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
	x.answer.write(status, "application/json", body)
}
