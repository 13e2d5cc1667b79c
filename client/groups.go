package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// Group is a group, which Atlas also calls a project. It encodes as JSON in Atlas's form.
type Group struct {
	ID           string     `json:"id"`
	Name         string     `json:"name,omitempty"` // unique within the organization
	OrgID        string     `json:"orgId,omitempty"`
	ClusterCount int64      `json:"clusterCount"`
	Created      time.Time  `json:"created,omitzero"`
	Tags         []GroupTag `json:"tags,omitempty"`
}

// GroupTag is a label of a group.
type GroupTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (g Group) read() (*Group, error) {
	if g.ID == "" {
		return nil, errors.New("a group without an id")
	}
	return &g, nil
}

// ListGroups yields the groups that the credential may see, as [Client.ListExports] yields jobs.
func (c *Client) ListGroups(ctx context.Context, o ListOptions) iter.Seq2[*Group, error] {
	return pages("listGroups", o, func(o ListOptions) (*Page[Group], error) { return c.groups(ctx, o, false) })
}

// GroupsPage returns one page of the groups that the credential may see.
func (c *Client) GroupsPage(ctx context.Context, o ListOptions) (*Page[Group], error) {
	return c.groups(ctx, o, true)
}

func (c *Client) groups(ctx context.Context, o ListOptions, count bool) (*Page[Group], error) {
	op := c.caller.resendable("listGroups")
	op.found.page(o)
	return call[pageForm[Group, Group]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListGroups(ctx, &gen.ListGroupsParams{PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count})
	})
}

// GetGroup returns one group.
func (c *Client) GetGroup(ctx context.Context, groupID string) (*Group, error) {
	o := getGroup(c.caller, "getGroup", groupID)
	return call[Group](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetGroup(ctx, groupID, nil)
	})
}

// getGroup is the operation that reads one group.
func getGroup(c *caller, id, groupID string) operation {
	o := c.resendable(id)
	o.found.id("groupId", groupID)
	o.check = about("group", func(g *Group) bool { return g.ID == groupID })
	return o
}

// GetGroupByName returns the group with a name, 1 to 64 letters, digits, spaces and the marks
// -_.(),:&@+'.
func (c *Client) GetGroupByName(ctx context.Context, groupName string) (*Group, error) {
	o := c.caller.resendable("getGroupByName")
	o.found.groupName(groupName)
	return call[Group](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetGroupByName(ctx, groupName, nil)
	})
}

// ListGroups is as [Client.ListGroups].
func (v *V1) ListGroups(ctx context.Context, o ListOptions) iter.Seq2[*Group, error] {
	return pages("v1ListGroups", o, func(o ListOptions) (*Page[Group], error) { return v.groups(ctx, o, false) })
}

// GroupsPage is as [Client.GroupsPage].
func (v *V1) GroupsPage(ctx context.Context, o ListOptions) (*Page[Group], error) {
	return v.groups(ctx, o, true)
}

func (v *V1) groups(ctx context.Context, o ListOptions, count bool) (*Page[Group], error) {
	op := v.caller.resendable("v1ListGroups")
	op.found.page(o)
	return call[pageForm[Group, Group]](ctx, v.caller, op, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1ListGroups(ctx, &gen.V1ListGroupsParams{PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count})
	})
}

// GetGroup is as [Client.GetGroup].
func (v *V1) GetGroup(ctx context.Context, groupID string) (*Group, error) {
	o := getGroup(v.caller, "v1GetGroup", groupID)
	return call[Group](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetGroup(ctx, groupID, nil)
	})
}

// GetGroupByName is as [Client.GetGroupByName].
func (v *V1) GetGroupByName(ctx context.Context, groupName string) (*Group, error) {
	o := v.caller.resendable("v1GetGroupByName")
	o.found.groupName(groupName)
	return call[Group](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetGroupByName(ctx, groupName, nil)
	})
}
