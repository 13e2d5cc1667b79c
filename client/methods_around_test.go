package client_test

import (
	"context"
	"slices"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

const groupName = "production"

// methodsAround are the methods for what is around an export, in the group that they are called
// with.
var methodsAround = []method{
	{"TakeSnapshot", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.TakeSnapshot(ctx, group, cluster, client.SnapshotRequest{Description: "before the migration", RetentionInDays: 7}))
	}},
	{"ListSnapshots", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListSnapshots(ctx, group, cluster, client.ListOptions{}))
	}},
	{"SnapshotsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.SnapshotsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"GetSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetSnapshot(ctx, group, cluster, sim.OrdersSnapshot))
	}},
	{"ListShardedSnapshots", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListShardedSnapshots(ctx, group, sim.EventsCluster))
	}},
	{"GetShardedSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetShardedSnapshot(ctx, group, sim.EventsCluster, sim.EventsSnapshot))
	}},
	{"IsSharded", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.IsSharded(ctx, group, sim.EventsCluster))
	}},
	{"LatestSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.LatestSnapshot(ctx, group, cluster))
	}},
	{"UpdateBackupSchedule", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.UpdateBackupSchedule(ctx, group, cluster, schedule))
	}},
	{"GetGroup", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetGroup(ctx, group))
	}},
	{"ListRoles", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListRoles(ctx, group))
	}},
	{"GetRole", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetRole(ctx, group, sim.AWSRole))
	}},
	{"V1.TakeSnapshot", true, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().TakeSnapshot(ctx, group, cluster, client.SnapshotRequest{Description: "before the migration", RetentionInDays: 7}))
	}},
	{"V1.ListSnapshots", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListSnapshots(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.SnapshotsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().SnapshotsPage(ctx, group, cluster, client.ListOptions{}))
	}},
	{"V1.GetSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetSnapshot(ctx, group, cluster, sim.OrdersSnapshot))
	}},
	{"V1.ListShardedSnapshots", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListShardedSnapshots(ctx, group, sim.EventsCluster))
	}},
	{"V1.GetShardedSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetShardedSnapshot(ctx, group, sim.EventsCluster, sim.EventsSnapshot))
	}},
	{"V1.IsSharded", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().IsSharded(ctx, group, sim.EventsCluster))
	}},
	{"V1.LatestSnapshot", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().LatestSnapshot(ctx, group, cluster))
	}},
	{"V1.GetBackupSchedule", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetBackupSchedule(ctx, group, cluster))
	}},
	{"V1.UpdateBackupSchedule", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().UpdateBackupSchedule(ctx, group, cluster, schedule))
	}},
	{"V1.GetGroup", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetGroup(ctx, group))
	}},
	{"V1.ListRoles", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListRoles(ctx, group))
	}},
	{"V1.GetRole", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetRole(ctx, group, sim.AWSRole))
	}},
}

// methodsOfGroups are the methods that are called without the id of a group.
var methodsOfGroups = []method{
	{"ListGroups", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.ListGroups(ctx, client.ListOptions{}))
	}},
	{"GroupsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GroupsPage(ctx, client.ListOptions{}))
	}},
	{"GetGroupByName", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.GetGroupByName(ctx, groupName))
	}},
	{"V1.ListGroups", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return drain(c.V1().ListGroups(ctx, client.ListOptions{}))
	}},
	{"V1.GroupsPage", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GroupsPage(ctx, client.ListOptions{}))
	}},
	{"V1.GetGroupByName", false, func(ctx context.Context, c *client.Client, group, bucket, job string) error {
		return dropResult(c.V1().GetGroupByName(ctx, groupName))
	}},
}

// methods are all methods that call one operation, except for waits.
var methods = slices.Concat(methodsOfExports, methodsAround, methodsOfGroups)
