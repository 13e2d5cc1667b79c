package strictyaml_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"atlas-export-gateway/internal/strictyaml"
)

// many returns a text for each number below n, one behind the other.
func many(n int, f func(int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(f(i))
	}
	return b.String()
}

// Files that are costly to parse are refused before they are parsed, with the line, and files below
// the bounds cost little: what the decoder allocates is bounded for both.
func TestBounds(t *testing.T) {
	const most = 160 << 20 // allocated in all while a file is read; most of it is free again at once
	indent := func(i int) string { return strings.Repeat(" ", i) }
	for name, test := range map[string]struct{ text, want string }{
		"open lists":              {strings.Repeat("[", 200_000), ":1: lists or mappings are nested more than 32 deep"},
		"lists":                   {"a: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), ":1: lists or mappings are nested"},
		"mappings":                {strings.Repeat("{a: ", 50_000), ":1: lists or mappings are nested"},
		"lists line by line":      {strings.Repeat("[\n", 100_000), ":33: lists or mappings are nested"},
		"lists in one line":       {strings.Repeat("- ", 100_000), ":1: lists or mappings are nested"},
		"complex keys":            {strings.Repeat("? ", 100_000), ":1: lists or mappings are nested"},
		"complex values":          {strings.Repeat(": ", 100_000), ":1: lists or mappings are nested"},
		"keys":                    {many(20_000, func(i int) string { return fmt.Sprintf("k%d: 1\n", i) }), ":1001: a mapping has more than 1000 keys"},
		"keys in a list":          {"a:\n- b: 1\n" + many(20_000, func(i int) string { return fmt.Sprintf("  k%d:\n", i) }), ":1002: a mapping has more than 1000 keys"},
		"keys in braces":          {"{" + many(20_000, func(i int) string { return fmt.Sprintf("k%d: 1,", i) }) + "}", ":1: "},
		"keys in lines of braces": {"{" + many(20_000, func(i int) string { return fmt.Sprintf("k%d: 1,\n", i) }) + "}", ": one list or mapping in brackets has more than 4000"},
		"explicit keys":           {many(20_000, func(i int) string { return fmt.Sprintf("? k%d\n", i) }), ":1001: a mapping has more than 1000 keys"},
		"lists behind a comment":  {"#\ra: " + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000), ":1: a carriage return without a line feed"},
		"keys in one line":        {strings.Repeat("k: 1\r", 14_000), ":1: a carriage return without a line feed"},
		"merge keys":              {strings.Repeat("<", 200_000), "f: the character < occurs more than 1000 times"},
		"documents":               {strings.Repeat("--- a\n", 30_000), ":2: a second document; the file must hold one"},
		"aliases":                 {"a: &a [x]\n" + strings.Repeat("b: *a\n", 33_000), ":1001: a mapping has more than 1000 keys"},
		"a list of aliases":       {"a: &a [x]\nb: [" + strings.Repeat("*a, ", 50_000) + "]", ":2: "},
		"entries":                 {strings.Repeat("- a\n", 60_000), ":30001: the file has more than 30000"},
		"short lists":             {strings.Repeat("- "+strings.Repeat("[", 30)+strings.Repeat("]", 30)+"\n", 3_000), ": the file has more than 30000"},

		"a long text":        {"a: " + strings.Repeat("x", 1<<20), "a: unknown key"},
		"a long quoted text": {`a: "` + strings.Repeat(`x\n`, 300_000) + `"`, "a: unknown key"},
		"a long block":       {"a: |\n" + strings.Repeat("  x\n", 200_000), "a: unknown key"},
		"a deep mapping":     {many(600, func(i int) string { return indent(i) + "a:\n" }), "a: unknown key"},
		"a deep list":        {many(600, func(i int) string { return indent(i) + "-\n" }), ""},
		"1000 keys":          {many(1_000, func(i int) string { return fmt.Sprintf("k%d: 1\n", i) }), "k0: unknown key"},
		"30000 entries":      {strings.Repeat("- a\n", 29_999), ""},
		"4000 marks":         {"{" + many(1_999, func(i int) string { return fmt.Sprintf("k%d: 1,", i) }) + "}", "k0: unknown key"},
		"anchors":            {strings.Repeat("&a ", 29_000), ""},
		"tags":               {strings.Repeat("!a ", 29_000), ""},
		"a long plain text":  {"a: " + strings.Repeat("x\n  ", 200_000), "a: unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := strictyaml.Decode("f", []byte(test.text), new(struct{}))
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%.200v, want %s", err, test.want)
			}
			bound := uint64(most)
			if strings.HasPrefix(test.want, ":") { // refused by the scan
				bound = 1 << 20
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > bound {
				t.Errorf("%d bytes of YAML had %d MiB allocated", len(test.text), n>>20)
			}
		})
	}
}

// What a large gateway is configured with is within the bounds.
func TestBoundsLeaveRoom(t *testing.T) {
	var into struct {
		List []struct {
			Name   string                                  `yaml:"name"`
			Grants []struct{ Operations, Groups []string } `yaml:"grants"`
		} `yaml:"list"`
	}
	text := "list:\n" + many(1_200, func(i int) string {
		return fmt.Sprintf("  - name: pipeline-%d\n    grants:\n      - {operations: [read, export], groups: ['64f0c1a2b3d4e5f60718293[0-9]']}\n", i)
	})
	if _, err := strictyaml.Decode("f", []byte(text), &into); err != nil || len(into.List) != 1_200 {
		t.Errorf("%d callers: %v", len(into.List), err)
	}
}
