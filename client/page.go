package client

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	"atlas-export-gateway/gen"
)

// ListOptions choose one page of a list, or the page at which reading all of them begins.
type ListOptions struct {
	// PageNum is the number of the page, from 1; 0 means 1.
	PageNum int
	// ItemsPerPage is how many items a page has, 1 to 500; 0 means 100.
	ItemsPerPage int
}

// maxItems is how many items a page has at most.
const maxItems = 500

// Page is one page of a list. It encodes as JSON in Atlas's form, without the links.
type Page[T any] struct {
	Results    []T `json:"results"`
	TotalCount int `json:"totalCount"` // how many items all pages hold

	linksNext bool // a link leads to another page
	hasLinks  bool // there are links at all
}

// pageForm is a page as Atlas writes it. Its results are in the form F.
type pageForm[F form[T], T any] struct {
	Results    []F        `json:"results"`
	TotalCount int        `json:"totalCount"`
	Links      []gen.Link `json:"links"`
}

func (f pageForm[F, T]) read() (*Page[T], error) {
	if f.Results == nil {
		return nil, errors.New("a page without results")
	}
	page := &Page[T]{Results: make([]T, len(f.Results)), TotalCount: f.TotalCount}
	for i := range f.Results {
		result, err := f.Results[i].read()
		if err != nil {
			return nil, err
		}
		page.Results[i] = *result
	}
	page.hasLinks = len(f.Links) > 0
	for _, link := range f.Links {
		page.linksNext = page.linksNext || orZero(link.Rel) == "next"
	}
	return page, nil
}

// listed is what lists hold.
type listed interface {
	key() string // what tells it from the others of the same list
}

func (j ExportJob) key() string    { return j.ID }
func (b ExportBucket) key() string { return b.ID }
func (c Cluster) key() string      { return c.Name }
func (s Snapshot) key() string     { return s.ID }
func (g Group) key() string        { return g.ID }

// onePage yields the results of a list that has no pages, as read returns them.
func onePage[T any](read func() (*Page[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		page, err := read()
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range page.Results {
			if !yield(&page.Results[i], nil) {
				return
			}
		}
	}
}

// pages yields the results of one page after the other, as read returns them. It uses the link
// to the next page only to know that there is another page, and ignores where the link leads.
func pages[T listed](operation string, o ListOptions, read func(ListOptions) (*Page[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		var earlier repeats
		for o := o; ; o.PageNum++ {
			o.PageNum = max(o.PageNum, 1)
			page, err := read(o)
			if err == nil {
				err = checkPage(operation, o.PageNum, page, &earlier)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Results {
				if !yield(&page.Results[i], nil) {
					return
				}
			}
			// Where there are no links, a page is surely the last only if it is not full.
			if !page.linksNext && (page.hasLinks || len(page.Results) < cmp.Or(o.ItemsPerPage, 100)) {
				return
			}
		}
	}
}

// checkPage returns an error for a page with which a list would not come closer to its end: a page
// that is empty although another is to follow, or that has the items of an earlier one.
func checkPage[T listed](operation string, number int, page *Page[T], earlier *repeats) error {
	if len(page.Results) == 0 {
		if !page.linksNext {
			return nil
		}
		return &Error{Operation: operation, Err: fmt.Errorf("%w: page %d is empty, and another is to follow", errNoContent, number)}
	}
	keys := make([]string, len(page.Results))
	for i, result := range page.Results {
		keys[i] = result.key()
	}
	if same := earlier.find(number, keys); same != 0 {
		return &Error{Operation: operation, Err: fmt.Errorf("%w: page %d has the same items as page %d", errNoContent, number, same)}
	}
	return nil
}

// repeats remembers a few pages of a list, in order to notice pages that come again. It notices
// pages that go round however many they are, and keeps three (Brent's algorithm).
type repeats struct {
	seen              int // how many pages
	first, mark, last numberedPage
}

// numberedPage is a page with the keys of its items. The zero value is none.
type numberedPage struct {
	number int
	keys   []string
}

// find returns the number of the remembered page that has the same items as this page, or 0.
func (r *repeats) find(number int, keys []string) int {
	for _, page := range []numberedPage{r.last, r.first, r.mark} {
		if page.number != 0 && slices.Equal(page.keys, keys) {
			return page.number
		}
	}
	r.last = numberedPage{number, keys}
	if r.seen == 0 {
		r.first = r.last
	}
	if r.seen++; r.seen&(r.seen-1) == 0 { // pages 1, 2, 4, 8 and so on
		r.mark = r.last
	}
	return 0
}

// orNil returns nil for the zero value. In the generated types, nil is a member that is absent.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
