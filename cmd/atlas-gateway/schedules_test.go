package main

import "strings"

// scheduleChanges are requests that would change more of a backup schedule than its export policy,
// or delete it.
func scheduleChanges() []forbidden {
	const (
		schedule = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/clusters/orders/backup/schedule"
		policy   = `{"autoExportEnabled":true,"export":{"exportBucketId":"65a9d3e1f20b4c7788990011","frequencyType":"daily"}}`
	)
	change := func(body string) string { return request("PATCH "+schedule, body, accept, isJSON) }
	with := func(members string) string { return change(policy[:len(policy)-1] + "," + members + "}") }
	v1 := strings.Replace(schedule, "v2", "v1.0", 1)
	return []forbidden{
		{"the policies", change(`{"policies":[]}`), 400},
		{"the policies beside the export", with(`"policies":[{"id":"64f0c2d1b3d4e5f607182950","policyItems":[]}]`), 400},
		{"the policies in front of the export", change(`{"policies":[],` + policy[1:]), 400},
		{"no policies", with(`"policies":null`), 400},
		{"the window of restores", with(`"restoreWindowDays":1`), 400},
		{"the snapshots that are kept already", with(`"updateSnapshots":true`), 400},
		{"copies in other regions", with(`"copySettings":[]`), 400},
		{"deleting copies", with(`"deleteCopiedBackups":[{"cloudProvider":"AWS","regionName":"US_EAST_1"}]`), 400},
		{"retention", with(`"extraRetentionSettings":[]`), 400},
		{"the hour", with(`"referenceHourOfDay":3`), 400},
		{"another cluster", with(`"clusterName":"events"`), 400},
		{"links", with(`"links":[]`), 400},
		{"in another case", with(`"Policies":[]`), 400},
		{"in an escape", with(`"\u0070olicies":[]`), 400},
		{"in letters that fold", with(`"policie\u017f":[]`), 400},
		{"within the export", change(`{"export":{"exportBucketId":"65a9d3e1f20b4c7788990011","policies":[]}}`), 400},
		{"in place of the export", change(`{"export":{"policies":[]},"autoExportEnabled":false}`), 400},
		{"the export twice", with(`"export":{"exportBucketId":"65a9d3e1f20b4c7788990012"}`), 400},
		{"in a second object", change(policy + `{"policies":[]}`), 400},
		{"in a list", change(`[{"op":"replace","path":"/policies","value":[]}]`), 400},
		{"as a patch of another type", request("PATCH "+schedule, `[{"op":"remove","path":"/policies"}]`, accept, "Content-Type: application/json-patch+json"), 415},
		{"in the query", request("PATCH "+schedule+"?policies=1", policy, accept, isJSON), 400},
		{"chunked", chunked("PATCH "+schedule, `{"policies":[]}`, "", accept, isJSON), 400},
		{"in the oldest version", request("PATCH "+schedule, `{"policies":[]}`, "Accept: application/vnd.atlas.2023-01-01+json", isJSON), 400},
		{"in v1.0", request("PATCH "+v1, `{"policies":[]}`, isJSON), 400},
		{"nothing", change(`{}`), 400},
		{"null", change(`null`), 400},
		{"a replacement", request("PUT "+schedule, policy, accept, isJSON), 405},
		{"a deletion", request("DELETE "+schedule, "", accept), 405},
		{"a deletion by v1.0", request("DELETE "+v1+"/", ""), 405},
		{"a deletion as another method", request("POST "+schedule, policy, accept, isJSON, "X-HTTP-Method-Override: DELETE"), 405},
	}
}
