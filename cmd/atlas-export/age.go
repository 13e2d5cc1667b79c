package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// age is a flag that says how long ago something was: a duration, or a number of days such as 7d.
type age struct {
	time.Duration
	text string // as it was given
}

func (a *age) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok && err != nil {
		var n int
		n, err = strconv.Atoi(days)
		if n > 36500 {
			n = -1
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration such as 90m, 24h or 7d", text)
	}
	*a = age{d, text}
	return nil
}

func (a *age) String() string { return a.text }
func (a *age) Type() string   { return "duration" }

// since is a flag that names a moment: a date, a time, or how long ago it was.
type since struct {
	time.Time
	ago  time.Duration // if it was given so
	text string        // as it was given
}

func (s *since) Set(text string) error {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			*s = since{Time: t, text: text}
			return nil
		}
	}
	var a age
	if a.Set(text) != nil {
		return fmt.Errorf("%q is neither a date such as 2026-08-10, nor a time such as 2026-08-10T03:00:00Z, nor a duration such as 24h or 7d", text)
	}
	*s = since{ago: a.Duration, text: text}
	return nil
}

// at returns the moment.
func (s *since) at(now time.Time) time.Time {
	if s.ago > 0 {
		return now.Add(-s.ago)
	}
	return s.Time
}

func (s *since) String() string { return s.text }
func (s *since) Type() string   { return "time" }
