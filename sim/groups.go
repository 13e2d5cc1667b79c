package sim

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// groupAnswer is a group as Atlas documents it. Inferred: its link is that to itself, and it was
// created when its id was made.
func (s *Server) groupAnswer(x *exchange, g *group) map[string]any {
	return map[string]any{
		"id":           g.ID,
		"name":         g.Name,
		"orgId":        g.Org.ID,
		"clusterCount": len(g.clusters),
		"created":      madeAt(g.ID),
		"tags":         []any{},
		"links":        []gen.Link{{Rel: ptr("self"), Href: ptr(s.groupURL(x, g))}},
	}
}

// madeAt returns when an id was made, which is its first four bytes.
func madeAt(id string) time.Time {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) < 4 {
		return time.Time{} // no id passes the checks that does not decode
	}
	return time.Unix(int64(binary.BigEndian.Uint32(raw)), 0).UTC()
}

// apiURL is the start of links to resources of the API in the generation of the request.
func (s *Server) apiURL(x *exchange) string {
	if x.version == "" {
		return s.origin(x) + "/api/atlas/v1.0"
	}
	return s.origin(x) + "/api/atlas/v2"
}

func (s *Server) groupURL(x *exchange, g *group) string { return s.apiURL(x) + "/groups/" + g.ID }

func (s *Server) clusterURL(x *exchange, c *Cluster) string {
	return s.groupURL(x, x.group) + "/clusters/" + c.Name
}

// replyGroups answers a page of the groups that the caller has access to. Their order, that of
// the seed, is inferred.
func (s *Server) replyGroups(ctx context.Context, num, size *int, count *bool) error {
	p, err := newPage(num, size, count)
	if err != nil {
		return err
	}
	x := exchangeOf(ctx)
	groups := []*group{}
	for _, g := range s.world.ordered {
		if x.caller.in(g.ID) {
			groups = append(groups, g)
		}
	}
	results := []map[string]any{}
	from, to := p.bounds(len(groups))
	for _, g := range groups[from:to] {
		results = append(results, s.groupAnswer(x, g))
	}
	return x.reply(listAnswer(s.links(x, p, len(groups)), results, p.total(len(groups))))
}

// replyGroup answers the group that authorize found, by its id or by its name.
func (s *Server) replyGroup(ctx context.Context) error {
	x := exchangeOf(ctx)
	return x.reply(s.groupAnswer(x, x.group))
}

// groupNamed returns the group with a name.
func (w *world) groupNamed(name string) (*group, error) {
	for _, g := range w.ordered {
		if g.Name == name {
			return g, nil
		}
	}
	return nil, failure(http.StatusNotFound, "GROUP_NAME_NOT_FOUND", `No group with name "%s" exists.`, name)
}

// ListGroups answers a page of groups.
func (a api) ListGroups(ctx context.Context, request gen.ListGroupsRequestObject) (gen.ListGroupsResponseObject, error) {
	return nil, a.replyGroups(ctx, request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
}

// GetGroup answers a group.
func (a api) GetGroup(ctx context.Context, _ gen.GetGroupRequestObject) (gen.GetGroupResponseObject, error) {
	return nil, a.replyGroup(ctx)
}

// GetGroupByName answers the group with a name.
func (a api) GetGroupByName(ctx context.Context, _ gen.GetGroupByNameRequestObject) (gen.GetGroupByNameResponseObject, error) {
	return nil, a.replyGroup(ctx)
}

// V1ListGroups is ListGroups in v1.0.
func (a api) V1ListGroups(ctx context.Context, request gen.V1ListGroupsRequestObject) (gen.V1ListGroupsResponseObject, error) {
	return nil, a.replyGroups(ctx, request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
}

// V1GetGroup is GetGroup in v1.0.
func (a api) V1GetGroup(ctx context.Context, _ gen.V1GetGroupRequestObject) (gen.V1GetGroupResponseObject, error) {
	return nil, a.replyGroup(ctx)
}

// V1GetGroupByName is GetGroupByName in v1.0.
func (a api) V1GetGroupByName(ctx context.Context, _ gen.V1GetGroupByNameRequestObject) (gen.V1GetGroupByNameResponseObject, error) {
	return nil, a.replyGroup(ctx)
}
