package reads

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Control is what a reader wants of answers that were not made for it.
type Control struct {
	// MaxAge is how old an answer may be. 0 means that Atlas is asked after the read came.
	MaxAge time.Duration
	// NoStore means that the answer is neither kept nor shared.
	NoStore bool
}

// ControlOf returns what the header of a request asks for: in Cache-Control no-cache, no-store
// and max-age (RFC 9111, section 5.2.1), and in Pragma no-cache, which counts where Cache-Control
// is not there (RFC 7234, section 5.4). Other directives are ignored. A max-age that is no number
// means 0.
func ControlOf(header http.Header) Control {
	c := Control{MaxAge: math.MaxInt64}
	values, ok := header["Cache-Control"]
	if !ok {
		values = header["Pragma"]
	}
	for _, value := range values {
		for directive := range strings.SplitSeq(value, ",") {
			name, argument, _ := strings.Cut(strings.ToLower(directive), "=")
			switch strings.TrimSpace(name) {
			case "no-cache":
				c.MaxAge = 0
			case "no-store":
				c.NoStore = true
			case "max-age":
				c.MaxAge = min(c.MaxAge, seconds(strings.Trim(argument, " \t\"")))
			}
		}
	}
	return c
}

// seconds returns a number of seconds, and 0 for what is no number.
func seconds(text string) time.Duration {
	const most = 1 << 31 // RFC 9111, section 1.2.2
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(n, most)) * time.Second
}
