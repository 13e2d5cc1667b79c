package clients_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/mongodb-forks/digest"
	"go.mongodb.org/atlas-sdk/v20250312002/admin"
	"go.mongodb.org/atlas-sdk/v20250312002/auth"
	"go.mongodb.org/atlas-sdk/v20250312002/auth/clientcredentials"
)

// eachSDK runs a test with Atlas's Go SDK, which has only a base URL and a key: a key pair over
// plain HTTP by the SDK's UseDigestAuth, a key pair over TLS with SHA-256, or a service account.
func eachSDK(t *testing.T, test func(*testing.T, *running, *admin.CloudBackupsApiService)) {
	for name, modifiers := range map[string]func(*running) []admin.ClientModifier{
		"MD5": func(r *running) []admin.ClientModifier {
			return []admin.ClientModifier{admin.UseDigestAuth(r.nightly.pair.ID, r.nightly.pair.Secret.Reveal())}
		},
		"SHA-256": func(r *running) []admin.ClientModifier {
			client, err := digest.NewTransportWithHTTPRoundTripper(r.nightly.pair.ID, r.nightly.pair.Secret.Reveal(), r.transport).Client()
			if err != nil {
				t.Fatal(err)
			}
			return []admin.ClientModifier{admin.UseHTTPClient(client)}
		},
		"service account": func(r *running) []admin.ClientModifier {
			ctx := context.WithValue(context.Background(), auth.HTTPClient, &http.Client{Transport: r.transport})
			return []admin.ClientModifier{admin.UseOAuthAuth(ctx, r.nightly.account.ID, r.nightly.account.Secret.Reveal())}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options{algorithm: "MD5", tls: name != "MD5"}
			if name == "SHA-256" {
				o.algorithm = name
			}
			r := start(t, o)
			t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections) // UseDigestAuth uses it
			client, err := admin.NewClient(append([]admin.ClientModifier{admin.UseBaseURL(r.url)}, modifiers(r)...)...)
			if err != nil {
				t.Fatal(err)
			}
			test(t, r, client.CloudBackupsApi.(*admin.CloudBackupsApiService))
		})
	}
}

// The SDK creates and reads buckets and jobs as a pipeline does, and the schedule that Terraform's
// provider reads when it destroys a bucket.
func TestSDK(t *testing.T) {
	eachSDK(t, func(t *testing.T, r *running, api *admin.CloudBackupsApiService) {
		ctx := t.Context()
		var seen int64
		received := func(want ...forwarded) {
			t.Helper()
			var got []forwarded
			if got, seen = r.forwards(t, seen); !slices.Equal(got, want) {
				t.Errorf("Atlas received\n%+v, want\n%+v", got, want)
			}
		}
		bucket, _, err := api.CreateExportBucket(ctx, sim.GroupID, &admin.DiskBackupSnapshotExportBucketRequest{
			CloudProvider: "AWS", BucketName: admin.PtrString("example-bucket"), IamRoleId: admin.PtrString(sim.AWSRole),
		}).Execute()
		if err != nil {
			t.Fatal(err)
		}
		if bucket.GetId() == "" || bucket.GetBucketName() != "example-bucket" || bucket.GetIamRoleId() != sim.AWSRole {
			t.Errorf("created %+v", bucket)
		}
		received(forwarded{"createExportBucket", "POST " + v2Buckets, of2024, of2024, `{"cloudProvider":"AWS","bucketName":"example-bucket","iamRoleId":"` + sim.AWSRole + `"}` + "\n"})

		buckets, response, err := api.ListExportBuckets(ctx, sim.GroupID).ItemsPerPage(5).Execute()
		if err != nil {
			t.Fatal(err)
		}
		if got := buckets.GetResults(); len(got) != 1 || cmp.Diff(got[0].GetId(), bucket.GetId()) != "" || buckets.GetTotalCount() != 1 || response.Header.Get("Content-Type") != of2024+";charset=utf-8" {
			t.Errorf("listed %+v, %s", buckets, response.Header.Get("Content-Type"))
		}
		received(forwarded{"listExportBuckets", "GET " + v2Buckets + "?includeCount=true&itemsPerPage=5&pageNum=1", of2024, "", ""})

		job, _, err := api.CreateBackupExportJob(ctx, sim.GroupID, sim.OrdersCluster, &admin.DiskBackupExportJobRequest{
			SnapshotId: sim.OrdersSnapshot, ExportBucketId: bucket.GetId(),
			CustomData: &[]admin.BackupLabel{{Key: admin.PtrString("exported by"), Value: admin.PtrString("nightly")}},
		}).Execute()
		if err != nil {
			t.Fatal(err)
		}
		received(forwarded{"createBackupExport", "POST " + v2Exports, of2023, of2023,
			`{"customData":[{"key":"exported by","value":"nightly"}],"exportBucketId":"` + bucket.GetId() + `","snapshotId":"` + sim.OrdersSnapshot + `"}` + "\n"})
		if job.GetState() != "Queued" || !job.GetCreatedAt().Equal(created) || len(job.GetCustomData()) != 1 {
			t.Errorf("created %+v", job)
		}
		r.atlas.Advance(time.Hour)
		if job, _, err = api.GetBackupExportJob(ctx, sim.GroupID, sim.OrdersCluster, job.GetId()).Execute(); err != nil || job.GetState() != "Successful" {
			t.Errorf("the job: %+v %v", job, err)
		}
		received(forwarded{"getBackupExport", "GET " + v2Exports + "/" + job.GetId(), of2023, "", ""})
		if jobs, _, err := api.ListBackupExportJobs(ctx, sim.GroupID, sim.OrdersCluster).Execute(); err != nil || jobs.GetTotalCount() != 1 {
			t.Errorf("the jobs: %+v %v", jobs, err)
		}
		received(forwarded{"listBackupExports", "GET " + v2Exports + "?includeCount=true&itemsPerPage=100&pageNum=1", of2023, "", ""})

		if _, err := api.DeleteExportBucket(ctx, sim.GroupID, bucket.GetId()).Execute(); err != nil {
			t.Error(err)
		}
		schedule, _, err := api.GetBackupSchedule(ctx, sim.GroupID, sim.OrdersCluster).Execute()
		if err != nil || schedule.GetClusterName() != sim.OrdersCluster {
			t.Errorf("the schedule: %+v %v", schedule, err)
		}
	})
}

// Errors of Atlas and of the gateway are errors of the SDK.
func TestSDKErrors(t *testing.T) {
	eachSDK(t, func(t *testing.T, _ *running, api *admin.CloudBackupsApiService) {
		ctx := t.Context()
		_, _, err := api.GetExportBucket(ctx, sim.GroupID, "65a9d3e1f20b4c77889900ff").Execute()
		if !admin.IsErrorCode(err, "EXPORT_BUCKET_NOT_FOUND") {
			t.Errorf("a bucket that is not there: %v", err)
		}
		_, response, err := api.GetExportBucket(ctx, sim.GroupID, "nonsense").Execute()
		if known, ok := admin.AsError(err); !ok || known.GetError() != 400 || known.GetErrorCode() != "INVALID_PATH_PARAMETER" || response.Header.Get("Gateway-Error") != "invalid_request" {
			t.Errorf("an invalid id: %v", err)
		}
	})
}

// Terraform's provider takes an error for the news that a thing was deleted if its status is 404,
// or if its text holds these digits. No read of what the gateway does not serve ends in such an
// error. For a flex cluster the gateway answers as Atlas does, so that the Atlas CLI goes on to
// the cluster.
func TestSDKOfWhatIsNotServed(t *testing.T) {
	r := start(t, options{algorithm: "MD5"})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	client, err := admin.NewClient(admin.UseBaseURL(r.url), admin.UseDigestAuth(r.nightly.pair.ID, r.nightly.pair.Secret.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, test := range map[string]struct {
		read func() (*http.Response, error)
		code string
	}{
		"a database user": {func() (*http.Response, error) {
			_, response, err := client.DatabaseUsersApi.GetDatabaseUser(ctx, sim.GroupID, "admin", "app").Execute()
			return response, err
		}, "OPERATION_NOT_SERVED"},
		"an address": {func() (*http.Response, error) {
			_, response, err := client.ProjectIPAccessListApi.GetProjectIpList(ctx, sim.GroupID, "10.0.0.1").Execute()
			return response, err
		}, "OPERATION_NOT_SERVED"},
		"a peer": {func() (*http.Response, error) {
			_, response, err := client.NetworkPeeringApi.GetPeeringConnection(ctx, sim.GroupID, unknown).Execute()
			return response, err
		}, "OPERATION_NOT_SERVED"},
		"a user with an escape": {func() (*http.Response, error) {
			_, response, err := client.DatabaseUsersApi.GetDatabaseUser(ctx, sim.GroupID, "$external", "CN=app").Execute()
			return response, err
		}, "INVALID_PATH_PARAMETER"},
		"a flex cluster": {func() (*http.Response, error) {
			_, response, err := client.FlexClustersApi.GetFlexCluster(ctx, sim.GroupID, sim.OrdersCluster).Execute()
			return response, err
		}, "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API"},
		"a flex snapshot": {func() (*http.Response, error) {
			_, response, err := client.FlexSnapshotsApi.GetFlexBackup(ctx, sim.GroupID, sim.OrdersCluster, sim.OrdersSnapshot).Execute()
			return response, err
		}, "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API"},
	} {
		response, err := test.read()
		if !admin.IsErrorCode(err, test.code) || response.StatusCode == 404 || strings.Contains(strings.ReplaceAll(err.Error(), r.url, ""), "404") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The SDK revokes its tokens. Terraform's provider does so when it exits.
func TestSDKRevokes(t *testing.T) {
	r := start(t, options{})
	ctx := context.WithValue(t.Context(), auth.HTTPClient, &http.Client{Transport: r.transport})
	config := clientcredentials.NewConfig(r.nightly.account.ID, r.nightly.account.Secret.Reveal())
	config.TokenURL, config.RevokeURL = r.url+clientcredentials.TokenAPIPath, r.url+clientcredentials.RevokeAPIPath
	token, err := config.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	get := func() int {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, "GET", r.url+v2Buckets, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		token.SetAuthHeader(request)
		response, err := r.transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if status := get(); status != 200 {
		t.Errorf("with a token: %d", status)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	if err := config.RevokeToken(ctx, token); err != nil {
		t.Error(err)
	}
	if status := get(); status != 401 {
		t.Errorf("with a revoked token: %d", status)
	}
}
