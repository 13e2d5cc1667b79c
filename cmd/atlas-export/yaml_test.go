package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

var texts = []string{"", " ", "a", "a b", "a: b", "a:", "a #b", "#a", "- a", "-", "?", "*a", "&a", "!a", "%a", "@a", "`a", "{}", "[]", "a,b", "'a'", `"a"`, `\`,
	"true", "No", "y", "null", "~", "1", "1.5", "1e5", "0x10", "0o7", "1_000", ".inf", ".nan", "2026-08-10", "2026-08-10T03:28:25Z", "12:30:45",
	"6a01e0b45be2d84417c09f10", "640012345678901234567890", "64e012345678901234567890", "0b0101010101010101010101", "000000000000000000000000", "https://acmebackups.blob.core.windows.net/exports",
	"/exported_snapshots/a/2026-08-10T0327/1786332505", "a\nb", "a\r\nb\n", "\ta", "a\x1b[31m", "a\x00b", "a\u0085b", "a\u2028b", "\ufeffa", "a\u202eb", "ü", "日本", "\U0001f600", "\U000e0001", "<a&b>"}

// Other parsers read back from the JSON and the YAML what was written. Neither has characters that
// a terminal acts on.
func TestEncodings(t *testing.T) {
	type thing struct {
		Text   string            `json:"text"`
		Number int               `json:"number"`
		Flag   bool              `json:"flag"`
		None   *int              `json:"none"`
		Empty  []int             `json:"empty"`
		Object struct{}          `json:"object"`
		Named  map[string]string `json:"named"`
		Lists  [][]string        `json:"lists"`
		Deep   []map[string]any  `json:"deep"`
	}
	for _, text := range texts {
		in := thing{Text: text, Number: 42, Flag: true, Empty: []int{}, Named: map[string]string{"a" + text: text, "b": "c"},
			Lists: [][]string{{text, "x"}, {text}, {}}, Deep: []map[string]any{{"a": map[string]any{"b": []any{text}}, "c": text}, {"d": text}}}
		asJSON, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(asJSON, &want); err != nil {
			t.Fatal(err)
		}
		var j, y bytes.Buffer
		if err := encodeJSON(&j, in, "", "  "); err != nil {
			t.Fatal(err)
		}
		if err := encodeYAML(&y, in, ""); err != nil {
			t.Fatal(err)
		}
		var fromJSON, fromYAML any
		if err := json.Unmarshal(j.Bytes(), &fromJSON); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if err := yaml.Unmarshal(y.Bytes(), &fromYAML); err != nil {
			t.Errorf("%q: %v in\n%s", text, err, &y)
		}
		// Parsers differ in the types of numbers and of empty names.
		again, err := json.Marshal(fromYAML)
		if err != nil {
			t.Fatal(err)
		}
		fromYAML = nil
		if err := json.Unmarshal(again, &fromYAML); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, fromJSON); diff != "" {
			t.Errorf("JSON of %q: %s", text, diff)
		}
		if diff := cmp.Diff(want, fromYAML); diff != "" {
			t.Errorf("YAML of %q: %s\n%s", text, diff, &y)
		}
		checkPrintable(t, j.String()+y.String())
	}
}
