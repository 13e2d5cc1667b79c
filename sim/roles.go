package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

func (r *CloudRole) provider() string {
	if r.Provider == "" && r.TenantID != "" {
		return "AZURE"
	}
	return cmp.Or(r.Provider, "AWS")
}

// authorized reports whether someone has let Atlas assume the role.
func (r *CloudRole) authorized() bool { return r.Error != "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED" }

// uuid is made from the id and a purpose. It is the same in each run.
func (r *CloudRole) uuid(purpose string) string {
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(purpose+r.ID)))
	return hash[:8] + "-" + hash[8:12] + "-4" + hash[13:16] + "-8" + hash[17:20] + "-" + hash[20:32]
}

// roleAnswer is a role as Atlas documents it. A role of AWS that is not authorized has null in the
// place of its date and ARN, as recorded. The values that no recording gives are made up.
func (s *Server) roleAnswer(x *exchange, r *CloudRole) map[string]any {
	created := madeAt(r.ID)
	a := map[string]any{
		"providerName":  r.provider(),
		"createdDate":   created,
		"featureUsages": s.featureUsages(x, r.ID),
	}
	switch r.provider() {
	case "AZURE":
		a["_id"] = r.ID
		a["atlasAzureAppId"] = r.uuid("application")
		a["servicePrincipalId"] = r.uuid("principal")
		a["tenantId"] = cmp.Or(r.TenantID, r.uuid("tenant"))
		a["lastUpdatedDate"] = created.Add(2 * time.Minute)
	case "GCP":
		a["roleId"] = r.ID
		a["gcpServiceAccountForAtlas"] = "mongodb-atlas-" + r.ID[18:] + "@p-simulated.iam.gserviceaccount.com"
		a["status"] = "COMPLETE"
	default:
		a["roleId"] = r.ID
		a["atlasAWSAccountArn"] = "arn:aws:iam::210987654321:root"
		a["atlasAssumedRoleExternalId"] = r.uuid("external")
		a["authorizedDate"], a["iamAssumedRoleArn"] = nil, nil
		if r.authorized() {
			a["authorizedDate"] = created.Add(2 * time.Minute)
			a["iamAssumedRoleArn"] = cmp.Or(r.ARN, "arn:aws:iam::123456789012:role/atlas-"+r.ID[18:])
		}
	}
	return a
}

// featureUsages are the export buckets that are written with a role.
func (s *Server) featureUsages(x *exchange, role string) []map[string]any {
	usages := []map[string]any{}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	for _, id := range s.store.bucketsOf[x.group.ID] {
		if b := s.store.buckets[id]; cmp.Or(b.IamRoleID, b.RoleID) == role {
			usages = append(usages, map[string]any{
				"featureType": "EXPORT_SNAPSHOT",
				"featureId":   map[string]any{"exportBucketId": b.ID, "groupId": b.GroupID},
			})
		}
	}
	return usages
}

// replyRoles answers the roles of the seed, by provider.
func (s *Server) replyRoles(ctx context.Context) error {
	x := exchangeOf(ctx)
	lists := map[string][]map[string]any{"AWS": {}, "AZURE": {}, "GCP": {}}
	for i := range x.group.Roles {
		role := &x.group.Roles[i]
		lists[role.provider()] = append(lists[role.provider()], s.roleAnswer(x, role))
	}
	return x.reply(map[string]any{"awsIamRoles": lists["AWS"], "azureServicePrincipals": lists["AZURE"], "gcpServiceAccounts": lists["GCP"]})
}

// replyRole answers a role of the seed. Inferred: the error for a role that is not there.
func (s *Server) replyRole(ctx context.Context, id string) error {
	x := exchangeOf(ctx)
	role, ok := x.group.roles[id]
	if !ok {
		return failure(http.StatusNotFound, "CLOUD_PROVIDER_ACCESS_ROLE_NOT_FOUND", "The cloud provider access role %s does not exist.", id)
	}
	return x.reply(s.roleAnswer(x, &role))
}

// ListCloudProviderAccess answers the roles that Atlas may assume.
func (a api) ListCloudProviderAccess(ctx context.Context, _ gen.ListCloudProviderAccessRequestObject) (gen.ListCloudProviderAccessResponseObject, error) {
	return nil, a.replyRoles(ctx)
}

// GetCloudProviderAccess answers a role.
func (a api) GetCloudProviderAccess(ctx context.Context, request gen.GetCloudProviderAccessRequestObject) (gen.GetCloudProviderAccessResponseObject, error) {
	return nil, a.replyRole(ctx, request.RoleID)
}

// V1ListCloudProviderAccess is ListCloudProviderAccess in v1.0.
func (a api) V1ListCloudProviderAccess(ctx context.Context, _ gen.V1ListCloudProviderAccessRequestObject) (gen.V1ListCloudProviderAccessResponseObject, error) {
	return nil, a.replyRoles(ctx)
}

// V1GetCloudProviderAccess is GetCloudProviderAccess in v1.0.
func (a api) V1GetCloudProviderAccess(ctx context.Context, request gen.V1GetCloudProviderAccessRequestObject) (gen.V1GetCloudProviderAccessResponseObject, error) {
	return nil, a.replyRole(ctx, request.RoleID)
}
