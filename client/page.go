package client

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"

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

// pages yields the results of one page after the other, as read returns them. It uses the link
// to the next page only to know that there is another page, and ignores where the link leads.
func pages[T any](operation string, o ListOptions, read func(ListOptions) (*Page[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		var last *Page[T]
		for o := o; ; o.PageNum++ {
			o.PageNum = max(o.PageNum, 1)
			page, err := read(o)
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
			more := page.linksNext || !page.hasLinks && len(page.Results) >= cmp.Or(o.ItemsPerPage, 100)
			switch {
			case !more:
				return
			case len(page.Results) == 0 || last != nil && reflect.DeepEqual(page.Results, last.Results):
				yield(nil, &Error{Operation: operation, Err: fmt.Errorf("%w: page %d is empty, or as the one before, and another is to follow", errNoContent, o.PageNum)})
				return
			}
			last = page
		}
	}
}

// orNil returns nil for the zero value. In the generated types, nil is a member that is absent.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
