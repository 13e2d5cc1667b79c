package sim

import (
	"context"
	"net/http"

	"atlas-export-gateway/gen"
)

// errNotSimulated answers the operations that the simulation does not have yet.
var errNotSimulated = failure(http.StatusNotImplemented, "NOT_SIMULATED", "The simulation does not have this operation yet.")

// V1ListGroups is not simulated yet.
func (api) V1ListGroups(context.Context, gen.V1ListGroupsRequestObject) (gen.V1ListGroupsResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetGroupByName is not simulated yet.
func (api) V1GetGroupByName(context.Context, gen.V1GetGroupByNameRequestObject) (gen.V1GetGroupByNameResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetGroup is not simulated yet.
func (api) V1GetGroup(context.Context, gen.V1GetGroupRequestObject) (gen.V1GetGroupResponseObject, error) {
	return nil, errNotSimulated
}

// V1ListCloudProviderAccess is not simulated yet.
func (api) V1ListCloudProviderAccess(context.Context, gen.V1ListCloudProviderAccessRequestObject) (gen.V1ListCloudProviderAccessResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetCloudProviderAccess is not simulated yet.
func (api) V1GetCloudProviderAccess(context.Context, gen.V1GetCloudProviderAccessRequestObject) (gen.V1GetCloudProviderAccessResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetBackupSchedule is not simulated yet.
func (api) V1GetBackupSchedule(context.Context, gen.V1GetBackupScheduleRequestObject) (gen.V1GetBackupScheduleResponseObject, error) {
	return nil, errNotSimulated
}

// V1UpdateBackupSchedule is not simulated yet.
func (api) V1UpdateBackupSchedule(context.Context, gen.V1UpdateBackupScheduleRequestObject) (gen.V1UpdateBackupScheduleResponseObject, error) {
	return nil, errNotSimulated
}

// V1ListBackupSnapshots is not simulated yet.
func (api) V1ListBackupSnapshots(context.Context, gen.V1ListBackupSnapshotsRequestObject) (gen.V1ListBackupSnapshotsResponseObject, error) {
	return nil, errNotSimulated
}

// V1TakeSnapshots is not simulated yet.
func (api) V1TakeSnapshots(context.Context, gen.V1TakeSnapshotsRequestObject) (gen.V1TakeSnapshotsResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetBackupShardedCluster is not simulated yet.
func (api) V1GetBackupShardedCluster(context.Context, gen.V1GetBackupShardedClusterRequestObject) (gen.V1GetBackupShardedClusterResponseObject, error) {
	return nil, errNotSimulated
}

// V1ListBackupShardedClusters is not simulated yet.
func (api) V1ListBackupShardedClusters(context.Context, gen.V1ListBackupShardedClustersRequestObject) (gen.V1ListBackupShardedClustersResponseObject, error) {
	return nil, errNotSimulated
}

// V1GetClusterBackupSnapshot is not simulated yet.
func (api) V1GetClusterBackupSnapshot(context.Context, gen.V1GetClusterBackupSnapshotRequestObject) (gen.V1GetClusterBackupSnapshotResponseObject, error) {
	return nil, errNotSimulated
}

// ListGroups is not simulated yet.
func (api) ListGroups(context.Context, gen.ListGroupsRequestObject) (gen.ListGroupsResponseObject, error) {
	return nil, errNotSimulated
}

// GetGroupByName is not simulated yet.
func (api) GetGroupByName(context.Context, gen.GetGroupByNameRequestObject) (gen.GetGroupByNameResponseObject, error) {
	return nil, errNotSimulated
}

// GetGroup is not simulated yet.
func (api) GetGroup(context.Context, gen.GetGroupRequestObject) (gen.GetGroupResponseObject, error) {
	return nil, errNotSimulated
}

// ListCloudProviderAccess is not simulated yet.
func (api) ListCloudProviderAccess(context.Context, gen.ListCloudProviderAccessRequestObject) (gen.ListCloudProviderAccessResponseObject, error) {
	return nil, errNotSimulated
}

// GetCloudProviderAccess is not simulated yet.
func (api) GetCloudProviderAccess(context.Context, gen.GetCloudProviderAccessRequestObject) (gen.GetCloudProviderAccessResponseObject, error) {
	return nil, errNotSimulated
}

// GetCluster is not simulated yet.
func (api) GetCluster(context.Context, gen.GetClusterRequestObject) (gen.GetClusterResponseObject, error) {
	return nil, errNotSimulated
}

// UpdateBackupSchedule is not simulated yet.
func (api) UpdateBackupSchedule(context.Context, gen.UpdateBackupScheduleRequestObject) (gen.UpdateBackupScheduleResponseObject, error) {
	return nil, errNotSimulated
}

// ListBackupSnapshots is not simulated yet.
func (api) ListBackupSnapshots(context.Context, gen.ListBackupSnapshotsRequestObject) (gen.ListBackupSnapshotsResponseObject, error) {
	return nil, errNotSimulated
}

// TakeSnapshots is not simulated yet.
func (api) TakeSnapshots(context.Context, gen.TakeSnapshotsRequestObject) (gen.TakeSnapshotsResponseObject, error) {
	return nil, errNotSimulated
}

// GetBackupShardedCluster is not simulated yet.
func (api) GetBackupShardedCluster(context.Context, gen.GetBackupShardedClusterRequestObject) (gen.GetBackupShardedClusterResponseObject, error) {
	return nil, errNotSimulated
}

// ListBackupShardedClusters is not simulated yet.
func (api) ListBackupShardedClusters(context.Context, gen.ListBackupShardedClustersRequestObject) (gen.ListBackupShardedClustersResponseObject, error) {
	return nil, errNotSimulated
}

// GetClusterBackupSnapshot is not simulated yet.
func (api) GetClusterBackupSnapshot(context.Context, gen.GetClusterBackupSnapshotRequestObject) (gen.GetClusterBackupSnapshotResponseObject, error) {
	return nil, errNotSimulated
}

// GetClusterStatus is not simulated yet.
func (api) GetClusterStatus(context.Context, gen.GetClusterStatusRequestObject) (gen.GetClusterStatusResponseObject, error) {
	return nil, errNotSimulated
}
