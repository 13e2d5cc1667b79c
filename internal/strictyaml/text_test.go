package strictyaml_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/strictyaml"
)

// Text finds a text whatever else the document holds, and refuses what is no document.
func TestText(t *testing.T) {
	for document, want := range map[string]string{
		"":            "",
		"# nothing\n": "",
		"a: {b: c}\n": "c",
		"\ufeffx: 7\na:\n  b: \"c: d\"\ny: [1]\n": "c: d",
		"a: {c: b}\n": "",
		"b: c\n":      "",
		"a: {b: }\n":  "",
	} {
		if got, err := strictyaml.Text("x.yaml", []byte(document), "a.b"); got != want || err != nil {
			t.Errorf("%q: %q %v, want %q", document, got, err, want)
		}
	}
	for _, document := range []string{"a: [", "a: {b: [c]}", "a: " + strings.Repeat("[", 10_000)} {
		if got, err := strictyaml.Text("x.yaml", []byte(document), "a.b"); err == nil || got != "" || !strings.HasPrefix(err.Error(), "x.yaml") {
			t.Errorf("%.20q: %q %v", document, got, err)
		}
	}
}
