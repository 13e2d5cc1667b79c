package main

import (
	"cmp"
	"slices"
	"strings"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) rolesCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "roles",
		Aliases: []string{"role"},
		Short:   "List what Atlas may act as at the cloud providers",
	})
	c.AddCommand(a.rolesList())
	return c
}

func (a *app) rolesList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the roles of the group, one of which a bucket needs",
		Long: `List the roles of the group: IAM roles of AWS, service principals of Azure, and service accounts
of Google Cloud. atlas-export buckets create takes the ID of one as --role.`,
		Example: "  atlas-export roles list",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			return printList(a, c, s.format, list[client.Role]{
				items:  s.ListRoles(c.Context(), s.group),
				plural: "roles",
				none:   "there are no roles",
				header: []string{"ID", "PROVIDER", "STATUS", "USED BY", "ROLE"},
				name:   func(r *client.Role) string { return "role/" + r.ID() },
				row: func(r *client.Role) []string {
					return []string{r.ID(), string(r.ProviderName), roleStatus(r), usedBy(r), principal(r)}
				},
			}, true)
		}),
	}
}

// principal returns the name of a role at its cloud provider.
func principal(r *client.Role) string {
	return cmp.Or(r.IAMAssumedRoleARN, r.ServicePrincipalID, r.GCPServiceAccountForAtlas)
}

// roleStatus says whether a role can be used, as far as Atlas says so.
func roleStatus(r *client.Role) string {
	switch {
	case r.ProviderName != client.AWS:
		return r.Status
	case r.AuthorizedDate.IsZero():
		return "not authorized"
	default:
		return "authorized"
	}
}

// usedBy says what uses a role.
func usedBy(r *client.Role) string {
	var kinds []string
	for _, usage := range r.FeatureUsages {
		if !slices.Contains(kinds, usage.FeatureType) {
			kinds = append(kinds, usage.FeatureType)
		}
	}
	return strings.Join(kinds, ", ")
}
