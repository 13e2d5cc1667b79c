package client

import (
	"context"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// BackupSchedule is the part of a cluster's backup schedule that is about exports: which
// snapshots Atlas exports by itself, and what their prefix is made of. It encodes as JSON in
// Atlas's form.
type BackupSchedule struct {
	ClusterID         string `json:"clusterId,omitempty"`
	ClusterName       string `json:"clusterName,omitempty"`
	AutoExportEnabled bool   `json:"autoExportEnabled"`
	// Export is nil if no automatic export is set. A bucket that it names can't be deleted.
	Export *AutoExport `json:"export,omitempty"`
	// UseOrgAndGroupNamesInExportPrefix says that the prefix of every export of the cluster has the
	// names of organization and group instead of their ids.
	UseOrgAndGroupNamesInExportPrefix bool      `json:"useOrgAndGroupNamesInExportPrefix"`
	NextSnapshot                      time.Time `json:"nextSnapshot,omitzero"` // when Atlas takes the next one
}

// AutoExport says which snapshots Atlas exports by itself, and to which bucket.
type AutoExport struct {
	ExportBucketID string `json:"exportBucketId,omitempty"`
	FrequencyType  string `json:"frequencyType,omitempty"` // daily, weekly, monthly or yearly
}

func (s BackupSchedule) read() (*BackupSchedule, error) { return &s, nil }

// BackupScheduleUpdate is the change to a schedule's export policy. What is nil or empty stays
// as it is; something must not be.
type BackupScheduleUpdate struct {
	// AutoExportEnabled switches automatic exports on or off.
	AutoExportEnabled *bool
	// Export says where to, and which snapshots. An empty member stays as it is.
	Export *AutoExport
	// UseOrgAndGroupNamesInExportPrefix is as in [BackupSchedule].
	UseOrgAndGroupNamesInExportPrefix *bool
}

// Validate checks the update against the contract, as [Client.UpdateBackupSchedule] does before
// it sends anything. The error is an [*Error] with all violations.
func (u BackupScheduleUpdate) Validate() error {
	var found violations
	found.schedule(u)
	return found.err("")
}

func (u BackupScheduleUpdate) body() gen.BackupScheduleUpdate {
	body := gen.BackupScheduleUpdate{AutoExportEnabled: u.AutoExportEnabled, UseOrgAndGroupNamesInExportPrefix: u.UseOrgAndGroupNamesInExportPrefix}
	if u.Export != nil {
		body.Export = &gen.AutoExportUpdate{
			ExportBucketID: orNil(u.Export.ExportBucketID),
			FrequencyType:  orNil(gen.AutoExportUpdateFrequencyType(u.Export.FrequencyType)),
		}
	}
	return body
}

// GetBackupSchedule returns the backup schedule of a cluster.
func (c *Client) GetBackupSchedule(ctx context.Context, groupID, clusterName string) (*BackupSchedule, error) {
	o := c.caller.resendable("getBackupSchedule")
	o.found.inCluster(groupID, clusterName)
	return call[BackupSchedule](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetBackupSchedule(ctx, groupID, clusterName, nil)
	})
}

// UpdateBackupSchedule changes the export policy in the backup schedule of a cluster, and
// returns the schedule.
func (c *Client) UpdateBackupSchedule(ctx context.Context, groupID, clusterName string, u BackupScheduleUpdate) (*BackupSchedule, error) {
	o := c.caller.resendable("updateBackupSchedule")
	o.found.inCluster(groupID, clusterName)
	o.found.schedule(u)
	return call[BackupSchedule](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.UpdateBackupSchedule(ctx, groupID, clusterName, nil, u.body())
	})
}

// GetBackupSchedule is as [Client.GetBackupSchedule].
func (v *V1) GetBackupSchedule(ctx context.Context, groupID, clusterName string) (*BackupSchedule, error) {
	o := v.caller.resendable("v1GetBackupSchedule")
	o.found.inCluster(groupID, clusterName)
	return call[BackupSchedule](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetBackupSchedule(ctx, groupID, clusterName, nil)
	})
}

// UpdateBackupSchedule is as [Client.UpdateBackupSchedule].
func (v *V1) UpdateBackupSchedule(ctx context.Context, groupID, clusterName string, u BackupScheduleUpdate) (*BackupSchedule, error) {
	o := v.caller.resendable("v1UpdateBackupSchedule")
	o.found.inCluster(groupID, clusterName)
	o.found.schedule(u)
	return call[BackupSchedule](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1UpdateBackupSchedule(ctx, groupID, clusterName, nil, u.body())
	})
}
