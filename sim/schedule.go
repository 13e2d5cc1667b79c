package sim

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PolicyItem is one rule of a backup schedule.
type PolicyItem struct {
	// FrequencyType is hourly, daily, weekly, monthly or yearly.
	FrequencyType string `yaml:"frequencyType" json:"frequencyType"`
	// FrequencyInterval says when within the period, in Atlas's numbers: the hours between two
	// snapshots, the day of the week from 1 for Monday, the day of the month with 40 for the
	// last one, or the month.
	FrequencyInterval int `yaml:"frequencyInterval" json:"frequencyInterval"`
	// RetentionUnit and RetentionValue say how long a snapshot is kept, such as 7 days. The unit
	// is days, weeks, months or years.
	RetentionUnit  string `yaml:"retentionUnit" json:"retentionUnit"`
	RetentionValue int    `yaml:"retentionValue" json:"retentionValue"`
}

// defaultPolicyItems are the rules of a new cluster, as recorded.
var defaultPolicyItems = []PolicyItem{
	{"hourly", 6, "days", 7},
	{"daily", 1, "days", 7},
	{"weekly", 6, "weeks", 4},
	{"monthly", 40, "months", 12},
	{"yearly", 12, "years", 1},
}

// The time of day of the schedules, in UTC, and the recorded restore window of a new cluster.
const (
	referenceHour     = 3
	referenceMinute   = 27
	restoreWindowDays = 7
)

// Schedule is the backup schedule of a cluster, as the simulation keeps it.
type Schedule struct {
	GroupID     string `json:"groupId"`
	ClusterName string `json:"clusterName"`
	// AutoExportEnabled exports each snapshot that a rule with Export's FrequencyType takes. Only
	// these rules take snapshots in the simulation, and only while it is on.
	AutoExportEnabled bool        `json:"autoExportEnabled"`
	Export            *AutoExport `json:"export,omitempty"` // nil until it was set
	NamesInPrefix     bool        `json:"useOrgAndGroupNamesInExportPrefix"`

	ReferenceHourOfDay    int          `json:"referenceHourOfDay"`
	ReferenceMinuteOfHour int          `json:"referenceMinuteOfHour"`
	RestoreWindowDays     int          `json:"restoreWindowDays"`
	PolicyItems           []PolicyItem `json:"policyItems"`

	// Ran is the time up to which the rules have taken their snapshots.
	Ran time.Time `json:"ran"`
}

// AutoExport says where automatic exports go, and which snapshots they export.
type AutoExport struct {
	ExportBucketID string `json:"exportBucketId"`
	FrequencyType  string `json:"frequencyType"` // daily, weekly, monthly or yearly
}

// schedule returns the schedule that a cluster of the seed begins with.
func (g *group) schedule(c *Cluster, now time.Time) *Schedule {
	schedule := &Schedule{
		GroupID:               g.ID,
		ClusterName:           c.Name,
		AutoExportEnabled:     c.AutoExportBucketID != "",
		NamesInPrefix:         g.NamesInPrefix,
		ReferenceHourOfDay:    referenceHour,
		ReferenceMinuteOfHour: referenceMinute,
		RestoreWindowDays:     restoreWindowDays,
		PolicyItems:           c.PolicyItems,
		Ran:                   now,
	}
	if schedule.PolicyItems == nil {
		schedule.PolicyItems = defaultPolicyItems
	}
	if c.AutoExportBucketID != "" {
		schedule.Export = &AutoExport{c.AutoExportBucketID, cmp.Or(c.AutoExportFrequency, "monthly")}
	}
	return schedule
}

// exports reports whether automatic exports use a bucket.
func (s *Schedule) exports(bucket string) bool {
	return s.AutoExportEnabled && s.Export != nil && s.Export.ExportBucketID == bucket
}

// next returns when a rule takes a snapshot next, and the index of the rule. The time is zero if
// none does.
func (s *Schedule) next() (at time.Time, rule int) {
	if !s.AutoExportEnabled || s.Export == nil {
		return at, 0
	}
	return s.first(s.Ran, func(item PolicyItem) bool { return item.FrequencyType == s.Export.FrequencyType })
}

// first returns the first time after another at which a rule takes a snapshot, of the rules that
// a function picks. The time is zero if it picks none.
func (s *Schedule) first(after time.Time, pick func(PolicyItem) bool) (at time.Time, rule int) {
	for i, item := range s.PolicyItems {
		if !pick(item) {
			continue
		}
		if run := s.runAfter(item, after.UTC()); at.IsZero() || run.Before(at) {
			at, rule = run, i
		}
	}
	return at, rule
}

// runAfter returns the first time after another at which a rule takes a snapshot. Inferred: a
// yearly rule does so on the first day of its month.
func (s *Schedule) runAfter(item PolicyItem, after time.Time) time.Time {
	on := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, s.ReferenceHourOfDay, s.ReferenceMinuteOfHour, 0, 0, time.UTC)
	}
	year, month, day := after.Date()
	run := on(year, month, day)
	step := func() { run = run.AddDate(0, 0, 1) }
	switch item.FrequencyType {
	case "hourly":
		run = run.AddDate(0, 0, -1)
		step = func() { run = run.Add(time.Duration(item.FrequencyInterval) * time.Hour) }
	case "weekly":
		for int(run.Weekday()) != item.FrequencyInterval%7 {
			run = run.AddDate(0, 0, 1)
		}
		step = func() { run = run.AddDate(0, 0, 7) }
	case "monthly":
		dayOf := func(month time.Month) time.Time {
			last := on(year, month+1, 0)
			if item.FrequencyInterval > last.Day() { // 40 is the last day
				return last
			}
			return on(year, month, item.FrequencyInterval)
		}
		run = dayOf(month)
		step = func() { month++; run = dayOf(month) }
	case "yearly":
		run = on(year, time.Month(item.FrequencyInterval), 1)
		step = func() { year++; run = on(year, time.Month(item.FrequencyInterval), 1) }
	}
	for !run.After(after) {
		step()
	}
	return run
}

// retention returns how long a snapshot is kept that a rule takes at a time.
func (item PolicyItem) retention(at time.Time) time.Duration {
	n := item.RetentionValue
	switch item.RetentionUnit {
	case "weeks":
		return at.AddDate(0, 0, 7*n).Sub(at)
	case "months":
		return at.AddDate(0, n, 0).Sub(at)
	case "years":
		return at.AddDate(n, 0, 0).Sub(at)
	default:
		return at.AddDate(0, 0, n).Sub(at)
	}
}

// catchUp is for how many periods, at most, schedules take the snapshots that the clock has jumped
// over. A schedule that was to make up for a century would never end.
const catchUp = 31

// periods are about as long as the frequency types of exports say.
var periods = map[string]time.Duration{"daily": 24 * time.Hour, "weekly": 7 * 24 * time.Hour, "monthly": 31 * 24 * time.Hour, "yearly": 366 * 24 * time.Hour}

// runSchedule begins the snapshot that a rule takes at a time.
func (s *Server) runSchedule(schedule *Schedule) {
	at, rule := schedule.next()
	ran := *schedule
	ran.Ran = at
	var snapshot *Snapshot
	item := schedule.PolicyItems[rule]
	if missed := s.clock.now().Add(-catchUp * periods[item.FrequencyType]); at.Before(missed) {
		ran.Ran = missed
	} else {
		cluster := s.world.cluster(schedule.GroupID, schedule.ClusterName)
		snapshot = &Snapshot{
			ID:            newID(at),
			GroupID:       schedule.GroupID,
			ClusterName:   schedule.ClusterName,
			FrequencyType: item.FrequencyType,
			PolicyItems:   []string{cluster.policyID(rule + 1)},
		}
		s.begin(snapshot, at, item.retention(at))
		s.complete(snapshot, cluster)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	// If a request has changed the schedule meanwhile, it runs again by its new rules.
	if s.store.schedules[clusterKey{schedule.GroupID, schedule.ClusterName}] != schedule {
		return
	}
	s.store.setSchedule(&ran)
	if snapshot != nil {
		s.store.addSnapshot(snapshot)
	}
}

// exportBySchedule starts the automatic export of a snapshot that has just been completed, if the
// cluster's schedule wants it.
func (s *Server) exportBySchedule(sn *Snapshot) {
	group := s.world.groups[sn.GroupID]
	cluster := group.clusters[sn.ClusterName]
	s.store.mu.RLock()
	schedule := s.store.schedules[clusterKey{sn.GroupID, sn.ClusterName}]
	var bucket *Bucket
	if schedule.Export != nil {
		bucket = s.store.buckets[schedule.Export.ExportBucketID]
	}
	s.store.mu.RUnlock()
	if sn.SnapshotType != scheduled || !schedule.AutoExportEnabled || schedule.Export == nil || schedule.Export.FrequencyType != sn.FrequencyType {
		return
	}
	if bucket == nil {
		s.log.Warn("an automatic export has no bucket", "cluster", sn.ClusterName, "bucket", schedule.Export.ExportBucketID)
		return
	}
	if _, err := s.startJob(group, cluster, sn, bucket, []CustomData{}, sn.Ends); err != nil {
		s.log.Warn("an automatic export could not start", "cluster", sn.ClusterName, "error", err)
		return
	}
	s.record.counters.automatic.Add(1)
}

// policyID is the id of the cluster's only policy for 0, and of its rules from 1. They stay the
// same over restarts.
func (c *Cluster) policyID(n int) string {
	hash := sha256.Sum256([]byte(c.UniqueID))
	return fmt.Sprintf("%x%02x", hash[:11], n)
}

// intervals are the greatest FrequencyInterval by frequency type. 40 is for the last day of a
// month.
var intervals = map[string]int{"hourly": 24, "daily": 1, "weekly": 7, "monthly": 40, "yearly": 12}

// check refuses a rule that Atlas could not have. The error names the member.
func (item PolicyItem) check() (member string, err error) {
	limit := intervals[item.FrequencyType]
	switch {
	case limit == 0:
		return "frequencyType", fmt.Errorf("%q is not one of %s", item.FrequencyType, strings.Join(frequencies, ", "))
	case item.FrequencyInterval < 1 || item.FrequencyInterval > limit:
		return "frequencyInterval", fmt.Errorf("%d is not 1 to %d", item.FrequencyInterval, limit)
	case !slices.Contains([]string{"days", "weeks", "months", "years"}, item.RetentionUnit):
		return "retentionUnit", fmt.Errorf("%q is not one of days, weeks, months, years", item.RetentionUnit)
	case item.RetentionValue < 1 || item.RetentionValue > 1000:
		return "retentionValue", fmt.Errorf("%d is not 1 to 1000", item.RetentionValue)
	}
	return "", nil
}
