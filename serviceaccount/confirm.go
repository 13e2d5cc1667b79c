package serviceaccount

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// A RefusedError says that Atlas refused one request, and that the token does not count as bad:
// Atlas accepts it for the request of [Config.Confirm], or gave no answer to that. Atlas did not
// carry the request out.
type RefusedError struct{}

func (e *RefusedError) Error() string {
	return "serviceaccount: Atlas refuses the request, and not the token"
}

// A verdict is what an answer to the request of Config.Confirm says about a token.
type verdict int

const (
	undecided verdict = iota
	good
	bad
)

// A confirmation is the request of Config.Confirm that is being sent with a token, for all requests
// that wait for it.
type confirmation struct {
	done    chan struct{}
	verdict verdict // set before done is closed
}

// confirmations are those of one token, one at a time.
type confirmations struct {
	// accepted says that Atlas accepted the token once. If it counts as bad later, it was revoked,
	// which says nothing against the credential.
	accepted atomic.Bool

	mu      sync.Mutex
	current *confirmation // nil if none is being sent
	bad     bool          // Atlas refused the token
}

// join returns the confirmation that is being sent, or a new one that send sends, and whether it is
// new.
func (c *confirmations) join(send func() verdict) (joined *confirmation, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return c.current, false
	}
	n := &confirmation{done: make(chan struct{})}
	c.current = n
	go func() {
		n.verdict = send()
		c.mu.Lock()
		c.current, c.bad = nil, n.verdict == bad
		c.mu.Unlock()
		close(n.done)
	}()
	return n, true
}

func (c *confirmations) foundBad() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad
}

// undecidedAge is how old a token must be to be replaced if it was refused, and the request of
// Config.Confirm decides nothing.
const undecidedAge = time.Minute

// isBad reports whether a token counts as bad, which was refused just now.
func (t *Transport) isBad(ctx context.Context, token *token) (bool, error) {
	for round := 0; !token.confirmations.foundBad(); round++ {
		c, isNew := token.confirmations.join(func() verdict { return t.askConfirm(token) })
		select {
		case <-c.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		switch {
		case c.verdict == undecided:
			age := t.tokens.now().Sub(token.began)
			return age < 0 || age >= undecidedAge, nil
		// A confirmation that began before the token was refused does not show that it is still good.
		// The one after that does.
		case c.verdict == good && (isNew || round > 0):
			return false, nil
		}
	}
	return true, nil
}

// askConfirm sends the request of Config.Confirm with a token.
func (t *Transport) askConfirm(token *token) verdict {
	ctx, cancel := context.WithTimeout(context.Background(), t.tokens.timeout)
	defer cancel()
	response, err := send(t.base, t.confirm.WithContext(ctx), outbound.Content{}, token)
	if err != nil {
		return undecided
	}
	defer outbound.Discard(response)
	switch status := response.StatusCode; {
	case t.refuses(response):
		return bad
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return undecided // it may come from a proxy that does not look at the token
	}
	return good
}

// checkConfirm returns an error if the request of Config.Confirm can't be sent.
func checkConfirm(o *outbound.Origin, r *http.Request) error {
	switch {
	case r == nil:
		return nil
	case r.Method != "" && r.Method != http.MethodGet || r.Body != nil:
		return errors.New("serviceaccount: Confirm is no GET without content")
	}
	return o.Check(r)
}
