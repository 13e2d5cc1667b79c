package client_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

// method is one method of the client. The ids that it is called with may exist or not.
type method struct {
	name   string
	create bool
	call   func(ctx context.Context, c *client.Client, group, bucket, job string) error
}

// get reports whether the method sends GETs.
func (m *method) get() bool {
	return !m.create && !strings.HasSuffix(m.name, "teExportBucket") && !strings.HasSuffix(m.name, "UpdateBackupSchedule")
}

// content reports whether the method sends content.
func (m *method) content() bool { return !m.get() && !strings.HasSuffix(m.name, "DeleteExportBucket") }

// drain reads a list to its end or its error.
func drain[T any](list iter.Seq2[T, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func dropResult[T any](_ T, err error) error { return err }

var (
	export = func(bucket string) client.ExportRequest {
		return client.ExportRequest{SnapshotID: sim.OrdersSnapshot2, ExportBucketID: bucket}
	}
	awsBucket = client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole}
	on        = true
	schedule  = client.BackupScheduleUpdate{UseOrgAndGroupNamesInExportPrefix: &on}
	quickly   = client.WaitOptions{Interval: time.Millisecond, MaxInterval: time.Millisecond}
)

// methodsOfExports are the methods for exports, buckets, and clusters.
var methodsOfExports = []method{
	{"CreateExport", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.CreateExport(ctx, group, cluster, export(bucket)))
	}},
	{"GetExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetExport(ctx, group, cluster, job))
	}},
	{"ListExports", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListExports(ctx, group, cluster, client.ListOptions{}))
	}},
	{"ExportsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ExportsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"FindExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot, time.Time{}))
	}},
	{"CreateExportBucket", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.CreateExportBucket(ctx, group, awsBucket))
	}},
	{"GetExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetExportBucket(ctx, group, bucket))
	}},
	{"ListExportBuckets", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListExportBuckets(ctx, group, client.ListOptions{}))
	}},
	{"ExportBucketsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ExportBucketsPage(ctx, group, client.ListOptions{}))
	}},
	{"ListClusters", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListClusters(ctx, group, client.ListOptions{}))
	}},
	{"ClustersPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.ClustersPage(ctx, group, client.ListOptions{}))
	}},
	{"GetCluster", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetCluster(ctx, group, cluster))
	}},
	{"GetClusterStatus", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetClusterStatus(ctx, group, cluster))
	}},
	{"GetBackupSchedule", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetBackupSchedule(ctx, group, cluster))
	}},
	{"UpdateExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.UpdateExportBucket(ctx, group, bucket, client.ExportBucketUpdate{}))
	}},
	{"DeleteExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return c.DeleteExportBucket(ctx, group, bucket)
	}},
	{"V1.CreateExport", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().CreateExport(ctx, group, cluster, export(bucket)))
	}},
	{"V1.GetExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetExport(ctx, group, cluster, job))
	}},
	{"V1.ListExports", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListExports(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.ExportsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().ExportsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.FindExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().FindExport(ctx, group, cluster, sim.OrdersSnapshot, time.Time{}))
	}},
	{"V1.CreateExportBucket", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().CreateExportBucket(ctx, group, awsBucket))
	}},
	{"V1.GetExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetExportBucket(ctx, group, bucket))
	}},
	{"V1.ListExportBuckets", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListExportBuckets(ctx, group, client.ListOptions{}))
	}},
	{"V1.ExportBucketsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().ExportBucketsPage(ctx, group, client.ListOptions{}))
	}},
	{"V1.DeleteExportBucket", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return c.V1().DeleteExportBucket(ctx, group, bucket)
	}},
}

// waits are the methods that wait until a job or a snapshot ends.
var waits = []method{
	{"WaitForSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.WaitForSnapshot(ctx, group, cluster, sim.OrdersSnapshot, client.SnapshotWaitOptions{Interval: time.Millisecond}))
	}},
	{"V1.WaitForSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().WaitForSnapshot(ctx, group, cluster, sim.OrdersSnapshot, client.SnapshotWaitOptions{Interval: time.Millisecond}))
	}},
	{"WaitForExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.WaitForExport(ctx, group, cluster, job, quickly))
	}},
	{"V1.WaitForExport", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().WaitForExport(ctx, group, cluster, job, quickly))
	}},
}

// failure is the part of an error that the tables compare.
type failure struct {
	Kind    string
	Status  int
	Code    string
	Gateway string
}

func failureOf(t *testing.T, err error) failure {
	t.Helper()
	if err == nil {
		return failure{Kind: "success"}
	}
	e := asError(t, err)
	return failure{kindOf(t, err), e.Status, e.Code, e.GatewayKind}
}
