package sim

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are token buckets by name. A name is a group's id or a service account's.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func (l *limits) of(name string, perSecond rate.Limit, capacity int) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[name]
	if bucket == nil {
		if l.buckets == nil {
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

// limit takes one request from the group's token bucket. All operations of the simulation
// belong to one endpoint set and share that bucket; for listing clusters this is inferred.
// Also inferred: requests without a valid credential or group are not charged to anyone.
func (s *Server) limit(x *exchange, h http.Header) error {
	setting := s.settings.Load().RateLimit
	if setting.Off {
		return nil
	}
	return s.charge(x, h, &s.limits, x.group.ID, setting)
}

// tokenAllowed takes one request from the service account's bucket of calls to the token
// endpoint. If the bucket is empty, tokenAllowed writes the answer.
func (s *Server) tokenAllowed(x *exchange, r *http.Request) bool {
	perMinute := cmp.Or(s.settings.Load().TokensPerMinute, 10)
	if perMinute < 0 {
		return true
	}
	id, _, _ := r.BasicAuth()
	if s.world.accounts[id] == nil {
		id = "" // unknown clients share a bucket, or they would fill the memory
	}
	err := s.charge(x, x.answer.header, &s.tokens.limits, id, RateLimit{Capacity: perMinute, Refill: perMinute})
	if err != nil {
		x.answer.refuse(err)
	}
	return err == nil
}

// charge takes one request from a token bucket and sets the RateLimit fields. The error says
// that the bucket is empty.
func (s *Server) charge(x *exchange, h http.Header, limits *limits, name string, setting RateLimit) error {
	capacity, refill := cmp.Or(setting.Capacity, 1200), cmp.Or(setting.Refill, 500)
	period := cmp.Or(setting.Period.std(), time.Minute)
	perSecond := float64(refill) / period.Seconds()
	bucket := limits.of(name, rate.Limit(perSecond), capacity)
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
