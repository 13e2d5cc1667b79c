package main

import (
	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) clustersCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "clusters",
		Aliases: []string{"cluster"},
		Short:   "List the clusters of a group, and show one",
	})
	c.AddCommand(a.clustersList(), a.clustersGet())
	return c
}

func (a *app) clustersList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the clusters of the group",
		Long:    "List the clusters of the group. " + aboutLists,
		Example: "  atlas-export clusters list\n  atlas-export clusters list -o name",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			return printList(a, c, s.format, list[client.Cluster]{
				items:  s.ListClusters(c.Context(), s.group, largestPages),
				plural: "clusters",
				none:   "there are no clusters",
				header: []string{"NAME", "TYPE", "STATE", "ID"},
				name:   func(c *client.Cluster) string { return "cluster/" + c.Name },
				row:    func(c *client.Cluster) []string { return []string{c.Name, c.ClusterType, c.StateName, c.ID} },
			}, all)
		}),
	}
	defineAll(c, &all)
	return c
}

func (a *app) clustersGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get CLUSTER",
		Aliases: []string{"describe"},
		Short:   "Show a cluster, and whether its last changes are applied",
		Long: `Show a cluster, and whether its last changes are applied. The latter is only in the table, since
Atlas has it in another answer.`,
		Example:           "  atlas-export clusters get orders",
		Args:              arguments("CLUSTER"),
		ValidArgsFunction: first(a.completeClusters()),
		RunE: a.withSession(func(c *cobra.Command, s *session, args []string) error {
			if err := s.onlyV2("read clusters"); err != nil {
				return err
			}
			name := trimKind(args[0], "cluster")
			cluster, err := s.client.GetCluster(c.Context(), s.group, name)
			if err != nil {
				return err
			}
			changes := ""
			if s.format == "table" {
				status, err := s.client.GetClusterStatus(c.Context(), s.group, name)
				if err != nil {
					return err
				}
				changes = status.ChangeStatus
			}
			return a.print(s.format, cluster, []string{"cluster/" + cluster.Name}, filled([][]string{
				{"NAME", cluster.Name},
				{"TYPE", cluster.ClusterType},
				{"STATE", cluster.StateName},
				{"CHANGES", changes},
				{"ID", cluster.ID},
				{"GROUP", cluster.GroupID},
			}))
		}),
	}
}
