package pages_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/pages"

	"github.com/google/go-cmp/cmp"
)

const page = "# The `first` page\n\nSee [here](other.md#a), ![a picture](a.svg) and `[not](this)`.\n" +
	"```sh\nmake test\n# [no](link)\n```\n" +
	"## What's new?\n```sh\none\n```\n```\noutput\n```\n```sh\ntwo\n```\n" +
	"### [Deeper](x.md)\n```sh\nthree\n```\n## What's new?\n[b]: https://example.com/\n"

func write(t *testing.T, content string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "docs", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"A.md", "docs/b.md", "docs/sub/c.md", "docs/d.txt"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRead(t *testing.T) {
	all, err := pages.All(write(t, page))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0].Path != "A.md" || all[1].Path != "docs/b.md" || all[2].Path != "docs/sub/c.md" {
		t.Fatalf("the pages are %+v", all)
	}
	const first, second = "the-first-page", "whats-new"
	want := &pages.Page{
		Path: "A.md",
		Blocks: []pages.Block{
			{"A.md", []string{first}, "sh", 1, "make test\n# [no](link)\n"},
			{"A.md", []string{first, second}, "sh", 1, "one\n"},
			{"A.md", []string{first, second}, "", 1, "output\n"},
			{"A.md", []string{first, second}, "sh", 2, "two\n"},
			{"A.md", []string{first, second, "deeper"}, "sh", 1, "three\n"},
		},
		Anchors: []string{first, second, "deeper", "whats-new-1"},
		Links:   []pages.Link{{"other.md#a", 3}, {"a.svg", 3}, {"x.md", 18}, {"https://example.com/", 23}},
		Code:    []string{"first", "[not](this)"},
	}
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if name := all[0].Blocks[3].Name(); name != "A.md#whats-new sh 2" {
		t.Error(name)
	}
}

func TestBlocks(t *testing.T) {
	root := write(t, page)
	for selector, want := range map[string]string{
		"A.md sh":                  "make test\n# [no](link)\n|one\n|two\n|three\n",
		"A.md#the-first-page sh":   "make test\n# [no](link)\n|one\n|two\n|three\n",
		"A.md#the-first-page sh 1": "make test\n# [no](link)\n",
		"docs/b.md#whats-new sh":   "one\n|two\n|three\n",
		"A.md#whats-new sh 2":      "two\n",
	} {
		if got := strings.Join(pages.Blocks(t, root, selector), "|"); got != want {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
	for _, text := range []string{"A.md", "a file sh 1", "A.md#b sh one"} {
		if _, ok := pages.ParseSelector(text); ok {
			t.Errorf("%q is taken for a selector", text)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"# A\n```sh\nmake\n":                "A.md: the last block does not end",
		"# A\n\n1. Do\n   ```sh\n   make\n": "A.md:4: a block begins with ``` at the start of the line",
		"```sh\nmake\n```\n":                "A.md:1: a block stands above the first heading",
	} {
		if _, err := pages.Read(write(t, content), "A.md"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}
