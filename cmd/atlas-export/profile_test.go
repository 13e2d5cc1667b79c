package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// A profile file may begin with a byte order mark. A change of the file keeps its comments.
func TestProfilesBehindAByteOrderMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, "\ufeff# of the team\nprofiles:\n  default:\n    output: json # for jq\n")
	for _, args := range []string{"config show", "config set output yaml", "config show"} {
		var stdout, stderr strings.Builder
		if status := run(t.Context(), strings.Split(args, " "), []string{"ATLAS_EXPORT_CONFIG=" + file}, strings.NewReader(""), &stdout, &stderr); status != 0 {
			t.Errorf("%s: %d %s", args, status, &stderr)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "# of the team\nprofiles:\n  default:\n    output: yaml # for jq\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// numbered returns n texts of a form, with the numbers from 0.
func numbered(n int, form string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

// A profile file that is costly to parse is refused before it is parsed, by every command that
// reads it, and also before it is changed. One within the bounds costs little.
func TestHostileProfiles(t *testing.T) {
	gatewaytest.Sequential(t)
	const (
		most    = 256 << 20 // allocated in all while a command runs; most of it is free again at once
		longest = 10 * time.Second
		nested  = "lists or mappings are nested more than 32 deep"
		marks   = "the file has more than 30000 entries and marks"
		size    = 200_000
	)
	for name, test := range map[string]struct{ text, refused string }{
		"open lists":      {strings.Repeat("[", 200_000), nested},
		"nested lists":    {"profiles: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), nested},
		"lists in a line": {"profiles:\n  default:\n    group: " + strings.Repeat("- ", 100_000), marks},
		"mappings":        {"profiles: " + strings.Repeat("{a: ", 50_000), nested},
		"aliases":         {"a: &a [x]\nprofiles: [" + strings.Repeat("*a, ", 50_000) + "]", marks},
		"keys":            {"profiles:\n  default:\n" + numbered(20_000, "    k%d: 1\n"), "a mapping has more than 1000 keys"},

		"growing aliases":  {"a0: &a0 [x, x]\n" + numbered(900, "a%[1]d_: &a%[1]d_ [*a%[1]d, *a%[1]d]\n"), "unknown key"},
		"a long scalar":    {"profiles:\n  default:\n    cluster: " + strings.Repeat("x", size), ""},
		"a quoted scalar":  {"profiles:\n  default:\n    cluster: \"" + strings.Repeat(`\n`, size/2) + "\"", ""},
		"a block":          {"profiles:\n  default:\n    cluster: |\n" + strings.Repeat("      x\n", size/8), ""},
		"lines of a plain": {"profiles:\n  default:\n    cluster: x\n" + strings.Repeat("      x\n", size/8), ""},
		"comments":         {"profiles:\n  default:\n    cluster: x\n" + strings.Repeat("    # x\n", size/8), ""},
		"comments before":  {strings.Repeat("# x\n", size/4) + "profiles:\n  default:\n    cluster: x\n", ""},
		"a long comment":   {"profiles:\n  default:\n    cluster: x # " + strings.Repeat("x", size) + "\n", ""},
		"empty lines":      {"profiles:\n  default:\n    cluster: x\n" + strings.Repeat("\n", size), ""},
		"900 profiles":     {"profiles:\n  default: {}\n" + numbered(900, "  p%d: {group: a, cluster: b, output: json} # one\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			writeFile(t, file, test.text)
			commands := []string{"config show", "config set output json", "config list -o json", "__complete config use ", "buckets list", "config use default"}
			if test.refused == "" && name != "900 profiles" {
				commands = commands[:2] // one that reads it and one that changes it
			}
			for _, args := range commands {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				var stdout, stderr strings.Builder
				status := run(t.Context(), strings.Split(args, " "), []string{"ATLAS_EXPORT_CONFIG=" + file}, strings.NewReader(""), &stdout, &stderr)
				took := time.Since(began)
				runtime.ReadMemStats(&after)
				bytes := after.TotalAlloc - before.TotalAlloc
				t.Logf("%s: %d MiB allocated in %v", args, bytes>>20, took)
				if bytes > most || took > longest {
					t.Errorf("%s: %d MiB were allocated in %v", args, bytes>>20, took)
				}
				switch {
				case test.refused == "":
					if status != exitOK && args != "buckets list" {
						t.Errorf("%s: exit status %d: %.300s", args, status, &stderr)
					}
				case strings.HasPrefix(args, "__complete"):
				case status != exitInvalid || !strings.Contains(stderr.String(), test.refused):
					t.Errorf("%s: exit status %d: %.300s", args, status, &stderr)
				}
			}
			if text, err := os.ReadFile(file); err != nil || (string(text) == test.text) != (test.refused != "") {
				t.Errorf("%v: the file was changed: %t", err, string(text) != test.text)
			}
		})
	}
}

// A file is not written if the program could not read it again, and stays as it is.
func TestProfilesThatWouldBeTooLarge(t *testing.T) {
	gatewaytest.Sequential(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "  p%d: {group: a}\n", i)
	}
	for name, test := range map[string]struct{ text, want string }{
		"in bytes": {"profiles:\n  default:\n    cluster: \"" + strings.Repeat(`\n`, 500_000) + "\"\n", "would be larger than 1048576 bytes"},
		"in keys":  {"profiles:\n" + many.String(), "not written, since it could not be read again: "},
	} {
		writeFile(t, file, test.text)
		var stdout, stderr strings.Builder
		status := run(t.Context(), []string{"config", "set", "output", "json"}, []string{"ATLAS_EXPORT_CONFIG=" + file}, nil, &stdout, &stderr)
		if status != exitInvalid || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: exit status %d: %.300s", name, status, &stderr)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != test.text {
			t.Errorf("%s: %v: the file was changed", name, err)
		}
	}
}
