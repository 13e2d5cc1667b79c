package sim

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// scheduleOf returns the schedule of a cluster. Each cluster of the seed has one.
func (s *Server) scheduleOf(g *group, c *Cluster) *Schedule {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return s.store.schedules[clusterKey{g.ID, c.Name}]
}

// replySchedule answers the schedule of a cluster.
func (s *Server) replySchedule(ctx context.Context, cluster string) error {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	return x.reply(s.scheduleAnswer(x, c, s.scheduleOf(x.group, c)))
}

// scheduleAnswer is a schedule with the recorded members.
func (s *Server) scheduleAnswer(x *exchange, c *Cluster, schedule *Schedule) map[string]any {
	items := []map[string]any{}
	for i, item := range schedule.PolicyItems {
		items = append(items, map[string]any{
			"id":                c.policyID(i + 1),
			"frequencyType":     item.FrequencyType,
			"frequencyInterval": item.FrequencyInterval,
			"retentionUnit":     item.RetentionUnit,
			"retentionValue":    item.RetentionValue,
		})
	}
	a := map[string]any{
		"autoExportEnabled":                 schedule.AutoExportEnabled,
		"clusterId":                         c.UniqueID,
		"clusterName":                       c.Name,
		"copySettings":                      []any{},
		"policies":                          []map[string]any{{"id": c.policyID(0), "policyItems": items}},
		"referenceHourOfDay":                schedule.ReferenceHourOfDay,
		"referenceMinuteOfHour":             schedule.ReferenceMinuteOfHour,
		"restoreWindowDays":                 schedule.RestoreWindowDays,
		"useOrgAndGroupNamesInExportPrefix": schedule.NamesInPrefix,
		"links": []gen.Link{
			{Rel: ptr("self"), Href: ptr(s.clusterURL(x, c) + "/backup/schedule")},
			{Rel: ptr("https://cloud.mongodb.com/group"), Href: ptr(s.origin(x) + "/api/public/v1.0/groups/" + x.group.ID)},
		},
	}
	if schedule.Export != nil {
		a["export"] = schedule.Export
	}
	if next, _ := schedule.first(s.clock.now(), func(PolicyItem) bool { return true }); !next.IsZero() {
		a["nextSnapshot"] = next
	}
	return a
}

// scheduleChange is the content of a PATCH. A member that is nil changes nothing.
type scheduleChange struct {
	AutoExportEnabled *bool `json:"autoExportEnabled"`
	Export            *struct {
		ExportBucketID *string `json:"exportBucketId"`
		FrequencyType  *string `json:"frequencyType"`
	} `json:"export"`
	NamesInPrefix         *bool `json:"useOrgAndGroupNamesInExportPrefix"`
	ReferenceHourOfDay    *int  `json:"referenceHourOfDay"`
	ReferenceMinuteOfHour *int  `json:"referenceMinuteOfHour"`
	RestoreWindowDays     *int  `json:"restoreWindowDays"`
	Policies              []struct {
		PolicyItems []PolicyItem `json:"policyItems"`
	} `json:"policies"`
}

// set puts a value in the place of another, if there is one.
func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// apply returns the schedule after a change. Inferred: a part of export changes only that part,
// and the error for automatic exports without a bucket and for rules that can't be.
func (change *scheduleChange) apply(before *Schedule) (*Schedule, error) {
	after := *before
	set(&after.AutoExportEnabled, change.AutoExportEnabled)
	set(&after.NamesInPrefix, change.NamesInPrefix)
	set(&after.ReferenceHourOfDay, change.ReferenceHourOfDay)
	set(&after.ReferenceMinuteOfHour, change.ReferenceMinuteOfHour)
	set(&after.RestoreWindowDays, change.RestoreWindowDays)
	if change.Export != nil {
		export := AutoExport{FrequencyType: "monthly"}
		set(&export, before.Export)
		set(&export.ExportBucketID, change.Export.ExportBucketID)
		set(&export.FrequencyType, change.Export.FrequencyType)
		after.Export = &export
	}
	if len(change.Policies) > 0 {
		after.PolicyItems = append([]PolicyItem{}, change.Policies[0].PolicyItems...)
	}
	switch {
	case after.ReferenceHourOfDay < 0 || after.ReferenceHourOfDay > 23:
		return nil, failure(http.StatusBadRequest, "INVALID_REFERENCE_HOUR_OF_DAY", "Snapshot schedule reference hour must be between 0 and 23, inclusive.")
	case after.ReferenceMinuteOfHour < 0 || after.ReferenceMinuteOfHour > 59:
		return nil, failure(http.StatusBadRequest, "INVALID_REFERENCE_MINUTE_OF_HOUR", "Snapshot schedule reference minute must be between 0 and 59, inclusive.")
	case after.RestoreWindowDays < 1:
		return nil, failure(http.StatusBadRequest, "INVALID_RESTORE_WINDOW", "The restore window days should be a positive number.")
	case after.AutoExportEnabled && (after.Export == nil || after.Export.ExportBucketID == ""):
		return nil, invalidPolicy("automatic exports need an export policy")
	}
	for _, item := range after.PolicyItems {
		if member, err := item.check(); err != nil {
			return nil, invalidPolicy(member + " " + err.Error())
		}
	}
	return &after, nil
}

func invalidPolicy(reason string) error {
	return failure(http.StatusBadRequest, "INVALID_BACKUP_POLICY", "Invalid Backup Policy: %s.", reason)
}

// changeSchedule changes the members of a schedule that the request has. The content has passed
// the form of the operation.
func (s *Server) changeSchedule(ctx context.Context, cluster string) error {
	x := exchangeOf(ctx)
	var change scheduleChange
	if err := json.Unmarshal(x.body, &change); err != nil {
		return invalidJSON()
	}
	return s.updateSchedule(x, cluster, change.apply)
}

// updateSchedule replaces the schedule of a cluster by what a function makes of it, and answers
// the new one.
func (s *Server) updateSchedule(x *exchange, cluster string, change func(*Schedule) (*Schedule, error)) error {
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	after, err := s.storeSchedule(x, clusterKey{x.group.ID, c.Name}, change, s.clock.now())
	if err != nil {
		return err
	}
	s.record.counters.schedules.Add(1)
	if err := s.save(); err != nil {
		return err
	}
	s.wakeUp()
	return x.reply(s.scheduleAnswer(x, c, after))
}

func (s *Server) storeSchedule(x *exchange, key clusterKey, change func(*Schedule) (*Schedule, error), now time.Time) (*Schedule, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	before := s.store.schedules[key]
	after, err := change(before)
	if err != nil {
		return nil, err
	}
	if after.Export != nil && after.Export != before.Export {
		if bucket := s.store.buckets[after.Export.ExportBucketID]; bucket == nil || bucket.GroupID != x.group.ID {
			return nil, noBucket(after.Export.ExportBucketID)
		}
	}
	after.Ran = now // the new rules begin now
	s.store.setSchedule(after)
	return after, nil
}

// GetBackupSchedule says when snapshots of a cluster are taken and exported.
func (a api) GetBackupSchedule(ctx context.Context, request gen.GetBackupScheduleRequestObject) (gen.GetBackupScheduleResponseObject, error) {
	return nil, a.replySchedule(ctx, request.ClusterName)
}

// UpdateBackupSchedule changes the members that the request has, also those that the contract does
// not name.
func (a api) UpdateBackupSchedule(ctx context.Context, request gen.UpdateBackupScheduleRequestObject) (gen.UpdateBackupScheduleResponseObject, error) {
	return nil, a.changeSchedule(ctx, request.ClusterName)
}

// V1GetBackupSchedule is GetBackupSchedule in v1.0.
func (a api) V1GetBackupSchedule(ctx context.Context, request gen.V1GetBackupScheduleRequestObject) (gen.V1GetBackupScheduleResponseObject, error) {
	return nil, a.replySchedule(ctx, request.ClusterName)
}

// V1UpdateBackupSchedule is UpdateBackupSchedule in v1.0.
func (a api) V1UpdateBackupSchedule(ctx context.Context, request gen.V1UpdateBackupScheduleRequestObject) (gen.V1UpdateBackupScheduleResponseObject, error) {
	return nil, a.changeSchedule(ctx, request.ClusterName)
}
