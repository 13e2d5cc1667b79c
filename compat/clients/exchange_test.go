package clients_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/sim"

	"go.mongodb.org/atlas-sdk/v20250312002/admin"
	"go.mongodb.org/atlas-sdk/v20250312002/auth"
)

// The SDK has the token of a CI job for its client secret. With it, and without any stored secret, it
// creates an export through the gateway.
func TestSDKOfCIJob(t *testing.T) {
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	g := gatewaytest.Start(t, gatewaytest.YAML(atlas.URL(), fmt.Sprintf(`
callers:
  issuers:
    - {name: github, issuer: %s, audiences: [%q], algorithms: [RS256]}
  list:
    - name: infra
      identities: [{issuer: github, claims: {sub: "repo:acme/infra:ref:refs/heads/main", repository_id: "74"}}]
      service_accounts: [{client_id: agw_id_infra}]
      grants: [{operations: [export, createExportBucket], groups: ["*"]}]
`, ci.URL, issuertest.Audience)))
	sdk := func(claims map[string]any) *admin.CloudBackupsApiService {
		job := ci.Token(t, "repo:acme/infra:ref:refs/heads/main", claims)
		gatewaytest.KeepSecret(t, "the token of a job", job)
		ctx := context.WithValue(t.Context(), auth.HTTPClient, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
		client, err := admin.NewClient(admin.UseBaseURL(g.URL), admin.UseOAuthAuth(ctx, "agw_id_infra", job))
		if err != nil {
			t.Fatal(err)
		}
		return client.CloudBackupsApi.(*admin.CloudBackupsApiService)
	}

	api := sdk(map[string]any{"repository_id": "74"})
	bucket, _, err := api.CreateExportBucket(t.Context(), sim.GroupID, &admin.DiskBackupSnapshotExportBucketRequest{
		CloudProvider: "AWS", BucketName: admin.PtrString("example-bucket"), IamRoleId: admin.PtrString(sim.AWSRole),
	}).Execute()
	if err != nil {
		t.Fatal(err)
	}
	job, _, err := api.CreateBackupExportJob(t.Context(), sim.GroupID, sim.OrdersCluster, &admin.DiskBackupExportJobRequest{
		ExportBucketId: bucket.GetId(), SnapshotId: sim.OrdersSnapshot,
	}).Execute()
	if jobs := atlas.Jobs(); err != nil || len(jobs) != 1 || jobs[0].ID != job.GetId() {
		t.Errorf("%v: %d jobs", err, len(jobs))
	}
	// One token for all calls.
	if log := g.Log.String(); strings.Count(log, `"form":"`+string(callers.ClientAssertion)+`"`) != 1 || strings.Count(log, `"caller":"infra","key":"agw_id_infra","form":"access_token"`) != 2 {
		t.Error(log)
	}

	// A job of another repository gets nothing, and the SDK says so.
	_, _, err = sdk(map[string]any{"repository_id": "75"}).ListExportBuckets(t.Context(), sim.GroupID).Execute()
	if err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("%v", err)
	}
}
