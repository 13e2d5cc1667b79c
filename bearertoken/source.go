package bearertoken

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

const (
	// maxOutput bounds, in bytes, a file and the output of a command.
	maxOutput = 64 << 10
	// fileInterval is how long the token of a file is used before the file is read again.
	fileInterval = 5 * time.Second
	// refusedInterval is how often a source is asked because its token was refused.
	refusedInterval = 5 * time.Second
)

// A Source gives one token after the other. [File] and [Command.Source] make one. It may be used
// from several goroutines and by several Transports, which share its tokens.
type Source struct {
	name string
	read func(context.Context) (*token, error)
	now  func() time.Time

	mu       sync.Mutex
	current  *token    // the last one; nil if there was none
	reading  *reading  // nil if none is going on
	forced   time.Time // when a reading was begun last because a token was refused
	failures int       // in a row
	failed   error     // the last of them
	pause    time.Time // no reading is begun before, because of failed
}

// A token is one bearer token. It does not change.
type token struct {
	value   secret.Secret
	renew   time.Time // when the source is asked for the next one; zero if only after a refusal
	expires time.Time // zero if nobody knows
}

func (t *token) good(now time.Time) bool  { return t.expires.IsZero() || now.Before(t.expires) }
func (t *token) fresh(now time.Time) bool { return t.renew.IsZero() || now.Before(t.renew) }

func (t *token) is(other *token) bool { return other != nil && t.value.Equal(other.value) }

// A reading asks the source for a token, for all requests that wait for it.
type reading struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	token   *token // token and err are set before done is closed
	err     error
}

// File returns the source of a token that stands in a file, of at most 64 KiB. White space around
// the token does not count. The file is read again at most every 5 seconds. While it is missing,
// empty or can't be read, the last token is used until it is refused. The file may be a symbolic
// link, or below one: Kubernetes replaces its projected tokens by another link.
func File(path string) *Source {
	s := &Source{name: "the file " + path, now: time.Now}
	s.read = func(context.Context) (*token, error) {
		content, err := smallfile.Read(path, maxOutput)
		if err != nil {
			return nil, err
		}
		value := strings.TrimSpace(string(content))
		if err := check(value); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &token{value: secret.New(value), renew: s.now().Add(fileInterval)}, nil
	}
	return s
}

// check refuses what can't be sent as a token. Its errors do not quote it.
func check(value string) error {
	switch {
	case value == "":
		return errors.New("holds no token")
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the token holds white space or characters that are not ASCII")
	}
	return nil
}

// String names the file or the program. It does not show the program's arguments.
func (s *Source) String() string { return s.name }

// Token returns the current token. It asks the source only where a request would. The error is the
// source's or the context's.
func (s *Source) Token(ctx context.Context) (secret.Secret, error) {
	t, err := s.get(ctx, nil)
	if err != nil {
		return secret.Secret{}, err
	}
	return t.value, nil
}

// get returns the current token. If it is the refused one, get asks the source first, which may
// give the same again.
func (s *Source) get(ctx context.Context, refused *token) (*token, error) {
	r, current, err := s.join(refused)
	if r == nil {
		return current, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		s.leave(r)
		return nil, ctx.Err()
	}
	if r.err != nil && current != nil && !current.is(refused) && current.good(s.now()) {
		return current, nil
	}
	return r.token, r.err
}

// join returns the reading to wait for, and the token that there is. The reading is nil if there
// is nothing to wait for.
func (s *Source) join(refused *token) (*reading, *token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, current := s.now(), s.current
	isRefused := current != nil && current.is(refused)
	good := current != nil && !isRefused && current.good(now)
	switch {
	case good && current.fresh(now):
		return nil, current, nil
	case s.reading != nil:
	case now.Before(s.pause) && good:
		return nil, current, nil
	case now.Before(s.pause):
		return nil, nil, s.failed
	case isRefused && !s.forced.IsZero() && now.Sub(s.forced) < refusedInterval:
		return nil, current, nil
	default:
		if isRefused {
			s.forced = now
		}
		s.begin()
	}
	s.reading.waiting++
	return s.reading, current, nil
}

// begin asks the source. It does not end with the request that asks, since others may wait, too.
func (s *Source) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reading{done: make(chan struct{}), cancel: cancel}
	s.reading = r
	go func() {
		defer cancel()
		r.token, r.err = s.read(ctx)
		s.mu.Lock()
		if s.reading == r {
			s.conclude(r)
		}
		s.mu.Unlock()
		close(r.done)
	}()
}

// conclude notes the result of a reading. After failures, the source is left alone for 1 s, 2 s, 4
// s, then 8 s each.
func (s *Source) conclude(r *reading) {
	s.reading = nil
	if r.err != nil {
		s.failed, s.pause = r.err, s.now().Add(time.Second<<min(s.failures, 3))
		s.failures++
		return
	}
	s.current, s.failures, s.failed, s.pause = r.token, 0, nil, time.Time{}
}

// leave ends the wait for a reading. The last one that leaves ends the reading, and returns when
// it has ended: the process may be about to exit.
func (s *Source) leave(r *reading) {
	s.mu.Lock()
	r.waiting--
	last := r.waiting == 0
	if last && s.reading == r {
		s.reading = nil
	}
	s.mu.Unlock()
	if last {
		r.cancel()
		<-r.done
	}
}
