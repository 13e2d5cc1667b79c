// Package canary finds secrets in what a program printed: tests make secrets up, have a
// program work with them, and then search its log, its metrics and its answers. A secret is
// found as well where it was encoded on its way, as by Basic authentication.
package canary

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// minSecret is how long a secret is at least, in bytes: anything shorter occurs by chance.
const minSecret = 8

// Secrets are what must not show. The zero value holds none. It may be used from several
// goroutines.
type Secrets struct {
	mu    sync.Mutex
	forms map[string]string // what to search for, and what it is
}

// Add adds a secret under a name for reports. Of the same secret, the first name stays. It
// panics where a secret is shorter than 8 bytes, which would be found anywhere.
func (s *Secrets) Add(name, secret string) {
	if len(secret) < minSecret {
		panic(fmt.Sprintf("canary: %s has only %d bytes", name, len(secret)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forms == nil {
		s.forms = map[string]string{}
	}
	for _, form := range forms(secret) {
		if _, ok := s.forms[form.text]; !ok {
			s.forms[form.text] = name + form.how
		}
	}
}

// Find returns, for each form of a secret that text holds, which one it is and the text
// around it, without the secret.
func (s *Secrets) Find(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for form, what := range s.forms {
		if before, after, ok := strings.Cut(text, form); ok {
			found = append(found, fmt.Sprintf("%s: %q", what, before[max(0, len(before)-80):]+"<HERE>"+after[:min(len(after), 40)]))
		}
	}
	slices.Sort(found)
	return found
}

type form struct{ how, text string }

// forms returns the texts as which a secret may show.
func forms(secret string) []form {
	list := []form{
		{"", secret},
		{" in JSON", inJSON(secret, true)},
		{" in JSON", inJSON(secret, false)},
		{" in Go", within(fmt.Sprintf("%q", secret))},
		{" in a query", url.QueryEscape(secret)},
		{" in a path", url.PathEscape(secret)},
		{" in a path", (&url.URL{Path: "/" + secret}).EscapedPath()[1:]},
		{" in hexadecimal digits", fmt.Sprintf("%x", secret)},
		{" in hexadecimal digits", fmt.Sprintf("%X", secret)},
		{" in bytes", within(fmt.Sprint([]byte(secret)))},
	}
	// What stands before the secret in the encoded text shifts it by 0, 1 or 2 bytes; the
	// characters at both ends may depend on the text around it.
	for shift := range 3 {
		text := append(make([]byte, shift), secret...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			list = append(list, form{" in base64", encoding.EncodeToString(text)[(shift*8+5)/6 : len(text)*8/6]})
		}
	}
	return list
}

func inJSON(text string, escapeHTML bool) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(escapeHTML)
	if err := encoder.Encode(text); err != nil {
		panic(err) // a string always encodes
	}
	return within(strings.TrimSuffix(b.String(), "\n"))
}

// within returns a text without its first and last character.
func within(text string) string { return text[1 : len(text)-1] }
