package callers

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
)

// maxForm bounds the forms of the token and revoke endpoints, in bytes. One may hold an assertion
// and an access token, which has about 300.
const maxForm = issuers.MaxToken + 4<<10

// ServeToken answers POST /api/oauth/token: a service account gets an access token (RFC 6749,
// section 4.4). It authenticates by Basic, with its secret or a token of an issuer, or by such a
// token as client_assertion (RFC 7523, section 2.2). The address that r comes from counts as in
// [Authenticator.Authenticate]. ServeToken answers refused requests too; the error is a *[Refusal]
// for the log. If the client secret was right, the Caller is the service account's, also with an
// error.
func (a *Authenticator) ServeToken(w http.ResponseWriter, r *http.Request, from netip.Addr) (Caller, error) {
	caller, by, form, err := a.readRequest(w, r, from, a.limits.issuing)
	if err != nil {
		return caller, err
	}
	if form.Get("grant_type") != "client_credentials" {
		return caller, oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "The grant type is not client_credentials.", InvalidRequest)
	}
	bound, refusal := a.bind(w, r, caller.Key)
	if refusal != nil {
		return caller, refusal
	}
	token, lifetime, err := a.tokens.issue(caller, by, bound)
	if err != nil {
		return caller, oauthError(w, http.StatusInternalServerError, "server_error", "Unexpected error.", Unavailable)
	}
	writeJSON(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}{token, int(lifetime / time.Second), "Bearer"})
	return caller, nil
}

// bind returns the client certificate that a new token of a service account is bound to, nil if
// the account's tokens are not bound. If it returns a refusal, it has answered.
func (a *Authenticator) bind(w http.ResponseWriter, r *http.Request, clientID string) (*confirmation, *Refusal) {
	if account, _ := a.directory.account(clientID); !account.bound {
		return nil, nil
	}
	v := a.certificates.of(r)
	if v == nil || v.untrusted {
		reason := CertificateRequired
		if v != nil {
			reason = v.reason
		}
		return nil, oauthError(w, http.StatusBadRequest, "invalid_request", "The tokens of this service account are bound to a client certificate, and the connection has none that is good.", reason)
	}
	return &confirmation{v.thumbprint}, nil
}

// ServeRevoke answers POST /api/oauth/revoke (RFC 7009): this process stops accepting an access
// token of the service account that asks, and so do, within two seconds, those that [Memory.Share]
// the same revocations. The service account authenticates, and the results are,
// as in [Authenticator.ServeToken]. The answer is 200 also if there is no such token.
func (a *Authenticator) ServeRevoke(w http.ResponseWriter, r *http.Request, from netip.Addr) (Caller, error) {
	caller, _, form, err := a.readRequest(w, r, from, a.limits.revoking)
	if err != nil {
		return caller, err
	}
	if form.Get("token") == "" {
		return caller, oauthError(w, http.StatusBadRequest, "invalid_request", "The token is missing.", InvalidRequest)
	}
	claims, refusal, ours := a.tokens.verify(form.Get("token"))
	// One that was revoked already is noted again: noting it may have failed.
	if ours && (refusal == nil || refusal.Reason == TokenRevoked) && claims.Subject == caller.Key {
		if !a.memory.revoke(claims.ID, claims.IssuedAt.Time, claims.ExpiresAt.Time, a.now()) {
			w.Header().Set("Retry-After", "60")
			return caller, oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "Too many tokens were revoked.", Unavailable)
		}
		if err := a.memory.note(r.Context(), claims.ID, claims.IssuedAt.Time, claims.ExpiresAt.Time); err != nil {
			w.Header().Set("Retry-After", "1")
			return caller, oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The token was revoked here, and may still be accepted elsewhere; try again.", Unavailable)
		}
	}
	w.WriteHeader(http.StatusOK)
	return caller, nil
}

// readRequest returns the service account that sent r, what proved it, and the form. If it returns
// an error, it has answered.
func (a *Authenticator) readRequest(w http.ResponseWriter, r *http.Request, from netip.Addr, limit granted) (Caller, proof, url.Values, error) {
	fail := func(err error) (Caller, proof, url.Values, error) { return Caller{}, proof{}, nil, err }
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return fail(oauthError(w, http.StatusMethodNotAllowed, "invalid_request", "The method is not POST.", InvalidRequest))
	}
	shown, reason := a.clientOf(r)
	var form url.Values
	if reason == NoCredential && a.directory.exchanges && isForm(r) {
		var err error
		if form, err = readForm(w, r); err != nil {
			return fail(err)
		}
		shown, reason = a.assertionOf(form, r)
	}
	account, by, refusal := a.client(r, from, shown, reason)
	if refusal != nil {
		return fail(a.answerRefused(w, shown.id, refusal))
	}
	caller := account.caller
	caller.Form = by.form
	if wait := limit.take(account.id, a.now()); wait > 0 {
		return caller, by, nil, tooMany(w, wait)
	}
	if form != nil {
		return caller, by, form, nil
	}
	form, err := readForm(w, r)
	if err == nil && (form.Has("client_assertion") || form.Has("client_assertion_type")) {
		// RFC 6749, section 2.3.
		err = oauthError(w, http.StatusBadRequest, "invalid_request", "There are two credentials.", InvalidRequest)
	}
	return caller, by, form, err
}

// clientOf returns what the header shows of a service account. The reason is WrongCredential as
// long as it is not known to be good, or says why it can't be.
func (a *Authenticator) clientOf(r *http.Request) (clientCredential, Reason) {
	reason := WrongCredential
	clientID, secret, ok := r.BasicAuth()
	switch fields := len(r.Header["Authorization"]); {
	case fields == 0:
		reason = NoCredential
	case fields > 1 || !ok:
		reason = Malformed
	case !a.allowBasic(r):
		reason = NotPrivate
	}
	if missing, _ := a.certificates.missing(r); missing != "" {
		reason = missing
	}
	// RFC 6749, section 2.3.1: both are form-encoded. Ids and secrets that were made here need
	// none.
	for _, s := range []*string{&clientID, &secret} {
		if decoded, err := url.QueryUnescape(*s); err == nil {
			*s = decoded
		}
	}
	return clientCredential{id: clientID, secret: secret}, reason
}

// client returns the service account that a request shows the credential of, and what proved it.
// The reason is that of clientOf or assertionOf.
func (a *Authenticator) client(r *http.Request, from netip.Addr, shown clientCredential, reason Reason) (serviceAccount, proof, *Refusal) {
	id := hashOf(shown.id)
	account, known := a.directory.accounts[id]
	right := equal(account.secret, hashOf(shown.secret)) && !account.byJWT && !shown.isAssertion
	if right && known && equal(account.id, id) && reason == WrongCredential {
		if reason = a.use(account.caller.key, from); reason == "" {
			return account, proof{form: ClientSecret}, nil
		}
	}
	if _, isJWS := issuers.IsJWS(shown.secret); a.directory.exchanges && reason == WrongCredential && (isJWS || shown.isAssertion) {
		return a.clientByJWT(r, from, shown)
	}
	return serviceAccount{}, proof{}, &Refusal{Reason: reason}
}

// answerRefused answers a request whose credential is refused, in the same way whatever the
// reason.
func (a *Authenticator) answerRefused(w http.ResponseWriter, clientID string, refusal *Refusal) *Refusal {
	why := refusal
	if wait := a.limits.refused.take(clientID, a.now()); wait > 0 {
		refusal = tooMany(w, wait)
	} else {
		// RFC 6749, section 5.2.
		w.Header().Set("WWW-Authenticate", `Basic realm="`+a.directory.settings.Realm+`"`)
		refusal = oauthError(w, http.StatusUnauthorized, "invalid_client", "Invalid credentials provided.", why.Reason)
	}
	if why.detail != "" {
		refusal.detail += " (" + why.detail + ")"
	}
	refusal.Tried = cmp.Or(why.Tried, a.directory.shown(clientID))
	return refusal
}

func isForm(r *http.Request) bool {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded")
}

// readForm reads the content, a form without repeated parameters. If it returns an error, it has
// answered.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	refuse := func(status int, description string) (url.Values, error) {
		return nil, oauthError(w, status, "invalid_request", description, InvalidRequest)
	}
	if !isForm(r) {
		return refuse(http.StatusBadRequest, "The content is not a form.")
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		// MaxBytesReader closes the connection by itself only with a ResponseWriter of net/http.
		w.Header().Set("Connection", "close")
		return refuse(http.StatusRequestEntityTooLarge, "The content is too large.")
	case err != nil:
		return refuse(http.StatusBadRequest, "The content did not arrive.")
	}
	form, err := url.ParseQuery(string(content))
	if err != nil {
		return refuse(http.StatusBadRequest, "The content is not a form.")
	}
	for _, values := range form {
		if len(values) > 1 { // RFC 6749, section 3.2
			return refuse(http.StatusBadRequest, "A parameter is repeated.")
		}
	}
	return form, nil
}

func tooMany(w http.ResponseWriter, wait time.Duration) *Refusal {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return oauthError(w, http.StatusTooManyRequests, "temporarily_unavailable", "Too many requests.", TooMany)
}

// oauthError answers in the form of RFC 6749, section 5.2, which is not the ApiError form of
// Atlas's other endpoints, and returns the Refusal.
func oauthError(w http.ResponseWriter, status int, code, description string, reason Reason) *Refusal {
	writeJSON(w, status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
	return &Refusal{Reason: reason, detail: code + ": " + description}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(content)
}
