// Package secret has the type of all secrets of the project, which prints as REDACTED. Code that
// needs the text calls [Secret.Reveal]. The package refuses only to read the word REDACTED.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "REDACTED"

// A Secret is a string that prints as REDACTED: with every verb of fmt, with log/slog, and as
// JSON, YAML or text. Only [Secret.Reveal] returns the string. The zero Secret is empty.
// [Secret.Equal] compares secrets; == does not compile.
type Secret struct {
	_ [0]func() // makes == an error, since it would compare addresses

	// A pointer, since fmt calls no methods for unexported fields and for %p: it prints an address.
	p *string
}

// New returns a Secret that holds s.
func New(s string) Secret { return Secret{p: &s} }

// Reveal returns the string that s holds.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether s holds the empty string.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal reports whether s and t hold the same string. The time that it takes depends only on their
// lengths.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// String returns REDACTED.
func (s Secret) String() string { return redacted }

// Format prints REDACTED, whatever the verb and its flags.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue returns REDACTED.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns REDACTED. The encoders of JSON, YAML and XML call it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText sets s to text. It refuses the word REDACTED, since that is how a Secret is
// written.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == redacted {
		return errors.New("secret: " + redacted + " is a secret that was written out, not the secret itself")
	}
	*s = New(string(text))
	return nil
}
