package sim

import (
	"fmt"
	"net/url"
	"strings"

	"atlas-export-gateway/gen"
)

// page says which part of a list was asked for.
type page struct {
	num, size int
	count     bool
	own       string // parameters that only this list has, as its links write them: "a=b&"
}

// newPage reads the three parameters of a list. All are optional.
func newPage(num, size *int, count *bool) (page, error) {
	p := page{num: 1, size: 100, count: true}
	if num != nil {
		p.num = *num
	}
	if size != nil {
		p.size = *size
	}
	if count != nil {
		p.count = *count
	}
	switch {
	case p.num < 1:
		return p, invalidQuery("pageNum")
	case p.size < 1 || p.size > 500:
		return p, invalidQuery("itemsPerPage")
	}
	return p, nil
}

// bounds returns which of total items are on the page.
func (p page) bounds(total int) (from, to int) {
	if p.num-1 > total/p.size { // otherwise the product below might overflow
		return total, total
	}
	from = min((p.num-1)*p.size, total)
	return from, min(from+p.size, total)
}

// total returns totalCount, which includeCount=false leaves out.
func (p page) total(total int) *int {
	if !p.count {
		return nil
	}
	return &total
}

// links returns the links to the page itself and to its neighbours. They write out all
// parameters, also those that the request left out. The link to the page itself and that to the
// next page have them in different orders, as recorded. Inferred: the link to the previous page
// has the order of next, and pretty and parameters of a list's own keep their places.
func (s *Server) links(x *exchange, p page, total int) *[]gen.Link {
	query := x.request.URL.Query()
	// In v1.0, links have includeCount only if the request has it. For false this is inferred.
	lead := ""
	if x.version != "" || query.Has("includeCount") {
		lead = fmt.Sprintf("includeCount=%t&", p.count)
	}
	tail := ""
	for _, kept := range []string{"pretty", "envelope"} { // envelope: inferred
		if query.Has(kept) {
			tail += "&" + kept + "=" + url.QueryEscape(query.Get(kept))
		}
	}
	base := s.origin(x) + x.path
	link := func(rel, order string, first, second int) gen.Link {
		return gen.Link{Rel: &rel, Href: ptr(base + "?" + lead + p.own + fmt.Sprintf(order, first, second) + tail)}
	}
	const neighbour = "itemsPerPage=%d&pageNum=%d"
	links := []gen.Link{link("self", "pageNum=%d&itemsPerPage=%d", p.num, p.size)}
	if _, to := p.bounds(total); to < total {
		links = append(links, link("next", neighbour, p.size, p.num+1))
	}
	if p.num > 1 {
		links = append(links, link("previous", neighbour, p.size, p.num-1))
	}
	return &links
}

// origin is the start of links: Atlas's own origin, whatever the Host of the request.
func (s *Server) origin(x *exchange) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimSuffix(s.cfg.PublicURL, "/")
	}
	if base := s.URL(); base != "" {
		return base
	}
	return "http://" + x.request.Host
}
