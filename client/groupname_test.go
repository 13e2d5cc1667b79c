package client_test

import (
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/client"
)

// The client sends the names of groups that the contract allows, escaped so that the contract
// reads the same name, and no others.
func TestGroupNames(t *testing.T) {
	c := compiled(t)
	for _, v := range append(texts, "Production (EU)", "a/b", "%2e", "..", ".", "...", "a&b'c,d:e@f+g", "a?b", "a#b", "a;b", "a%b", "Ünïcode 9", "a\x00", "日本語", " ") {
		match, err := c.Match("GET", "/api/atlas/v2/groups/byName/"+strings.ReplaceAll(url.PathEscape(v), "~", "%7E"))
		allowed := err == nil && match.Operation.ID == "getGroupByName"
		if allowed {
			_, err := match.Check(match.Operation.Versions[0], nil, nil, 1000)
			allowed = err == nil
		}
		request := sent(t, func(c *client.Client) error { return dropResult(c.GetGroupByName(t.Context(), v)) })
		if (request != nil) != allowed {
			t.Errorf("%q: the contract says %v", v, allowed)
		}
		if request == nil {
			continue
		}
		if match, err = c.Match("GET", request.URL.RequestURI()); err == nil {
			_, err = match.Check(match.Operation.Versions[0], nil, nil, 1000)
		}
		if err != nil || request.URL.Path != "/api/atlas/v2/groups/byName/"+v {
			t.Errorf("%q: sent as %s: %v", v, request.URL.RequestURI(), err)
		}
	}
}
