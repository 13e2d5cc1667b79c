package clients_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	atlas "go.mongodb.org/atlas/mongodbatlas"
)

// legacy is the legacy client, with a base URL and a key and otherwise as it comes.
type legacy struct {
	*atlas.Client
	gateway *running
	seen    int64 // how much of what Atlas received has been compared
}

// received compares what Atlas has received since the last comparison.
func (l *legacy) received(t testing.TB, want ...forwarded) {
	t.Helper()
	var got []forwarded
	if got, l.seen = l.gateway.forwards(t, l.seen); !slices.Equal(got, want) {
		t.Errorf("Atlas received\n%+v, want\n%+v", got, want)
	}
}

// eachLegacy runs a test with the client of a caller, once for each digest algorithm.
func eachLegacy(t *testing.T, which func(*running) caller, test func(*testing.T, *legacy)) {
	for _, o := range []options{{algorithm: "MD5"}, {algorithm: "SHA-256", tls: true}} {
		t.Run(o.algorithm, func(t *testing.T) {
			r := start(t, o)
			client, err := atlas.New(digestClient(t, r, which(r)), atlas.SetBaseURL(r.url))
			if err != nil {
				t.Fatal(err)
			}
			test(t, &legacy{Client: client, gateway: r})
		})
	}
}

func nightly(r *running) caller { return r.nightly }
func reader(r *running) caller  { return r.reader }

// bucket creates an export bucket, and compares what the client returns with what it sent.
func (l *legacy) bucket(t testing.TB) *atlas.CloudProviderSnapshotExportBucket {
	t.Helper()
	want := atlas.CloudProviderSnapshotExportBucket{BucketName: "example-bucket", CloudProvider: "AWS", IAMRoleID: sim.AWSRole}
	got, response, err := l.CloudProviderSnapshotExportBuckets.Create(t.Context(), sim.GroupID, &want)
	if err != nil {
		t.Fatal(err)
	}
	if want.ID = got.ID; *got != want || got.ID == "" {
		t.Errorf("created %+v, want %+v", *got, want)
	}
	if response.ServiceVersion() == nil {
		t.Error("the answer has no service version")
	}
	l.received(t, forwarded{"v1CreateExportBucket", "POST " + v1Buckets, plain, plain, `{"bucketName":"example-bucket","cloudProvider":"AWS","iamRoleId":"` + sim.AWSRole + `"}` + "\n"})
	return got
}

func TestLegacyBuckets(t *testing.T) {
	eachLegacy(t, nightly, func(t *testing.T, l *legacy) {
		buckets, ctx := l.CloudProviderSnapshotExportBuckets, t.Context()
		bucket := l.bucket(t)

		got, _, err := buckets.Get(ctx, sim.GroupID, bucket.ID)
		if diff := cmp.Diff(bucket, got); diff != "" || err != nil {
			t.Errorf("get: %v\n%s", err, diff)
		}
		l.received(t, forwarded{"v1GetExportBucket", "GET " + v1Buckets + "/" + bucket.ID, plain, "", ""})

		list, response, err := buckets.List(ctx, sim.GroupID, nil)
		if err != nil {
			t.Fatal(err)
		}
		page, err := response.CurrentPage()
		if diff := cmp.Diff([]*atlas.CloudProviderSnapshotExportBucket{bucket}, list.Results); diff != "" || err != nil || page != 1 || list.TotalCount != 1 || !response.IsLastPage() {
			t.Errorf("page %d of %d buckets: %v\n%s", page, list.TotalCount, err, diff)
		}
		l.received(t, forwarded{"v1ListExportBuckets", "GET " + v1Buckets, plain, "", ""})

		if _, err := buckets.Delete(ctx, sim.GroupID, bucket.ID); err != nil {
			t.Error(err)
		}
		l.received(t, forwarded{"v1DeleteExportBucket", "DELETE " + v1Buckets + "/" + bucket.ID, plain, "", ""})
	})
}

func TestLegacyJobs(t *testing.T) {
	eachLegacy(t, nightly, func(t *testing.T, l *legacy) {
		jobs, ctx := l.CloudProviderSnapshotExportJobs, t.Context()
		bucket := l.bucket(t)
		customData := []*atlas.CloudProviderSnapshotExportJobCustomData{{Key: "exported by", Value: "nightly"}}
		var all []*atlas.CloudProviderSnapshotExportJob // the newest first, as in lists
		for _, snapshot := range []struct{ id, minute string }{
			{sim.OrdersSnapshot, "2026-08-10T0327"}, {sim.OrdersSnapshot2, "2026-08-11T0327"}, {sim.OrdersSnapshot3, "2026-08-12T0327"},
		} {
			got, _, err := jobs.Create(ctx, sim.GroupID, sim.OrdersCluster, &atlas.CloudProviderSnapshotExportJob{SnapshotID: snapshot.id, ExportBucketID: bucket.ID, CustomData: customData})
			if err != nil {
				t.Fatal(err)
			}
			want := &atlas.CloudProviderSnapshotExportJob{
				ID:             got.ID,
				SnapshotID:     snapshot.id,
				ExportBucketID: bucket.ID,
				CustomData:     customData,
				CreatedAt:      "2026-08-10T03:28:25Z",
				State:          "Queued",
				ExportStatus:   &atlas.CloudProviderSnapshotExportJobStatus{},
				Prefix:         "exported_snapshots/" + sim.OrgID + "/" + sim.GroupID + "/orders/" + snapshot.minute + "/1786332505",
			}
			if diff := cmp.Diff(want, got); diff != "" || got.ID == "" {
				t.Errorf("create:\n%s", diff)
			}
			l.received(t, forwarded{"v1CreateBackupExport", "POST " + v1Exports + "/", plain, plain,
				`{"customData":[{"key":"exported by","value":"nightly"}],"exportBucketId":"` + bucket.ID + `","snapshotId":"` + snapshot.id + `"}` + "\n"})
			all = slices.Insert(all, 0, got)
		}

		got, _, err := jobs.Get(ctx, sim.GroupID, sim.OrdersCluster, all[0].ID)
		if diff := cmp.Diff(all[0], got); diff != "" || err != nil {
			t.Errorf("get: %v\n%s", err, diff)
		}
		l.received(t, forwarded{"v1GetBackupExport", "GET " + v1Exports + "/" + all[0].ID, plain, "", ""})

		l.pageByNumber(t, all)
		l.pageByLink(t, all)
	})
}

// pageOfJobs is a request for a page of jobs.
func pageOfJobs(query string) forwarded {
	return forwarded{"v1ListBackupExports", "GET " + v1Exports + "/?" + query, plain, "", ""}
}

// pageByNumber lists the jobs page by page. The client reads the numbers of the pages from links.
func (l *legacy) pageByNumber(t *testing.T, all []*atlas.CloudProviderSnapshotExportJob) {
	t.Helper()
	var paged []*atlas.CloudProviderSnapshotExportJob
	options := &atlas.ListOptions{PageNum: 1, ItemsPerPage: 1, IncludeCount: true}
	for last := false; !last; options.PageNum++ {
		list, response, err := l.CloudProviderSnapshotExportJobs.List(t.Context(), sim.GroupID, sim.OrdersCluster, options)
		if err != nil {
			t.Fatal(err)
		}
		if page, err := response.CurrentPage(); err != nil || page != options.PageNum || list.TotalCount != 3 {
			t.Fatalf("page %d of %d jobs: %v", page, list.TotalCount, err)
		}
		paged, last = append(paged, list.Results...), response.IsLastPage()
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("the jobs by number:\n%s", diff)
	}
	l.received(t, pageOfJobs("includeCount=true&itemsPerPage=1&pageNum=1"), pageOfJobs("includeCount=true&itemsPerPage=1&pageNum=2"), pageOfJobs("includeCount=true&itemsPerPage=1&pageNum=3"))
}

// pageByLink lists the jobs by the links to the next page.
func (l *legacy) pageByLink(t *testing.T, all []*atlas.CloudProviderSnapshotExportJob) {
	t.Helper()
	var paged []*atlas.CloudProviderSnapshotExportJob
	for next := v1Exports + "?itemsPerPage=1"; next != ""; {
		request, err := l.NewRequest(t.Context(), http.MethodGet, next, nil)
		if err != nil {
			t.Fatal(err)
		}
		var list atlas.CloudProviderSnapshotExportJobs
		if _, err := l.Do(t.Context(), request, &list); err != nil {
			t.Fatal(err)
		}
		paged, next = append(paged, list.Results...), ""
		for _, link := range list.Links {
			if link.Rel == "next" {
				next = link.Href
			}
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("the jobs by link:\n%s", diff)
	}
	l.received(t, pageOfJobs("itemsPerPage=1"), pageOfJobs("itemsPerPage=1&pageNum=2"), pageOfJobs("itemsPerPage=1&pageNum=3"))
}

// The client decodes errors of Atlas and of the gateway.
func TestLegacyErrors(t *testing.T) {
	refused := func(t *testing.T, err error, want atlas.ErrorResponse) {
		t.Helper()
		var got *atlas.ErrorResponse
		if !errors.As(err, &got) {
			t.Errorf("got %v, want %s", err, want.ErrorCode)
			return
		}
		want.Response = got.Response
		if *got != want || got.Response.StatusCode != want.HTTPCode {
			t.Errorf("got\n%+v, want\n%+v", *got, want)
		}
	}
	eachLegacy(t, reader, func(t *testing.T, l *legacy) {
		buckets, jobs, ctx := l.CloudProviderSnapshotExportBuckets, l.CloudProviderSnapshotExportJobs, t.Context()
		_, _, err := buckets.Get(ctx, sim.GroupID, unknown)
		refused(t, err, atlas.ErrorResponse{HTTPCode: 404, ErrorCode: "EXPORT_BUCKET_NOT_FOUND", Reason: "Not Found", Detail: "No export Bucket with ID " + unknown + " does not exist."})
		l.received(t, forwarded{"v1GetExportBucket", "GET " + v1Buckets + "/" + unknown, plain, "", ""})
		_, _, err = jobs.Create(ctx, sim.GroupID, sim.OrdersCluster, &atlas.CloudProviderSnapshotExportJob{SnapshotID: sim.OrdersSnapshot})
		refused(t, err, atlas.ErrorResponse{HTTPCode: 400, ErrorCode: "MISSING_ATTRIBUTE", Reason: "Bad Request", Detail: "The required attribute exportBucketId was not specified."})
		_, _, err = l.Containers.List(ctx, sim.GroupID, nil)
		refused(t, err, atlas.ErrorResponse{HTTPCode: 403, ErrorCode: "OPERATION_NOT_SERVED", Reason: "Forbidden", Detail: "This gateway does not serve GET /api/atlas/v1.0/groups/{groupId}/containers; it serves the part of Atlas's API that snapshot exports need."})
		_, err = buckets.Delete(ctx, sim.GroupID, unknown)
		refused(t, err, atlas.ErrorResponse{HTTPCode: 403, ErrorCode: "USER_UNAUTHORIZED", Reason: "Forbidden", Detail: "The caller may not do this: no grant of caller reader allows v1DeleteExportBucket; its grants allow operations read."})
		l.received(t)
	})
	stranger := func(r *running) caller {
		c := r.nightly
		c.pair.Secret = r.reader.pair.Secret
		return c
	}
	eachLegacy(t, stranger, func(t *testing.T, l *legacy) {
		_, _, err := l.CloudProviderSnapshotExportBuckets.List(t.Context(), sim.GroupID, nil)
		refused(t, err, atlas.ErrorResponse{HTTPCode: 401, ErrorCode: "UNEXPECTED_ERROR", Reason: "Unauthorized", Detail: "You are not authorized for this resource."})
		l.received(t)
	})
}
