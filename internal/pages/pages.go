// Package pages reads the project's Markdown pages for tests: their fenced blocks, their headings
// and their links. Tests run the blocks as pasted, and check that links resolve.
package pages

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// Page is a page, without what fenced blocks hold.
type Page struct {
	// Path is the file, from the top folder, such as docs/callers.md.
	Path string
	// Blocks are the fenced blocks, in their order.
	Blocks []Block
	// Anchors are the fragments that links to the page may have.
	Anchors []string
	// Links are what the page links to.
	Links []Link
	// Code is what stands in code spans.
	Code []string
}

// Block is a fenced block.
type Block struct {
	// Page is the path of its page.
	Page string
	// Headings are the anchors of the headings above it, the nearest last.
	Headings []string
	// Language is what stands behind the fence: sh, go, or nothing for output.
	Language string
	// Number counts the blocks of the language below the nearest heading, from 1.
	Number int
	// Text is the content, with a line end.
	Text string
}

// Name is the selector of the one block: docs/callers.md#keys sh 1.
func (b Block) Name() string {
	return fmt.Sprintf("%s#%s %s %d", b.Page, b.Headings[len(b.Headings)-1], b.Language, b.Number)
}

// Link is a link or a picture.
type Link struct {
	// Target is as written: a path from the page's folder, a fragment or a URL.
	Target string
	// Line counts from 1.
	Line int
}

var (
	fence      = regexp.MustCompile("^\\s*(?:```|~~~)(.*)$")
	heading    = regexp.MustCompile(`^(#+) (.*)$`)
	code       = regexp.MustCompile("`([^`]*)`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|(?:href|src)="([^"]+)"`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	isSelector = regexp.MustCompile(`^([A-Za-z0-9/_-]+\.md)(?:#([a-z0-9_-]+))? ([a-z]+)(?: ([0-9]+))?$`)
)

// Read reads a page below the top folder.
func Read(root, name string) (*Page, error) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return parse(name, string(content))
}

func parse(name, content string) (*Page, error) {
	p := &Page{Path: name}
	headings := []string{""} // by level, from 1; "" above the first
	counts := map[string]int{}
	open := -1 // the index of the block that has not ended
	number := 0
	for line := range strings.Lines(content) {
		number++
		text := strings.TrimRight(line, "\r\n")
		if mark := fence.FindStringSubmatch(text); mark != nil {
			if open >= 0 {
				open = -1
				continue
			}
			if text[0] != '`' {
				return nil, fmt.Errorf("%s:%d: a block begins with ``` at the start of the line", name, number)
			}
			b := Block{Page: name, Language: mark[1], Headings: slices.DeleteFunc(slices.Clone(headings), func(h string) bool { return h == "" })}
			if len(b.Headings) == 0 {
				return nil, fmt.Errorf("%s:%d: a block stands above the first heading", name, number)
			}
			key := b.Headings[len(b.Headings)-1] + " " + b.Language
			counts[key]++
			b.Number = counts[key]
			open, p.Blocks = len(p.Blocks), append(p.Blocks, b)
			continue
		}
		if open >= 0 {
			p.Blocks[open].Text += text + "\n"
			continue
		}
		if mark := heading.FindStringSubmatch(text); mark != nil {
			level := len(mark[1])
			for len(headings) < level {
				headings = append(headings, "")
			}
			anchor := p.anchor(mark[2])
			headings = append(headings[:level-1], anchor)
			p.Anchors = append(p.Anchors, anchor)
		}
		for _, span := range code.FindAllStringSubmatch(text, -1) {
			p.Code = append(p.Code, span[1])
		}
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			p.Links = append(p.Links, Link{cmp.Or(found[1], found[2], found[3]), number})
		}
	}
	if open >= 0 {
		return nil, fmt.Errorf("%s: the last block does not end", name)
	}
	return p, nil
}

// anchor returns the fragment that GitHub gives a heading: in lower case, spaces as hyphens,
// without punctuation, and numbered where the page has it already.
func (p *Page) anchor(title string) string {
	title = linkText.ReplaceAllString(title, "$1")
	anchor := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
	unique := anchor
	for n := 1; slices.Contains(p.Anchors, unique); n++ {
		unique = anchor + "-" + strconv.Itoa(n)
	}
	return unique
}

// All reads the pages of the top folder and of docs.
func All(root string) ([]*Page, error) {
	var names []string
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, err
	}
	for _, name := range top {
		names = append(names, filepath.Base(name))
	}
	err = fs.WalkDir(os.DirFS(root), "docs", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Ext(name) == ".md" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []*Page
	for _, name := range names {
		p, err := Read(root, name)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Selector names blocks of a page: one of them, as in "docs/callers.md#keys sh 1"; or all in a
// language, below a heading ("docs/callers.md#keys sh") or in the page ("docs/callers.md sh").
type Selector struct {
	Page, Heading, Language string
	Number                  int // 0 for all
}

// ParseSelector reads a selector; ok says whether the text is one.
func ParseSelector(text string) (s Selector, ok bool) {
	found := isSelector.FindStringSubmatch(text)
	if found == nil {
		return Selector{}, false
	}
	s = Selector{Page: found[1], Heading: found[2], Language: found[3]}
	s.Number, _ = strconv.Atoi(found[4])
	return s, true
}

// Selects reports whether the selector names a block.
func (s Selector) Selects(b Block) bool {
	switch {
	case b.Page != s.Page || b.Language != s.Language:
		return false
	case s.Number > 0:
		return b.Number == s.Number && b.Headings[len(b.Headings)-1] == s.Heading
	}
	return s.Heading == "" || slices.Contains(b.Headings, s.Heading)
}

// Blocks returns the text of each block that a selector names. The test fails where there is
// none.
func Blocks(t testing.TB, root, selector string) []string {
	t.Helper()
	s, ok := ParseSelector(selector)
	if !ok {
		t.Fatalf("%q is no selector of blocks", selector)
	}
	p, err := Read(root, s.Page)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, b := range p.Blocks {
		if s.Selects(b) {
			texts = append(texts, b.Text)
		}
	}
	if len(texts) == 0 {
		t.Fatalf("no block is %s", selector)
	}
	return texts
}
