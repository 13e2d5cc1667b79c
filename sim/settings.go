package sim

import (
	"errors"
	"fmt"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// Settings can be changed while the simulation runs, by [Server.SetSettings] or on the
// control listener. The zero Settings are Atlas's own.
type Settings struct {
	// Nonces says how long and how often a nonce may be used.
	Nonces Nonces `json:"nonces"`
	// Challenge is the form of the digest challenge.
	Challenge Challenge `json:"challenge"`
	// RateLimit is the token bucket of each group.
	RateLimit RateLimit `json:"rateLimit"`
	// TokensPerMinute is how many calls of the token endpoint a service account has in a
	// minute from one address. 0 means 10, and less than 0 means any number.
	TokensPerMinute int `json:"tokensPerMinute"`
	// ParallelExports lets one snapshot be exported several times at once. Atlas answers
	// the second create with 409.
	ParallelExports bool `json:"parallelExports"`
	// V1DeleteContent answers a DELETE of v1.0 with 200 and {} instead of 204. Which of the two
	// Atlas does was not recorded.
	V1DeleteContent bool `json:"v1DeleteContent"`
	// Removed lists, by operationId, the versions that Atlas no longer has. A request for
	// one is answered with 410.
	Removed map[string][]string `json:"removed"`
	// HonourSunset removes each deprecated version once the clock passes its sunset.
	HonourSunset bool `json:"honourSunset"`
	// CountsOnly counts requests without logging them, which is faster.
	CountsOnly bool `json:"countsOnly"`
}

// Nonces is the policy for the digest nonces that the simulation issues. The zero policy
// is Atlas's: any number of uses, in any order, as long as no count comes twice. Nonces is
// the part of [digestauth.NoncePolicy] that can be written in JSON.
type Nonces struct {
	// Max is how many nonces are remembered. 0 means 4,096.
	Max int `json:"max"`
	// Lifetime is how long a nonce is good for. 0 means for ever.
	Lifetime Duration `json:"lifetime"`
	// Uses is how many requests a nonce is good for. 0 means any number.
	Uses int `json:"uses"`
	// Rising refuses a count that is not greater than all earlier counts of its nonce.
	Rising bool `json:"rising"`
	// Refuse is the share, 0 to 1, of good nonces that are refused nevertheless.
	Refuse float64 `json:"refuse"`
}

// Challenge is the form of the digest challenge. The zero Challenge is the recorded one:
// one WWW-Authenticate field with MD5 and qop auth.
type Challenge struct {
	// Realm is what the credential is for. Empty means "MMS Public API".
	Realm string `json:"realm"`
	// Algorithms are offered in this order, each in a field of its own: MD5, SHA-256
	// or SHA-512-256. Empty means MD5.
	Algorithms []string `json:"algorithms"`
	// QOP replaces "auth" in the challenge. Credentials must still say auth.
	QOP string `json:"qop"`
	// Opaque, if not empty, is added.
	Opaque string `json:"opaque"`
	// Stale makes the challenge say stale=true if only the nonce was wrong. Atlas never
	// says so.
	Stale bool `json:"stale"`
	// Extra is added at the end as it is, such as `charset=UTF-8, userhash=false`.
	Extra string `json:"extra"`
}

// RateLimit is the token bucket that each group has. The zero RateLimit is Atlas's.
type RateLimit struct {
	// Off switches the rate limit off.
	Off bool `json:"off"`
	// Capacity is how many requests a full bucket holds. 0 means 1200.
	Capacity int `json:"capacity"`
	// Refill is how many requests are added evenly in each Period. 0 means 500.
	Refill int `json:"refill"`
	// Period is the time in which Refill requests are added. 0 means a minute.
	Period Duration `json:"period"`
}

// Settings returns the current settings.
func (s *Server) Settings() Settings { return *s.settings.Load() }

// SetSettings replaces the settings. Requests that are being served see the old or the new
// ones. Another rate limit fills every bucket. An error says what is invalid, and that
// nothing has changed.
func (s *Server) SetSettings(settings Settings) error {
	if err := s.checkSettings(settings); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	before := s.settings.Load()
	s.nonces.SetPolicy(settings.Nonces.policy())
	s.settings.Store(&settings)
	if before == nil || before.RateLimit != settings.RateLimit {
		s.limits.reset()
	}
	if before == nil || before.TokensPerMinute != settings.TokensPerMinute {
		s.tokens.limits.reset()
	}
	s.record.countsOnly.Store(settings.CountsOnly)
	return nil
}

func (s *Server) checkSettings(settings Settings) error {
	switch n, r := settings.Nonces, settings.RateLimit; {
	case n.Max < 0, n.Lifetime < 0, n.Uses < 0:
		return errors.New("nonces: max, lifetime and uses must not be negative")
	case n.Refuse < 0, n.Refuse > 1:
		return errors.New("nonces: refuse must be a share, 0 to 1")
	case r.Capacity < 0, r.Refill < 0, r.Period < 0:
		return errors.New("rateLimit: capacity, refill and period must not be negative")
	}
	for _, algorithm := range settings.Challenge.Algorithms {
		if _, err := digestauth.HA1(algorithm, "", "", secret.Secret{}); err != nil || algorithm == "" {
			return fmt.Errorf("challenge: the algorithm %q is not one of MD5, SHA-256, SHA-512-256", algorithm)
		}
	}
	for id, dates := range settings.Removed {
		operation := s.operation(id)
		if operation == nil {
			return fmt.Errorf("removed: there is no operation %q", id)
		}
		for _, date := range dates {
			if !operation.defines(date) {
				return fmt.Errorf("removed: %s has no version %q", id, date)
			}
		}
	}
	return nil
}

// Duration is a time.Duration that is written as text, such as "50ms", in JSON.
type Duration time.Duration

// MarshalText writes the duration in the form of time.Duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the form that time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("is not a duration; write it as 500ms, 10s or 1m30s")
	}
	*d = Duration(parsed)
	return nil
}

// std returns the duration as a time.Duration.
func (d Duration) std() time.Duration { return time.Duration(d) }
