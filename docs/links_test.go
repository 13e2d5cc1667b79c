// Package docs_test checks the project's pages: it runs their commands against the simulated
// Atlas, and follows their links.
package docs_test

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/api"
	"atlas-export-gateway/internal/pages"
)

const root = ".."

func all(t *testing.T) []*pages.Page {
	t.Helper()
	all, err := pages.All(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every relative link leads to a file, and every fragment to a heading.
func TestLinks(t *testing.T) {
	read, followed := all(t), 0
	anchors := map[string][]string{}
	for _, p := range read {
		anchors[p.Path] = p.Anchors
	}
	for _, p := range read {
		for _, link := range p.Links {
			target, err := url.Parse(link.Target)
			if err != nil {
				t.Errorf("%s:%d: %v", p.Path, link.Line, err)
				continue
			}
			if target.Scheme != "" {
				continue
			}
			followed++
			to := p.Path
			if target.Path != "" {
				to = path.Join(path.Dir(p.Path), target.Path)
			}
			if !there(to) {
				t.Errorf("%s:%d: %s leads to no file", p.Path, link.Line, link.Target)
			} else if target.Fragment != "" && !slices.Contains(anchors[to], target.Fragment) {
				t.Errorf("%s:%d: %s leads to no heading", p.Path, link.Line, link.Target)
			}
		}
	}
	if len(read) < 10 || followed < 100 {
		t.Errorf("there are %d pages and %d links", len(read), followed)
	}
}

// there reports whether a path leads to a file or a folder below the top folder, whose names are
// spelt as in the path also where the file system does not insist.
func there(name string) bool {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return false
	}
	folder := root
	for element := range strings.SplitSeq(name, "/") {
		entries, err := os.ReadDir(folder)
		if err != nil || element != "." && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == element }) {
			return false
		}
		folder = filepath.Join(folder, element)
	}
	return true
}

// A source file that a page names in a code span exists.
func TestFilesAreThere(t *testing.T) {
	file := regexp.MustCompile(`^[a-z][a-z0-9]*/[A-Za-z0-9_./-]+\.(go|md|yaml|svg|mjs|service)$`)
	named := 0
	for _, p := range all(t) {
		for _, span := range p.Code {
			if !file.MatchString(span) {
				continue
			}
			named++
			if !there(span) {
				t.Errorf("%s names %s, which is not there", p.Path, span)
			}
		}
	}
	if named < 10 {
		t.Errorf("the pages name %d files", named)
	}
}

// The picture of a request's way says how many operations the contract has.
func TestPictureCountsOperations(t *testing.T) {
	document, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	operations := 0
	for _, item := range document.Paths.Map() {
		operations += len(item.Operations())
	}
	picture, err := os.ReadFile(filepath.Join(root, "docs/flow.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(">%d operations<", operations); !strings.Contains(string(picture), want) {
		t.Errorf("docs/flow.svg does not say %s", want)
	}
}

// The picture has the steps of the table in ARCHITECTURE.md, in their order and with their
// statuses, and the README says how many they are.
func TestPictureHasTheSteps(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var want, got []string
	_, table, _ := strings.Cut(read("ARCHITECTURE.md"), "\n| step |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z]+) \|.*\| ([0-9, ]*)\|$`).FindAllStringSubmatch(table, -1) {
		want = append(want, strings.TrimSpace(row[1]+" "+row[2]))
	}
	var statuses []string
	for _, text := range regexp.MustCompile(`<text class="(status|name)".*?>(.+?)</text>`).FindAllStringSubmatch(read("docs/flow.svg"), -1) {
		if text[1] == "status" {
			statuses = append(statuses, text[2])
			continue
		}
		got = append(got, strings.TrimSpace(text[2]+" "+strings.Join(statuses, ", ")))
		statuses = nil
	}
	if !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("docs/flow.svg has the steps\n%q, the table has\n%q", got, want)
	}
	if text := fmt.Sprintf("A request passes %d steps in the gateway;", len(want)); !strings.Contains(read("README.md"), text) {
		t.Errorf("README.md does not say: %s", text)
	}
}

// The README fits on two screens.
func TestReadmeIsShort(t *testing.T) {
	const most = 8192
	readme, err := os.Stat(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if readme.Size() > most {
		t.Errorf("README.md has %d bytes, and may have %d", readme.Size(), most)
	}
}

// The index names every page outside of docs/cli, which has an index of its own.
func TestIndexNamesEveryPage(t *testing.T) {
	linked := map[string]bool{"README.md": true, "docs/README.md": true}
	for _, p := range all(t) {
		if p.Path != "docs/README.md" {
			continue
		}
		for _, link := range p.Links {
			linked[path.Join("docs", link.Target)] = true
		}
	}
	for _, p := range all(t) {
		if !linked[p.Path] && path.Dir(p.Path) != "docs/cli" {
			t.Errorf("docs/README.md does not name %s", p.Path)
		}
	}
}
