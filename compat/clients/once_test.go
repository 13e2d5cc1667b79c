package clients_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"go.mongodb.org/atlas-sdk/v20250312002/admin"
	atlas "go.mongodb.org/atlas/mongodbatlas"
)

// exporter creates an export of the same snapshot to a bucket, each time with the same custom data,
// and returns the id of the job.
type exporter func(ctx context.Context, bucket string) (id string, err error)

// exporters are the clients that make exports, by name.
func exporters(t *testing.T, r *running) map[string]exporter {
	t.Helper()
	legacy, err := atlas.New(digestClient(t, r, r.nightly), atlas.SetBaseURL(r.url))
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := admin.NewClient(admin.UseBaseURL(r.url), admin.UseHTTPClient(digestClient(t, r, r.nightly)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]exporter{
		"legacy": func(ctx context.Context, bucket string) (string, error) {
			job, _, err := legacy.CloudProviderSnapshotExportJobs.Create(ctx, sim.GroupID, sim.OrdersCluster, &atlas.CloudProviderSnapshotExportJob{
				SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket,
				CustomData: []*atlas.CloudProviderSnapshotExportJobCustomData{{Key: "by", Value: "nightly"}, {Key: "for", Value: "audit"}},
			})
			if err != nil {
				return "", err
			}
			return job.ID, nil
		},
		"SDK": func(ctx context.Context, bucket string) (string, error) {
			job, _, err := sdk.CloudBackupsApi.CreateBackupExportJob(ctx, sim.GroupID, sim.OrdersCluster, &admin.DiskBackupExportJobRequest{
				SnapshotId: sim.OrdersSnapshot, ExportBucketId: bucket,
				CustomData: &[]admin.BackupLabel{{Key: admin.PtrString("for"), Value: admin.PtrString("audit")}, {Key: admin.PtrString("by"), Value: admin.PtrString("nightly")}},
			}).Execute()
			return job.GetId(), err
		},
		"curl v1.0": curlExporter(t, r, "--digest", v1Exports+"/", v1),
		"curl v2":   curlExporter(t, r, "--basic", v2Exports, v2),
	}
}

// curlExporter is curl with a way to authenticate and a form of the request.
func curlExporter(t *testing.T, r *running, authenticate, target string, header map[string]string) exporter {
	return func(_ context.Context, bucket string) (string, error) {
		body := fmt.Sprintf(`{"exportBucketId":"%s","snapshotId":"%s","customData":[{"value":"audit","key":"for"},{"key":"by","value":"nightly"}]}`, bucket, sim.OrdersSnapshot)
		got := runCurl(t, r, append(append(pair(t, r, r.nightly), authenticate), curlArguments(call{http.MethodPost, r.url + target, header, body})...)...)
		id, _ := parse(t, got.Body).(map[string]any)["id"].(string)
		if got.Status != http.StatusOK || id == "" {
			return "", fmt.Errorf("%d %s", got.Status, got.Body)
		}
		return id, nil
	}
}

// Clients that know nothing of the gateway create the same export twice at the same time, and again
// later, each by itself and all together: there is one job, and all are told its id.
func TestCreatesHappenOnce(t *testing.T) {
	for _, names := range [][]string{{"legacy"}, {"SDK"}, {"curl v1.0"}, {"curl v2"}, {"legacy", "SDK", "curl v1.0", "curl v2"}} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			t.Parallel()
			r := start(t, options{algorithm: "MD5", journal: true})
			all := exporters(t, r)
			created := runCurl(t, r, append(append(pair(t, r, r.nightly), "--basic"), curlArguments(call{http.MethodPost, r.url + v1Buckets, v1, `{"iamRoleId":"` + sim.AWSRole + `","bucketName":"example-bucket","cloudProvider":"AWS"}`})...)...)
			bucket, _ := parse(t, created.Body).(map[string]any)["_id"].(string)
			// All requests come while the first is under way.
			settings, faults := sim.Settings{ParallelExports: true}, []sim.Fault(nil)
			for _, operation := range []string{"createBackupExport", "v1CreateBackupExport"} {
				faults = append(faults, sim.Fault{Kind: sim.FaultLatency, Operation: operation, Latency: sim.Duration(500 * time.Millisecond)})
			}
			if err := errors.Join(r.atlas.SetSettings(settings), r.atlas.SetFaults(faults)); err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"at the same time", "again", "after the job has ended"} {
				var group sync.WaitGroup
				for _, name := range names {
					for range 2 {
						group.Go(func() {
							id, err := all[name](t.Context(), bucket)
							if jobs := r.atlas.Jobs(); err != nil || len(jobs) != 1 || id != jobs[0].ID {
								t.Errorf("%s, %s: %q, %v; Atlas has %+v", when, name, id, err, jobs)
							}
						})
					}
				}
				group.Wait()
				if when == "again" {
					r.atlas.Advance(time.Hour)
				}
			}
			counts := r.atlas.Counts().ByOperation
			if sent := counts["createBackupExport"] + counts["v1CreateBackupExport"]; sent > 2 { // one of them for a challenge
				t.Errorf("Atlas got %d requests to create the export", sent)
			}
		})
	}
}
