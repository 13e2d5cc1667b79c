package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// call sends an operation that may be sent again, until it succeeds or another try would be
// of no use.
func (c *caller) call(ctx context.Context, o operation, send func(context.Context) (*http.Response, error), decode func([]byte) error) error {
	if err := o.found.err(o.id); err != nil {
		return err
	}
	maybeDone := false
	for tries := 0; ; tries++ {
		failed := c.try(ctx, o, send, decode)
		if failed == nil {
			return nil
		}
		failed.maybeDone = maybeDone
		maybeDone = maybeDone || failed.mayHaveArrived()
		if !failed.transient || tries >= o.retries {
			return failed
		}
		pause := backoff(tries)
		if failed.RetryAfter > 0 {
			pause += failed.RetryAfter
		}
		if deadline, ok := ctx.Deadline(); pause > maxPause || ok && time.Until(deadline) < pause {
			return failed
		}
		if err := sleep(ctx, pause); err != nil {
			failed.interrupted(err)
			return failed
		}
	}
}

// interrupted notes that the context ended before another try.
func (e *Error) interrupted(err error) {
	if e.Err != nil {
		err = fmt.Errorf("%w; %w", e.Err, err)
	}
	e.Err = err
}

// mayHaveArrived reports whether a request that failed like this may have been carried out:
// there was a connection and no answer, or a 5xx.
func (e *Error) mayHaveArrived() bool {
	var dial *net.OpError // there was no connection
	noConnection := errors.As(e.Err, &dial) && dial.Op == "dial"
	return e.Status == 0 && !noConnection || e.Status >= 500
}

// maxPause is the longest pause between two tries. If a server asks for a longer one, the
// call ends with an error instead.
const maxPause = 90 * time.Second

// backoff returns how long to wait before another try: 250 ms, doubled each time up to 8 s,
// minus a random part of up to one half.
func backoff(tries int) time.Duration {
	d := 250 * time.Millisecond << min(tries, 5)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}
