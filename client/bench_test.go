package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/gen"
)

// BenchmarkCalls measures a call with this client and one with the bare generated client, over
// loopback to a server that checks nothing: a job, a page of 100 jobs, a create.
func BenchmarkCalls(b *testing.B) {
	job := `{"id":"` + nobody + `","state":"InProgress","snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011","createdAt":"2026-08-10T03:28:25Z",` +
		`"customData":[{"key":"exported by","value":"nightly"}],"exportStatus":{"exportedCollections":21,"totalCollections":42},` +
		`"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/64f0c1a2b3d4e5f607182930/orders/2026-08-10T0327/1786332505","links":[]}`
	page := `{"results":[` + strings.Repeat(job+",", 99) + job + `],"totalCount":100,"links":[]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.atlas.2023-01-01+json")
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/exports") {
			w.Write([]byte(page))
			return
		}
		w.Write([]byte(job))
	}))
	b.Cleanup(server.Close)
	ctx := context.Background()
	c := newClient(b, client.Config{BaseURL: server.URL})
	transport := &http.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	bare, err := gen.NewClientWithResponses(server.URL, gen.WithHTTPClient(&http.Client{Transport: transport}), gen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept", "application/vnd.atlas.2024-05-30+json")
		return nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	request := client.ExportRequest{SnapshotID: "6a01e0b45be2d84417c09f10", ExportBucketID: "65a9d3e1f20b4c7788990011"}
	count := true
	for _, call := range []struct {
		name         string
		client, bare func() error
	}{
		{"get", func() error { return dropResult(c.GetExport(ctx, group, cluster, nobody)) }, func() error {
			got, err := bare.GetBackupExportWithResponse(ctx, group, cluster, nobody, nil)
			if err == nil && got.JSON200 == nil {
				err = fmt.Errorf("%s", got.Status())
			}
			return err
		}},
		{"page", func() error { return dropResult(c.ExportsPage(ctx, group, cluster, client.ListOptions{})) }, func() error {
			got, err := bare.ListBackupExportsWithResponse(ctx, group, cluster, &gen.ListBackupExportsParams{IncludeCount: &count})
			if err == nil && (got.JSON200 == nil || len(got.JSON200.Results) != 100) {
				err = fmt.Errorf("%s", got.Status())
			}
			return err
		}},
		{"create", func() error { return dropResult(c.CreateExport(ctx, group, cluster, request)) }, func() error {
			got, err := bare.CreateBackupExportWithResponse(ctx, group, cluster, nil, gen.ExportJobRequest{SnapshotID: request.SnapshotID, ExportBucketID: request.ExportBucketID})
			if err == nil && got.JSON200 == nil {
				err = fmt.Errorf("%s", got.Status())
			}
			return err
		}},
	} {
		run := func(name string, do func() error) {
			b.Run(call.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("client", call.client)
		run("generated", call.bare)
	}
}
