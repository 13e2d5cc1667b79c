// Package canary finds secrets in the output of a program. Tests make secrets up, let a program
// work with them, and then search its log, its metrics and its answers. The package also finds a
// secret that was encoded, for example by Basic authentication.
package canary

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// minSecret is the least length of a secret, in bytes. A shorter text may occur by chance.
const minSecret = 8

// Secrets are secrets that no output may have. The zero value has none. Several goroutines may
// use it.
type Secrets struct {
	mu    sync.Mutex
	forms map[string]string // by text to search for: which secret it is, in what form

	// Find looks once at each place of a text, however many secrets there are.
	byStart map[uint64][]string // the texts to search for, by their first 8 bytes
	likely  [1 << 16]bool       // the first 2 bytes of each
}

// Add adds a secret with a name for reports. A secret that was added before keeps its name. Add
// panics if a secret is shorter than 8 bytes, which would be found anywhere.
func (s *Secrets) Add(name, secret string) {
	if len(secret) < minSecret {
		panic(fmt.Sprintf("canary: %s has only %d bytes", name, len(secret)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forms == nil {
		s.forms, s.byStart = map[string]string{}, map[uint64][]string{}
	}
	for _, form := range forms(secret) {
		if _, ok := s.forms[form.text]; !ok {
			s.forms[form.text] = name + form.how
			start := binary.BigEndian.Uint64([]byte(form.text[:minSecret])) // no form is shorter than the secret
			s.byStart[start] = append(s.byStart[start], form.text)
			s.likely[start>>48] = true
		}
	}
}

// Find returns a report for each form of a secret in a text: which one it is, and the text around
// it without the secret.
func (s *Secrets) Find(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	seen := map[string]bool{}
	var start uint64 // the 8 bytes that end at i
	for i := range len(text) {
		start = start<<8 | uint64(text[i])
		at := i + 1 - minSecret
		if at < 0 || !s.likely[start>>48] {
			continue
		}
		for _, form := range s.byStart[start] {
			if after, ok := strings.CutPrefix(text[at:], form); ok && !seen[form] {
				seen[form] = true
				found = append(found, fmt.Sprintf("%s: %q", s.forms[form], text[max(0, at-80):at]+"<HERE>"+after[:min(len(after), 40)]))
			}
		}
	}
	slices.Sort(found)
	return found
}

type form struct{ how, text string }

// forms returns the texts in which a secret may appear.
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
	// Text before the secret shifts its encoding by 0, 1 or 2 bytes. Text around it may change
	// the characters at both ends, which are cut off.
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
