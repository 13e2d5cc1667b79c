package serviceaccount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// token is one access token.
type token struct {
	authorization []string // the value of Authorization
	renew         time.Time
	expires       time.Time
	began         time.Time // when it was asked for
	confirmations confirmations
}

// fetch is a request for a token. token and err are set before done is closed.
type fetch struct {
	done        chan struct{}
	token       *token
	err         error
	overwritten time.Time // the time in tokens.calls that this request replaced
}

// tokens keeps the one token that all requests share.
type tokens struct {
	url     string
	base    http.RoundTripper
	source  func(context.Context) (Credential, error)
	now     func() time.Time
	holdBad time.Duration
	timeout time.Duration

	mu       sync.Mutex
	current  *token
	fetching *fetch
	calls    []time.Time // when the last tokens were asked for; a ring of TokensPerMinute
	next     int         // the oldest of calls
	failures int         // in a row
	failed   *TokenError // the last failure
	pause    pause       // after it
	tried    Credential  // the last one that was tried
	held     pause       // of tried, if Atlas refused it
	refusal  Answer      // of tried, if Atlas refused it
}

// A pause is a time in which no token is asked for. A clock that was set back does not make it
// longer.
type pause struct {
	until time.Time
	long  time.Duration
}

func pauseFrom(now time.Time, d time.Duration) pause { return pause{now.Add(d), d} }

// left returns how long the pause still lasts.
func (p pause) left(now time.Time) time.Duration {
	if left := p.until.Sub(now); left <= p.long {
		return max(left, 0)
	}
	return 0
}

// get returns another token than the refused one. It waits for a token no longer than ctx.
func (t *tokens) get(ctx context.Context, refused *token) (*token, error) {
	for {
		token, fetching, err := t.take(refused)
		switch {
		case err == errHeld:
			if err := t.stillBad(ctx); err != nil {
				return nil, err
			}
		case token != nil || err != nil:
			return token, err
		default:
			select {
			case <-fetching.done:
				if fetching.err != nil {
					return nil, fetching.err
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// errHeld says that the credential was refused and is held back.
var errHeld = errors.New("held back")

// take returns the current token if it is good, and otherwise the request for the next one. A
// token is good until it expires, also while another one is fetched.
func (t *tokens) take(refused *token) (*token, *fetch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if refused != nil && t.current == refused {
		t.current = nil
	}
	now := t.now()
	good := t.current != nil && now.Before(t.current.expires)
	if t.fetching == nil && (!good || now.After(t.current.renew)) {
		if err := t.mayFetch(now); err == nil {
			t.fetch(now)
		} else if !good {
			return nil, nil, err
		}
	}
	if good {
		return t.current, nil, nil
	}
	return nil, t.fetching, nil
}

// stillBad returns an error if the credential is the one that was refused. Another credential is
// not held back.
func (t *tokens) stillBad(ctx context.Context) error {
	credential, err := t.source(ctx)
	if err != nil {
		return &CredentialError{Source: err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if credential.Equal(t.tried) {
		return &CredentialError{Answer: t.refusal}
	}
	t.held = pause{}
	return nil
}

// holdBack holds the credential back, since Atlas refused two tokens in a row.
func (t *tokens) holdBack(second *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == second {
		t.current = nil
		t.held, t.refusal = pauseFrom(t.now(), t.holdBad), Answer{}
	}
}

// mayFetch returns an error if no token may be asked for now.
func (t *tokens) mayFetch(now time.Time) error {
	if t.held.left(now) > 0 {
		return errHeld
	}
	if left := t.pause.left(now); left > 0 {
		again := *t.failed
		again.RetryAfter = left
		return &again
	}
	// The zero time leaves nothing, and neither does a clock that was set back.
	if left := pauseFrom(t.calls[t.next], time.Minute).left(now); left > 0 {
		return &TokenError{Answer: Answer{Status: http.StatusTooManyRequests, RetryAfter: left}, Cause: errors.New("as many tokens were asked for as a minute allows")}
	}
	return nil
}

// fetch starts a request for a token. It is for all requests that wait, and does not end with the
// one that started it.
func (t *tokens) fetch(now time.Time) {
	f := &fetch{done: make(chan struct{}), overwritten: t.calls[t.next]}
	t.fetching = f
	t.calls[t.next] = now
	t.next = (t.next + 1) % len(t.calls)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		defer cancel()
		credential, err := t.source(ctx)
		if err != nil {
			err = &CredentialError{Source: err}
		} else {
			f.token, err = t.request(ctx, credential)
		}
		f.err = err
		t.mu.Lock()
		t.conclude(credential, f)
		t.mu.Unlock()
		close(f.done)
	}()
}

// conclude notes the result of a fetch.
func (t *tokens) conclude(credential Credential, f *fetch) {
	t.fetching = nil
	now := t.now()
	var refused *CredentialError
	switch failed := (*TokenError)(nil); {
	case f.err == nil:
		t.current, t.failures, t.tried = f.token, 0, credential
	case errors.As(f.err, &refused) && refused.Source != nil: // no token was asked for, after all
		t.next = (t.next + len(t.calls) - 1) % len(t.calls)
		t.calls[t.next] = f.overwritten
	case errors.As(f.err, &refused):
		t.tried, t.held, t.refusal = credential, pauseFrom(now, t.holdBad), refused.Answer
	case errors.As(f.err, &failed):
		// The pauses are 1 s, 2 s, 4 s, then 8 s: short enough for a short failure, and in a long
		// one they ask for fewer tokens than TokensPerMinute.
		wait := time.Second << min(t.failures, 3)
		t.failures++
		t.failed, t.pause = failed, pauseFrom(now, max(wait, failed.RetryAfter))
	}
}

// request asks for a token (RFC 6749, section 4.4.2).
func (t *tokens) request(ctx context.Context, credential Credential) (*token, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(credential.ClientID, credential.ClientSecret.Reveal())
	began := t.now()
	response, err := t.base.RoundTrip(request)
	if err != nil {
		return nil, &TokenError{Cause: err}
	}
	defer outbound.Discard(response)
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return nil, &CredentialError{Answer: readAnswer(response, credential, t.now())}
	default:
		return nil, &TokenError{Answer: readAnswer(response, credential, t.now()), Cause: fmt.Errorf("the token endpoint answered %d", response.StatusCode)}
	}
	var content struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   *int64 `json:"expires_in"` // may be missing (RFC 6749, section 5.1)
	}
	// The decoder's errors are dropped, since they may quote the answer, and with it a token.
	if json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&content) != nil || content.AccessToken == "" || !strings.EqualFold(content.TokenType, "Bearer") ||
		strings.ContainsFunc(content.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &TokenError{Answer: Answer{Status: response.StatusCode}, Cause: errors.New("the token endpoint's answer holds no bearer token")}
	}
	// Atlas's tokens live for an hour. A server may say centuries for one that does not expire.
	const day = 24 * 60 * 60
	lifetime := time.Hour
	if content.ExpiresIn != nil {
		lifetime = time.Duration(min(max(*content.ExpiresIn, 1), day)) * time.Second
	}
	return &token{
		authorization: []string{"Bearer " + content.AccessToken},
		began:         began,
		// A random time at 75 to 90 % of its life, so that several gateways don't ask together.
		renew: began.Add(lifetime*3/4 + rand.N(lifetime*3/20)),
		// Earlier than the server says, so that a request does not arrive with an expired token.
		expires: began.Add(lifetime - min(lifetime/10, 10*time.Second)),
	}, nil
}
