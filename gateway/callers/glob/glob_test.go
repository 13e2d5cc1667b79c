package glob_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"atlas-export-gateway/gateway/callers/glob"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern    string
		good, bad  string   // texts between spaces
		goodWhole  []string // texts with spaces, or empty
		wrongWhole []string
	}{
		{pattern: "repo:acme/infra:ref:refs/heads/main", good: "repo:acme/infra:ref:refs/heads/main", bad: "repo:acme/infra:ref:refs/heads/main2 xrepo:acme/infra:ref:refs/heads/main Repo:acme/infra:ref:refs/heads/main", wrongWhole: []string{""}},
		{pattern: "repo:acme/*:environment:prod", good: "repo:acme/infra:environment:prod repo:acme/:environment:prod", bad: "repo:acme/a/b:environment:prod repo:acme/infra:environment:production repo:evil/infra:environment:prod", wrongWhole: []string{"repo:acme/x\n:environment:prod\n"}, goodWhole: []string{"repo:acme/x\n:environment:prod"}},
		{pattern: "spiffe://prod/ns/*/sa/exporter", good: "spiffe://prod/ns/backups/sa/exporter", bad: "spiffe://prod/ns/a/b/sa/exporter spiffe://prod/ns/sa/exporter spiffe://prod.evil/ns/a/sa/exporter"},
		{pattern: "spiffe://prod/**", good: "spiffe://prod/ spiffe://prod/a spiffe://prod/a/b/c", bad: "spiffe://prod spiffe://prods/a", goodWhole: []string{"spiffe://prod/a\nb"}},
		{pattern: "a.c[x]+(y)?$^|{2}\\d", good: `a.c[x]+(y)?$^|{2}\d`, bad: `abc[x]+(y)?$^|{2}\d a.cx`},
		{pattern: "*", good: "a", bad: "a/b", goodWhole: []string{"", "*"}, wrongWhole: []string{"\xff", "/"}},
		{pattern: "**", good: "a /a//b", goodWhole: []string{"", "é/ü"}, wrongWhole: []string{"a\xff"}},
		{pattern: "*a*", good: "a ba ab bab aaa", bad: "b /a a/"},
		{pattern: "**/x", good: "/x a/x a/b/x", bad: "x ax a/xy"},
	} {
		p, err := glob.Compile(test.pattern)
		if err != nil || p.String() != test.pattern {
			t.Fatalf("%s: %v, %s", test.pattern, err, p)
		}
		for _, text := range append(strings.Fields(test.good), test.goodWhole...) {
			if !p.Match(text) {
				t.Errorf("%s does not match %q", test.pattern, text)
			}
		}
		for _, text := range append(strings.Fields(test.bad), test.wrongWhole...) {
			if p.Match(text) {
				t.Errorf("%s matches %q", test.pattern, text)
			}
		}
	}
	for pattern, want := range map[string]string{"": "is empty", "a***": "three stars", "\xff": "not UTF-8", strings.Repeat("a", glob.MaxPattern+1): "has 1025 bytes"} {
		if _, err := glob.Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	var zero glob.Pattern
	if zero.Match("a") || !zero.Match("") {
		t.Error("the zero Pattern matches something")
	}
	// Backtracking would need more steps than there are atoms.
	costly, err := glob.Compile(strings.Repeat("*a", glob.MaxPattern/2))
	if err != nil || costly.Match(strings.Repeat("a", 4000)+"/") {
		t.Errorf("a pattern of stars: %v", err)
	}
}

// slow is the definition of a match, which takes forever for some.
func slow(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case strings.HasPrefix(pattern, "**"):
		return slow(pattern[2:], text) || text != "" && slow(pattern, text[1:])
	case pattern[0] == '*':
		return slow(pattern[1:], text) || text != "" && text[0] != '/' && slow(pattern, text[1:])
	}
	return text != "" && text[0] == pattern[0] && slow(pattern[1:], text[1:])
}

// A pattern matches what its definition says, and no pattern panics.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"a*/**b", "ax/y/b"}, {"**", "\n"}, {"*é", "é"}, {"spiffe://prod/ns/*/sa/x", "spiffe://prod/ns/a/sa/x"}, {`\*(`, `\x(`}, {"a**", "a\u2028"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := glob.Compile(pattern)
		if err != nil {
			return
		}
		got := p.Match(text)
		if strings.Count(pattern, "*") > 6 || len(text) > 40 || len(pattern) > 40 {
			return
		}
		if want := slow(pattern, text) && (utf8.ValidString(text)); got != want {
			t.Errorf("%q and %q: %t, want %t", pattern, text, got, want)
		}
	})
}
