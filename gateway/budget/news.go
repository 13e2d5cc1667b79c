package budget

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/outbound"
)

// news is what an answer of Atlas's, or its lack, tells.
type news struct {
	answered bool // there was an answer
	failed   bool // by Atlas, or on the way to it
	passing  bool // a read that failed so may be repeated
	limited  bool // Atlas allows no more
	// after is how long Atlas asks to wait.
	after time.Duration
	// limit and remaining are those of the bucket; remaining is -1 where Atlas does not tell.
	limit, remaining float64
	refill           float64 // requests a second; 0 where Atlas does not tell
}

// How long a bucket that is empty is left alone: where Atlas does not say how long, and at most.
const (
	defaultPause = time.Second
	longestPause = 10 * time.Minute
)

// learn reads an answer or an error.
func learn(response *atlas.Response, err error) news {
	if err != nil {
		return learnError(err)
	}
	header := response.Header
	n := news{answered: true, limit: number(header, "Ratelimit-Limit"), remaining: number(header, "Ratelimit-Remaining")}
	switch status := response.Status; {
	case limited(response):
		n.limited = true
		n.refill = refill(response.Body)
		if n.after = outbound.RetryAfter(header, time.Now()); n.after == 0 {
			n.after = seconds(max(0, number(header, "Ratelimit-Reset")))
		}
		if n.after == 0 {
			n.after = defaultPause
		}
		n.after = min(n.after, longestPause)
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		n.failed, n.passing = true, true
		n.after = outbound.RetryAfter(header, time.Now())
	}
	return n
}

func learnError(err error) news {
	n := news{remaining: -1}
	if failed, ok := errors.AsType[*atlas.Error](err); ok {
		switch n.answered = failed.Status != 0; failed.Kind {
		case atlas.Disconnected, atlas.Unreachable, atlas.Truncated:
			n.failed, n.passing = true, true
		case atlas.TimedOut:
			n.failed = true
		case atlas.Unsigned:
			n.failed = failed.Status == 0 || failed.Status >= 500
		}
	}
	return n
}

// limited reports whether an answer says that Atlas allows no more, which it may do with a 400.
func limited(response *atlas.Response) bool {
	switch response.Status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusBadRequest:
		code := response.Header.Get("X-Error-Code")
		if code == "" {
			code = outbound.Code(response.Body)
		}
		return strings.HasPrefix(code, "RATE_LIMITED")
	}
	return false
}

// refill returns how fast Atlas says that it refills a bucket. The parameters of its error are path,
// seconds to wait, capacity, refill, and seconds of the refill.
func refill(body []byte) float64 {
	var limited struct{ Parameters []any }
	if json.Unmarshal(body, &limited) != nil || len(limited.Parameters) != 5 {
		return 0
	}
	amount, _ := limited.Parameters[3].(float64)
	period, _ := limited.Parameters[4].(float64)
	if amount <= 0 || period <= 0 {
		return 0
	}
	return amount / period
}

// number returns a field that is a number up to nine digits, or -1.
func number(header http.Header, name string) float64 {
	values := header[name]
	if len(values) != 1 || len(values[0]) > 9 {
		return -1
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 0 {
		return -1
	}
	return float64(n)
}
