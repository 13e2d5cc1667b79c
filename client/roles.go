package client

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"time"
)

// Role is what Atlas may act as at a cloud provider, for a group: a role of AWS, a service
// principal of Azure or a service account of Google Cloud. Which fields are set depends on
// ProviderName. It encodes as JSON in Atlas's form.
type Role struct {
	ProviderName  CloudProvider  `json:"providerName"`
	CreatedDate   time.Time      `json:"createdDate,omitzero"`
	FeatureUsages []FeatureUsage `json:"featureUsages,omitempty"` // what uses the role

	RoleID string `json:"roleId,omitempty"` // of AWS and Google Cloud; see [Role.ID]

	IAMAssumedRoleARN          string    `json:"iamAssumedRoleArn,omitempty"`          // of AWS
	AtlasAWSAccountARN         string    `json:"atlasAWSAccountArn,omitempty"`         // of AWS
	AtlasAssumedRoleExternalID string    `json:"atlasAssumedRoleExternalId,omitempty"` // of AWS
	AuthorizedDate             time.Time `json:"authorizedDate,omitzero"`              // of AWS

	AzureID            string    `json:"_id,omitempty"`                // of Azure; see [Role.ID]
	AtlasAzureAppID    string    `json:"atlasAzureAppId,omitempty"`    // of Azure
	ServicePrincipalID string    `json:"servicePrincipalId,omitempty"` // of Azure
	TenantID           string    `json:"tenantId,omitempty"`           // of Azure
	LastUpdatedDate    time.Time `json:"lastUpdatedDate,omitzero"`     // of Azure

	GCPServiceAccountForAtlas string `json:"gcpServiceAccountForAtlas,omitempty"` // of Google Cloud
	Status                    string `json:"status,omitempty"`                    // of Google Cloud
}

// FeatureUsage is something in Atlas that uses a role.
type FeatureUsage struct {
	FeatureType string `json:"featureType,omitempty"` // such as EXPORT_SNAPSHOT
	FeatureID   any    `json:"featureId,omitempty"`   // which one, as encoding/json decodes it
}

// ID returns Atlas's id of the role, which the buckets that use it name.
func (r Role) ID() string { return cmp.Or(r.RoleID, r.AzureID) }

func (r Role) read() (*Role, error) {
	if r.ID() == "" || r.ProviderName == "" {
		return nil, errors.New("a role without an id or a cloud provider")
	}
	return &r, nil
}

// rolesForm are the roles of a group as Atlas writes them.
type rolesForm struct {
	AWS   []Role `json:"awsIamRoles"`
	Azure []Role `json:"azureServicePrincipals"`
	GCP   []Role `json:"gcpServiceAccounts"`
}

func (f rolesForm) read() (*Page[Role], error) {
	if f.AWS == nil && f.Azure == nil && f.GCP == nil {
		return nil, errors.New("roles of no cloud provider")
	}
	page := &Page[Role]{Results: slices.Concat(f.AWS, f.Azure, f.GCP)}
	page.TotalCount = len(page.Results)
	for _, role := range page.Results {
		if _, err := role.read(); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// ListRoles yields the roles of a group: those of AWS, then those of Azure and of Google Cloud.
// Atlas answers all of them at once.
func (c *Client) ListRoles(ctx context.Context, groupID string) iter.Seq2[*Role, error] {
	return listRoles(ctx, c.caller, "listCloudProviderAccess", groupID, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListCloudProviderAccess(ctx, groupID, nil)
	})
}

func listRoles(ctx context.Context, c *caller, id, groupID string, send func(context.Context) (*http.Response, error)) iter.Seq2[*Role, error] {
	o := c.resendable(id)
	o.found.id("groupId", groupID)
	return onePage(func() (*Page[Role], error) { return call[rolesForm](ctx, c, o, send) })
}

// GetRole returns one role of a group.
func (c *Client) GetRole(ctx context.Context, groupID, roleID string) (*Role, error) {
	return call[Role](ctx, c.caller, getRole(c.caller, "getCloudProviderAccess", groupID, roleID), func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetCloudProviderAccess(ctx, groupID, roleID, nil)
	})
}

// getRole is the operation that reads one role.
func getRole(c *caller, id, groupID, roleID string) operation {
	o := c.resendable(id)
	o.found.id("groupId", groupID)
	o.found.id("roleId", roleID)
	o.check = about("role", func(r *Role) bool { return r.ID() == roleID })
	return o
}

// ListRoles is as [Client.ListRoles].
func (v *V1) ListRoles(ctx context.Context, groupID string) iter.Seq2[*Role, error] {
	return listRoles(ctx, v.caller, "v1ListCloudProviderAccess", groupID, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1ListCloudProviderAccess(ctx, groupID, nil)
	})
}

// GetRole is as [Client.GetRole].
func (v *V1) GetRole(ctx context.Context, groupID, roleID string) (*Role, error) {
	return call[Role](ctx, v.caller, getRole(v.caller, "v1GetCloudProviderAccess", groupID, roleID), func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetCloudProviderAccess(ctx, groupID, roleID, nil)
	})
}
