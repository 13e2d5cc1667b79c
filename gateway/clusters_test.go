package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	icholy "github.com/icholy/digest"
)

// destroyed is what the requests of destroy say, in the order in which they are made.
type destroyed struct {
	Delete, List   string
	Clusters       []string
	Orders, Events string // what their schedules say, and the bucket that they export to
}

// destroy does what Terraform's provider does to destroy an export bucket: it deletes the bucket,
// lists the clusters, and reads the schedule of each, until none exports to the bucket.
func destroy(t *testing.T, g *gatewaytest.Gateway, who *gatewaytest.Caller, bucket string) (got destroyed) {
	t.Helper()
	client, err := gen.NewClientWithResponses(g.URL, gen.WithHTTPClient(&http.Client{
		Transport: &icholy.Transport{Username: who.Pair.ID, Password: who.Pair.Secret.Reveal(), Transport: &http.Transport{DisableKeepAlives: true}}}))
	if err != nil {
		t.Fatal(err)
	}
	said := func(answer generated, e *gen.Error) string {
		if e == nil {
			return fmt.Sprint(answer.StatusCode())
		}
		return fmt.Sprint(answer.StatusCode(), " ", e.ErrorCode, " ", *e.Detail)
	}
	deleted, err := client.DeleteExportBucketWithResponse(t.Context(), group, bucket, nil, accepting(of2023))
	if err != nil {
		t.Fatal(err)
	}
	got.Delete = said(deleted, deleted.JSONDefault)
	listed, err := client.ListClustersWithResponse(t.Context(), group, nil, accepting(latest))
	if err != nil {
		t.Fatal(err)
	}
	got.List = said(listed, listed.JSONDefault)
	if listed.JSON200 != nil {
		for _, cluster := range listed.JSON200.Results {
			got.Clusters = append(got.Clusters, *cluster.Name)
		}
	}
	for cluster, answer := range map[string]*string{"orders": &got.Orders, "events": &got.Events} {
		read, err := client.GetBackupScheduleWithResponse(t.Context(), group, cluster, nil, accepting(latest))
		if err != nil {
			t.Fatal(err)
		}
		*answer = said(read, read.JSONDefault)
		switch schedule := read.JSON200; {
		case schedule == nil:
		case schedule.Export == nil:
			*answer += " none"
		default:
			*answer += " " + *schedule.Export.ExportBucketID
		}
	}
	return got
}

// A caller with manage may destroy an export bucket as Terraform's provider does. A caller with
// export may do none of that. A caller whose grant has clusters sees all clusters, and only the
// schedules of the granted ones.
func TestDestroyingABucket(t *testing.T) {
	const used, unused = "65a9d3e1f20b4c7788990011", "65a9d3e1f20b4c7788990012"
	seed := sim.DefaultSeed()
	for _, id := range []string{used, unused} {
		seed.Groups[0].Buckets = append(seed.Groups[0].Buckets, sim.Bucket{ID: id, CloudProvider: "AWS", BucketName: "acme-" + id, IamRoleID: role})
	}
	seed.Groups[0].Clusters[1].AutoExportBucketID = used
	atlas := sim.Start(t, sim.Config{Seed: seed})
	manager := gatewaytest.Issue(t, "manager", `[{operations: [manage], groups: [`+group+`]}]`)
	exporter := gatewaytest.Issue(t, "exporter", `[{operations: [export], groups: [`+group+`]}]`)
	narrow := gatewaytest.Issue(t, "narrow", `[{operations: [manage], groups: [`+group+`], clusters: [orders]}]`)
	g := gatewaytest.StartFor(t, atlas.URL(), "responses: {check: enforce}", manager, exporter, narrow)

	both := []string{"orders", "events"}
	const inUse = "400 EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE Failed to delete export Bucket with ID " + used + " because it is in use."
	forbidden := func(what string) string {
		return "403 USER_UNAUTHORIZED The caller may not do this: no grant of caller " + what + "."
	}
	for _, test := range []struct {
		who    *gatewaytest.Caller
		bucket string
		want   destroyed
		heard  []string // by Atlas
	}{
		{manager, used, destroyed{inUse, "200", both, "200 none", "200 " + used},
			[]string{"deleteExportBucket", "listClusters", "getBackupSchedule", "getBackupSchedule"}},
		{exporter, unused, destroyed{
			forbidden("exporter allows deleteExportBucket; its grants allow operations export"),
			forbidden("exporter allows listClusters; its grants allow operations export"), nil,
			forbidden("exporter allows getBackupSchedule; its grants allow operations export"),
			forbidden("exporter allows getBackupSchedule; its grants allow operations export"),
		}, nil},
		{narrow, used, destroyed{inUse, "200", both, "200 none",
			forbidden("narrow allows getBackupSchedule on cluster events of group " + group + "; its grants allow clusters orders")},
			[]string{"deleteExportBucket", "listClusters", "getBackupSchedule"}},
		{manager, unused, destroyed{"204", "200", both, "200 none", "200 " + used},
			[]string{"deleteExportBucket", "listClusters", "getBackupSchedule", "getBackupSchedule"}},
	} {
		name := test.who.Name + " " + test.bucket
		atlas.Reset()
		if diff := cmp.Diff(test.want, destroy(t, g, test.who, test.bucket)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var heard []string
		for _, r := range atlas.Requests(0) {
			if !r.Challenged {
				heard = append(heard, r.Operation)
			}
		}
		if !slices.Equal(heard, test.heard) {
			t.Errorf("%s: Atlas heard %q, want %q", name, heard, test.heard)
		}
	}
	if logs := g.Log.String(); !strings.Contains(logs, `"missing":"operations"`) || !strings.Contains(logs, `"missing":"clusters"`) {
		t.Errorf("logs: %s", logs)
	}
}
