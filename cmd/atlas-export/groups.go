package main

import (
	"strconv"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) groupsCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "groups",
		Aliases: []string{"projects", "project"},
		Short:   "List the groups that the key may see, and show one",
	})
	c.AddCommand(a.groupsList(), a.groupsGet())
	return c
}

func (a *app) groupsList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the groups that the key may see",
		Long: `List the groups that the key may see. Atlas also calls them projects. A gateway allows the list
to callers whose grant is for all groups. ` + aboutLists,
		Example: "  atlas-export groups list",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.inSession(c, nil, func(s *session) error {
				return printList(a, c, s.format, list[client.Group]{
					items:  s.ListGroups(c.Context(), largestPages),
					plural: "groups",
					none:   "there are no groups",
					header: []string{"ID", "NAME", "CLUSTERS", "ORGANIZATION", "CREATED"},
					name:   func(g *client.Group) string { return "group/" + g.ID },
					row: func(g *client.Group) []string {
						return []string{g.ID, g.Name, strconv.FormatInt(g.ClusterCount, 10), g.OrgID, formatTime(g.Created)}
					},
				}, all)
			})
		},
	}
	defineAll(c, &all)
	return c
}

func (a *app) groupsGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get",
		Aliases: []string{"describe"},
		Short:   "Show the group that --group or the settings name",
		Example: "  atlas-export groups get --group production",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			found, err := s.GetGroup(c.Context(), s.group)
			if err != nil {
				return err
			}
			rows := [][]string{
				{"ID", found.ID},
				{"NAME", found.Name},
				{"CLUSTERS", strconv.FormatInt(found.ClusterCount, 10)},
				{"ORGANIZATION", found.OrgID},
				{"CREATED", formatTime(found.Created)},
			}
			for _, tag := range found.Tags {
				rows = append(rows, []string{"TAG", tag.Key + "=" + tag.Value})
			}
			return a.print(s.format, found, []string{"group/" + found.ID}, filled(rows))
		}),
	}
}
