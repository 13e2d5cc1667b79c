package client

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"atlas-export-gateway/gen"
)

// ListOptions choose one page of a list, or where the reading of all pages begins.
type ListOptions struct {
	// PageNum is the page, counted from 1; 0 means 1.
	PageNum int
	// ItemsPerPage is how many items make a page, 1 to 500; 0 means 100.
	ItemsPerPage int
}

// maxItems is the largest page.
const maxItems = 500

// Page is one page of a list. It encodes as JSON in Atlas's form, without the links.
type Page[T any] struct {
	Results    []T `json:"results"`
	TotalCount int `json:"totalCount"` // how many items all pages hold

	more  bool // a link says that another page follows
	links bool // there are links at all
}

// pageForm is a page as Atlas writes it, of results in the form F.
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
	page.links = len(f.Links) > 0
	for _, link := range f.Links {
		page.more = page.more || orZero(link.Rel) == "next"
	}
	return page, nil
}

// pages yields what read returns for one page after the other. Of the link to the next page
// only its being there counts: where it points is for the server to know.
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
			// Without links only a page that is not full is surely the last.
			more := page.more || !page.links && len(page.Results) >= cmp.Or(o.ItemsPerPage, 100)
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

// orNil returns nil for the zero value, which is how the generated types spell "absent".
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
