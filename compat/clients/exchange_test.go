package clients_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"

	"go.mongodb.org/atlas-sdk/v20250312002/admin"
	"go.mongodb.org/atlas-sdk/v20250312002/auth"
)

// forJobs serves a gateway that knows the jobs of a repository, which have no stored secret.
func forJobs(t *testing.T) (*issuertest.Issuer, *sim.Server, *gatewaytest.Gateway) {
	t.Helper()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	return ci, atlas, gatewaytest.Start(t, gatewaytest.YAML(atlas.URL(), fmt.Sprintf(`
callers:
  issuers:
    - {name: github, issuer: %s, audiences: [%q], algorithms: [RS256]}
  list:
    - name: infra
      identities: [{issuer: github, claims: {sub: "repo:acme/infra:ref:refs/heads/main", repository_id: "74"}}]
      service_accounts: [{client_id: agw_id_infra}]
      grants: [{operations: [export, createExportBucket], groups: ["*"]}]
`, ci.URL, issuertest.Audience)))
}

// tokenOfJob returns the token of a job of a repository.
func tokenOfJob(t *testing.T, ci *issuertest.Issuer, repository string) string {
	t.Helper()
	job := ci.Token(t, "repo:acme/infra:ref:refs/heads/main", map[string]any{"repository_id": repository})
	gatewaytest.KeepSecret(t, "the token of a job", job)
	return job
}

// sdkOf returns the SDK with a service account.
func sdkOf(t *testing.T, url, clientID, clientSecret string) *admin.CloudBackupsApiService {
	t.Helper()
	ctx := context.WithValue(t.Context(), auth.HTTPClient, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	client, err := admin.NewClient(admin.UseBaseURL(url), admin.UseOAuthAuth(ctx, clientID, clientSecret))
	if err != nil {
		t.Fatal(err)
	}
	return client.CloudBackupsApi.(*admin.CloudBackupsApiService)
}

// The SDK has the token of a CI job for its client secret. With it, and without any stored secret,
// it creates an export through the gateway.
func TestSDKOfCIJob(t *testing.T) {
	ci, atlas, g := forJobs(t)

	api := sdkOf(t, g.URL, "agw_id_infra", tokenOfJob(t, ci, "74"))
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
	_, _, err = sdkOf(t, g.URL, "agw_id_infra", tokenOfJob(t, ci, "75")).ListExportBuckets(t.Context(), sim.GroupID).Execute()
	if err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("%v", err)
	}
}

// The blocks of docs/callers.md for a job on GitHub: terraform gets what the SDK, which its
// provider is built on, needs, and atlas-export lists exports.
func TestPageOfCIJob(t *testing.T) {
	_, err := exec.LookPath("curl")
	require(t, err == nil, "curl is not installed")
	ci, _, g := forJobs(t)
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer c4na7y-of-the-job" || r.FormValue("audience") != issuertest.Audience {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"count":2048,"value":"%s"}`, tokenOfJob(t, ci, "74"))
	}))
	t.Cleanup(github.Close)
	folder := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", folder, "./cmd/atlas-export")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	gatewaytest.WriteFile(t, filepath.Join(folder, "terraform"), "#!/bin/sh\necho \"$MONGODB_ATLAS_BASE_URL $MONGODB_ATLAS_CLIENT_ID $MONGODB_ATLAS_CLIENT_SECRET\"\n")
	if err := os.Chmod(filepath.Join(folder, "terraform"), 0o700); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, block := range pages.Blocks(t, "../..", "docs/callers.md#terraform-and-the-sdk-without-a-stored-secret sh") {
		command := exec.CommandContext(t.Context(), "sh", "-euc", strings.ReplaceAll(block, "https://gateway.example.com:8443", g.URL))
		command.Dir = folder
		command.Env = []string{
			"PATH=" + folder + ":" + os.Getenv("PATH"), "HOME=" + folder, "NO_PROXY=*", "no_proxy=*",
			"ACTIONS_ID_TOKEN_REQUEST_URL=" + github.URL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=c4na7y-of-the-job",
			"ATLAS_EXPORT_BASE_URL=" + g.URL, "ATLAS_EXPORT_GROUP=" + sim.GroupID,
		}
		output, err := command.Output()
		if err != nil {
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				t.Log(string(failed.Stderr))
			}
			t.Fatalf("%v", err)
		}
		printed = append(printed, string(output))
	}
	if len(printed) != 2 || printed[1] != "" {
		t.Fatalf("the program atlas-export printed %q", printed[1:])
	}
	words := strings.Fields(printed[0])
	if len(words) != 3 {
		t.Fatalf("terraform has %d words", len(words))
	}
	if _, _, err := sdkOf(t, words[0], words[1], words[2]).ListBackupExportJobs(t.Context(), sim.GroupID, sim.OrdersCluster).Execute(); err != nil {
		t.Error(err)
	}
}
