package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// exportDaily turns automatic exports of the daily snapshots on.
func (c caller) exportDaily(bucket string) {
	c.t.Helper()
	c.value(c.do("PATCH", v2+schedule, fmt.Sprintf(`{"autoExportEnabled":true,"export":{"exportBucketId":%q,"frequencyType":"daily"}}`, bucket)))
}

const recordedSchedule = `{"autoExportEnabled":false,"clusterId":"64f0c2d1b3d4e5f607182940","clusterName":"orders","copySettings":[],` +
	`"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders/backup/schedule","rel":"self"},{"href":"http://localhost:8080/api/public/v1.0/groups/<GROUP>","rel":"https://cloud.mongodb.com/group"}],` +
	`"nextSnapshot":"2026-08-20T15:27:00Z","policies":[{"id":"c745b429aed276d751d5ed00","policyItems":[` +
	`{"frequencyInterval":6,"frequencyType":"hourly","id":"c745b429aed276d751d5ed01","retentionUnit":"days","retentionValue":7},` +
	`{"frequencyInterval":1,"frequencyType":"daily","id":"c745b429aed276d751d5ed02","retentionUnit":"days","retentionValue":7},` +
	`{"frequencyInterval":6,"frequencyType":"weekly","id":"c745b429aed276d751d5ed03","retentionUnit":"weeks","retentionValue":4},` +
	`{"frequencyInterval":40,"frequencyType":"monthly","id":"c745b429aed276d751d5ed04","retentionUnit":"months","retentionValue":12},` +
	`{"frequencyInterval":12,"frequencyType":"yearly","id":"c745b429aed276d751d5ed05","retentionUnit":"years","retentionValue":1}]}],` +
	`"referenceHourOfDay":3,"referenceMinuteOfHour":27,"restoreWindowDays":7,"useOrgAndGroupNamesInExportPrefix":false}`

// A PATCH changes the members that it has, and answers the whole schedule. A DELETE takes the rules
// away.
func TestRecordedSchedule(t *testing.T) {
	atlas, r := newRecorded(t, sim.Config{})
	r.ids["BUCKET"] = r.bucket()
	r.answers("GET", v2+schedule, "", 200, "", recordedSchedule)
	named := strings.Replace(recordedSchedule, `ExportPrefix":false`, `ExportPrefix":true`, 1)
	r.answers("PATCH", v2+schedule, `{"useOrgAndGroupNamesInExportPrefix":true}`, 200, "", named)
	exporting := strings.NewReplacer(`{"autoExportEnabled":false`, `{"autoExportEnabled":true`,
		`"links":[{`, `"export":{"exportBucketId":"<BUCKET>","frequencyType":"weekly"},"links":[{`).Replace(named)
	r.answers("PATCH", v2+schedule, `{"autoExportEnabled":true,"export":{"exportBucketId":"<BUCKET>","frequencyType":"weekly"}}`, 200, "", exporting)
	monthly := strings.Replace(exporting, `"weekly"},"links"`, `"monthly"},"links"`, 1)
	r.answers("PATCH", v1+schedule, `{"export":{"frequencyType":"monthly"}}`, 200, "", strings.ReplaceAll(monthly, "/atlas/v2/", "/atlas/v1.0/"))
	off := strings.Replace(monthly, `{"autoExportEnabled":true`, `{"autoExportEnabled":false`, 1)
	r.answers("PATCH", v2+schedule, `{"autoExportEnabled":false}`, 200, "", off)
	r.answers("GET", v2+schedule, "", 200, "", off)
	check(t, "changes", atlas.Counts().SchedulesChanged, int64(4))

	// Atlas takes more than the contract has.
	more := r.value(r.do("PATCH", v2+schedule, `{"referenceHourOfDay":5,"referenceMinuteOfHour":6,"restoreWindowDays":2,"updateSnapshots":true,"copySettings":[],
		"policies":[{"policyItems":[{"frequencyType":"daily","frequencyInterval":1,"retentionUnit":"days","retentionValue":3}]}]}`))
	check(t, "more", []any{more["referenceHourOfDay"], more["restoreWindowDays"], more["nextSnapshot"], len(more["policies"].([]any)[0].(map[string]any)["policyItems"].([]any))},
		[]any{5.0, 2.0, "2026-08-21T05:06:00Z", 1})
	deleted := r.value(r.do("DELETE", v2+schedule, ""))
	check(t, "deleted", []any{deleted["autoExportEnabled"], deleted["export"], deleted["nextSnapshot"], deleted["policies"]},
		[]any{false, nil, nil, []any{map[string]any{"id": "c745b429aed276d751d5ed00", "policyItems": []any{}}}})
	check(t, "counts", atlas.Counts().ByOperation["deleteClusterBackupSchedule"], int64(1))
}

func TestScheduleErrors(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	for body, want := range map[string]string{
		`{"autoExportEnabled":true}`:                      `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: automatic exports need an export policy.","error":400`,
		`{"autoExportEnabled":"yes"}`:                     `INVALID_JSON_ATTRIBUTE "detail":"Received JSON for the autoExportEnabled attribute does not match expected format."`,
		`{"autoExportEnabled":null}`:                      `INVALID_ATTRIBUTE "detail":"Invalid attribute autoExportEnabled specified."`,
		`{"export":[]}`:                                   `INVALID_JSON_ATTRIBUTE "detail":"Received JSON for the export attribute does not match expected format."`,
		`{"export":{"exportBucketId":"x"}}`:               `INVALID_ATTRIBUTE "detail":"Invalid attribute exportBucketId specified."`,
		`{"export":{"exportBucketId":"` + unknown + `"}}`: `EXPORT_BUCKET_NOT_FOUND "detail":"No export Bucket with ID ` + unknown + ` does not exist.","error":404`,
		`{"export":{"exportBucketId":"` + bucket + `","frequencyType":"hourly"}}`: `INVALID_ENUM_VALUE "detail":"An invalid enumeration value hourly was specified."`,
		`{"export":{"bucket":"` + bucket + `"}}`:                                  `INVALID_ATTRIBUTE "detail":"Invalid attribute bucket specified."`,
		`{"useOrgAndGroupNamesInExportPrefix":1}`:                                 `INVALID_JSON_ATTRIBUTE`,
		`{"autoexportEnabled":true}`:                                              `INVALID_ATTRIBUTE "detail":"Invalid attribute autoexportEnabled specified."`,
		`{"referenceHourOfDay":24}`:                                               `INVALID_REFERENCE_HOUR_OF_DAY "detail":"Snapshot schedule reference hour must be between 0 and 23, inclusive."`,
		`{"referenceMinuteOfHour":-1}`:                                            `INVALID_REFERENCE_MINUTE_OF_HOUR "detail":"Snapshot schedule reference minute must be between 0 and 59, inclusive."`,
		`{"restoreWindowDays":0}`:                                                 `INVALID_RESTORE_WINDOW "detail":"The restore window days should be a positive number."`,
		`{"policies":[]}`:                                                         `INVALID_NUM_OF_POLICIES "detail":"Must have exactly one policy."`,
		`{"policies":[{"policyItems":[{"frequencyType":"often"}]}]}`:              `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: frequencyType \"often\" is not one of hourly, daily, weekly, monthly, yearly."`,
		`{"policies":[{"policyItems":[{"frequencyType":"hourly","frequencyInterval":9223372036854775807,"retentionUnit":"days","retentionValue":1}]}]}`: `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: frequencyInterval 9223372036854775807 is not 1 to 24."`,
		`{"policies":[{"policyItems":[{"frequencyType":"monthly","frequencyInterval":0,"retentionUnit":"days","retentionValue":1}]}]}`:                  `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: frequencyInterval 0 is not 1 to 40."`,
		`{"policies":[{"policyItems":[{"frequencyType":"daily","frequencyInterval":1,"retentionUnit":"hours","retentionValue":1}]}]}`:                   `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: retentionUnit`,
		`{"policies":[{"policyItems":[{"frequencyType":"daily","frequencyInterval":1,"retentionUnit":"days","retentionValue":0}]}]}`:                    `INVALID_BACKUP_POLICY "detail":"Invalid Backup Policy: retentionValue 0 is not 1 to 1000."`,
		`[]`: `INVALID_JSON "detail"`,
	} {
		for _, generation := range []string{v1, v2} {
			a := c.do("PATCH", generation+schedule, body)
			if got := a.header.Get("X-Error-Code") + " " + strings.TrimPrefix(a.body, "{"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %d %s, want %s", body, a.status, got, want)
			}
		}
	}
	check(t, "of an unknown cluster", c.do("PATCH", v2+"/clusters/order/backup/schedule", `{}`).header.Get("X-Error-Code"), "CLUSTER_NOT_FOUND")
	check(t, "nothing was changed", atlas.Counts().SchedulesChanged, int64(0))
}

// While automatic exports are on, the rules of their frequency take snapshots on the clock, and
// each is exported as soon as it is completed.
func TestAutomaticExports(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	before := len(c.results(v2 + snapshots))
	atlas.Advance(48 * time.Hour)
	check(t, "without automatic exports no snapshots are taken", len(c.results(v2+snapshots)), before)

	c.exportDaily(bucket) // on 22 August at 12:00
	atlas.Advance(15*time.Hour + 27*time.Minute - 1)
	check(t, "before the rule", len(c.results(v2+snapshots)), before)
	atlas.Advance(1)
	ids := c.results(v2 + snapshots)
	check(t, "the rule's snapshot", len(ids), before+1)
	taken := c.value(c.do("GET", v2+snapshots+"/"+ids[0], ""))
	check(t, "it", []any{taken["status"], taken["snapshotType"], taken["frequencyType"], taken["policyItems"]}, []any{"queued", "scheduled", "daily", []any{"c745b429aed276d751d5ed02"}})
	check(t, "no job yet", len(atlas.Jobs()), 0)
	atlas.Advance(8*time.Minute + 5*time.Second)
	jobs := c.value(c.do("GET", v2+orders, ""))["results"].([]any)
	check(t, "its job", len(jobs), 1)
	job := jobs[0].(map[string]any)
	check(t, "the job", []any{job["snapshotId"], job["exportBucketId"], job["state"], job["createdAt"], job["customData"], job["prefix"]},
		[]any{ids[0], bucket, "Queued", "2026-08-23T03:35:05Z", []any{},
			fmt.Sprintf("exported_snapshots/%s/%s/orders/2026-08-23T0331/%d", sim.OrgID, sim.GroupID, time.Date(2026, 8, 23, 3, 35, 5, 0, time.UTC).Unix())})
	check(t, "kept for 7 days", c.value(c.do("GET", v2+snapshots+"/"+ids[0], ""))["expiresAt"], any("2026-08-30T03:35:05Z"))
	atlas.Advance(12 * time.Minute)
	check(t, "it ends", c.read(v2+orders, job["id"].(string))["state"], any("Successful"))

	// A jump of the clock makes up for all days, in their order.
	atlas.Advance(72 * time.Hour)
	times := []string{}
	for _, job := range c.value(c.do("GET", v2+orders, ""))["results"].([]any) {
		times = append(times, job.(map[string]any)["createdAt"].(string))
	}
	check(t, "after three days", times, []string{"2026-08-26T03:35:05Z", "2026-08-25T03:35:05Z", "2026-08-24T03:35:05Z", "2026-08-23T03:35:05Z"})
	counts := atlas.Counts()
	check(t, "counts", []int64{counts.AutomaticExports, counts.JobsCreated, counts.SnapshotsTaken}, []int64{4, 0, 0})

	c.value(c.do("PATCH", v2+schedule, `{"autoExportEnabled":false}`))
	atlas.Advance(72 * time.Hour)
	check(t, "when it is off again", len(atlas.Jobs()), 4)

	// A century is not made up for.
	c.exportDaily(bucket)
	atlas.Advance(100 * 365 * 24 * time.Hour)
	check(t, "a century later", len(atlas.Jobs()), 4+31)
}

// An on-demand snapshot, a fallback, one that failed and one of another frequency are not exported.
func TestWhatIsNotExportedAutomatically(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	c.exportDaily(c.bucket())
	c.take(sim.OrdersCluster)
	if _, err := atlas.AddSnapshot(sim.Snapshot{GroupID: sim.GroupID, ClusterName: "orders", Status: "queued", FrequencyType: "weekly"}); err != nil {
		t.Fatal(err)
	}
	if _, err := atlas.AddSnapshot(sim.Snapshot{GroupID: sim.GroupID, ClusterName: "orders", Status: "queued", SnapshotType: "fallback"}); err != nil {
		t.Fatal(err)
	}
	failing, err := atlas.AddSnapshot(sim.Snapshot{GroupID: sim.GroupID, ClusterName: "orders", Status: "inProgress"})
	if err != nil {
		t.Fatal(err)
	}
	if err := atlas.EndSnapshot(failing.ID, "failed"); err != nil {
		t.Fatal(err)
	}
	atlas.Advance(time.Hour)
	check(t, "jobs", len(atlas.Jobs()), 0)
	daily, err := atlas.AddSnapshot(sim.Snapshot{GroupID: sim.GroupID, ClusterName: "orders", Status: "inProgress"})
	if err != nil {
		t.Fatal(err)
	}
	if err := atlas.EndSnapshot(daily.ID, "completed"); err != nil {
		t.Fatal(err)
	}
	check(t, "the daily one is", len(atlas.Jobs()), 1)
}

// When each kind of rule takes a snapshot, by Atlas's numbers. 20 August 2026 is a Thursday.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		frequency string
		interval  int
		next      string
	}{
		{"hourly", 6, "2026-08-20T15:27:00Z"},
		{"hourly", 1, "2026-08-20T12:27:00Z"},
		{"daily", 1, "2026-08-21T03:27:00Z"},
		{"weekly", 1, "2026-08-24T03:27:00Z"},
		{"weekly", 4, "2026-08-27T03:27:00Z"}, // this Thursday's is over
		{"weekly", 7, "2026-08-23T03:27:00Z"},
		{"monthly", 40, "2026-08-31T03:27:00Z"},
		{"monthly", 20, "2026-09-20T03:27:00Z"},
		{"monthly", 21, "2026-08-21T03:27:00Z"},
		{"yearly", 12, "2026-12-01T03:27:00Z"},
		{"yearly", 8, "2027-08-01T03:27:00Z"},
	} {
		seed := sim.DefaultSeed()
		seed.Groups[0].Clusters[0].PolicyItems = []sim.PolicyItem{{FrequencyType: test.frequency, FrequencyInterval: test.interval, RetentionUnit: "days", RetentionValue: 1}}
		c := newCaller(t, start(t, sim.Config{Seed: seed}).URL(), sim.PublicKey)
		check(t, fmt.Sprint(test.frequency, test.interval), c.value(c.do("GET", v2+schedule, ""))["nextSnapshot"], any(test.next))
	}
}

// The prefix of each cluster's exports follows its own schedule.
func TestNamesInPrefixBySchedule(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	c.value(c.do("PATCH", v2+schedule, `{"useOrgAndGroupNamesInExportPrefix":true}`))
	named := c.read(v2+orders, c.job(orders, sim.OrdersSnapshot, bucket))["prefix"]
	check(t, "of this cluster", named, any(fmt.Sprintf("exported_snapshots/acme/production/orders/2026-08-10T0327/%d", now.Unix())))
	other := c.read(v2+events, c.job(events, sim.EventsSnapshot, bucket))["prefix"]
	check(t, "of another", other, any(fmt.Sprintf("exported_snapshots/%s/%s/events/2026-08-10T0327/%d", sim.OrgID, sim.GroupID, now.Unix())))
}
