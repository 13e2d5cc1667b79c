package sim

import (
	"cmp"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are token buckets by name: of groups, and of clients of the token endpoint.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// maxLimits bounds how many buckets are remembered. With one more, all begin again.
const maxLimits = 10_000

func (l *limits) of(name string, perSecond rate.Limit, capacity int) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[name]
	if bucket == nil {
		if l.buckets == nil || len(l.buckets) >= maxLimits {
			l.buckets = map[string]*rate.Limiter{}
		}
		bucket = rate.NewLimiter(perSecond, capacity)
		l.buckets[name] = bucket
	}
	return bucket
}

func (l *limits) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets = nil
}

// limit takes one request from the group's token bucket. All operations of the simulation share
// that bucket, though Atlas has one for each endpoint set: those of clusters, groups and roles
// aren't known. Inferred: a request that names no group is charged to its caller, and one without
// a valid credential or group to nobody.
func (s *Server) limit(x *exchange, h http.Header) error {
	setting := s.settings.Load().RateLimit
	if setting.Off {
		return nil
	}
	name := x.caller.id
	if x.group != nil {
		name = x.group.ID
	}
	return s.charge(x, h, name, setting)
}

// tokenAllowed takes one request from the bucket of calls to the token endpoint that a client has
// at an address. If the bucket is empty, tokenAllowed writes the answer, as recorded: an ApiError
// without Retry-After. Inferred: requests that are refused count too, and the bucket is refilled
// evenly.
func (s *Server) tokenAllowed(x *exchange, r *http.Request) bool {
	perMinute := cmp.Or(s.settings.Load().TokensPerMinute, 10)
	if perMinute < 0 {
		return true
	}
	id, _, _ := r.BasicAuth()
	if s.world.accounts[id] == nil {
		id = "" // unknown clients of an address share a bucket
	}
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	bucket := s.tokens.limits.of(id+" "+address, rate.Limit(float64(perMinute)/60), perMinute)
	if bucket.AllowN(s.clock.now(), 1) {
		return true
	}
	x.answer.refuse(failure(http.StatusTooManyRequests, "RATE_LIMITED", "Resource %s is limited to %d requests every %d minutes.", x.op.path, perMinute, 1))
	return false
}

// charge takes one request from a token bucket and sets the RateLimit fields. The error says
// that the bucket is empty.
func (s *Server) charge(x *exchange, h http.Header, name string, setting RateLimit) error {
	capacity, refill := cmp.Or(setting.Capacity, 1200), cmp.Or(setting.Refill, 500)
	period := cmp.Or(setting.Period.std(), time.Minute)
	perSecond := float64(refill) / period.Seconds()
	bucket := s.limits.of(name, rate.Limit(perSecond), capacity)
	now := s.clock.now()
	allowed := bucket.AllowN(now, 1)
	tokens := bucket.TokensAt(now)
	// The names are spelled as in Atlas's documents. Header.Set would respell them.
	h["RateLimit-Limit"] = []string{strconv.Itoa(capacity)}
	h["RateLimit-Remaining"] = []string{strconv.Itoa(int(max(tokens, 0)))}
	if allowed {
		return nil
	}
	wait := int(math.Ceil((1 - tokens) / perSecond))
	h.Set("Retry-After", strconv.Itoa(wait))
	return rateLimited(x, wait, capacity, refill, int(period.Seconds()))
}

func rateLimited(x *exchange, wait, capacity, refill, seconds int) error {
	return failure(http.StatusTooManyRequests, "RATE_LIMITED_TOKEN_BUCKET",
		"Rate limit exceeded for %s. Please retry after %d seconds. Request capacity: %d. Refill rate: %d per %d seconds.",
		x.op.path, wait, capacity, refill, seconds)
}
