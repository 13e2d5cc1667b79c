package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

const groupsV2, groupsV1 = "/api/atlas/v2/groups", "/api/atlas/v1.0/groups"

func TestGroups(t *testing.T) {
	seed := sim.DefaultSeed()
	seed.Groups[1].Name = "Fin+Ops (EU)"
	_, r := newRecorded(t, sim.Config{Seed: seed})
	const production = `{"clusterCount":2,"created":"2023-08-31T16:36:50Z","id":"<GROUP>","links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>","rel":"self"}],"name":"production","orgId":"<ORG>","tags":[]}`
	r.answers("GET", groupsV2+"/<GROUP>", "", 200, "", production)
	r.answers("GET", groupsV2+"/byName/production", "", 200, "", production)
	r.answers("GET", groupsV1+"/byName/production/", "", 200, "", strings.ReplaceAll(production, "/atlas/v2/", "/atlas/v1.0/"))
	r.answers("GET", groupsV1+"/<GROUP>", "", 200, "", strings.ReplaceAll(production, "/atlas/v2/", "/atlas/v1.0/"))
	r.answers("GET", groupsV2+"?itemsPerPage=1", "", 200, "", `{"links":[{"href":"http://localhost:8080/api/atlas/v2/groups?includeCount=true&pageNum=1&itemsPerPage=1","rel":"self"},`+
		`{"href":"http://localhost:8080/api/atlas/v2/groups?includeCount=true&itemsPerPage=1&pageNum=2","rel":"next"}],"results":[`+production+`],"totalCount":2}`)
	check(t, "all in v1.0", r.results(groupsV1), []string{sim.GroupID, sim.EmptyGroupID})
	check(t, "a name with escapes", r.value(r.do("GET", groupsV2+"/byName/Fin+Ops%20%28EU%29", ""))["id"], any(sim.EmptyGroupID))

	for path, want := range map[string]string{
		groupsV2 + "/byName/Production": `404 "detail":"No group with name \"Production\" exists.","error":404,"errorCode":"GROUP_NAME_NOT_FOUND","parameters":["Production"]`,
		groupsV2 + "/" + unknown:        `404 "detail":"No group with ID ` + unknown + ` exists.","error":404,"errorCode":"GROUP_NOT_FOUND"`,
		groupsV2 + "/xyz":               `404 "detail":"An invalid group ID xyz was specified.","error":404,"errorCode":"INVALID_GROUP_ID"`,
		groupsV2 + "?pageNum=0":         `400 "detail":"Invalid query parameter pageNum specified."`,
	} {
		a := r.do("GET", path, "")
		if got := fmt.Sprint(a.status, " ", strings.TrimPrefix(a.body, "{")); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// A key sees the groups that it has access to. Requests that name no group are counted for the key.
func TestGroupsOfAKey(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.ReadOnlyPublicKey)
	check(t, "its groups", c.results(groupsV2), []string{sim.GroupID})
	check(t, "remaining", c.do("GET", groupsV2, "").header.Get("RateLimit-Remaining"), "1198")
	check(t, "remaining of the group", c.do("GET", groupsV2+"/"+sim.GroupID, "").header.Get("RateLimit-Remaining"), "1199")
	c.http.Transport = signing{t, sim.ReadOnlyPublicKey}
	for _, path := range []string{"/" + sim.EmptyGroupID, "/byName/sandbox"} {
		check(t, path, c.do("GET", groupsV2+path, "").header.Get("X-Error-Code"), "NOT_IN_GROUP")
	}
}

func TestClusterOperations(t *testing.T) {
	seed := sim.DefaultSeed()
	seed.Groups[0].Clusters[1].StateName = "UPDATING"
	_, r := newRecorded(t, sim.Config{Seed: seed})
	r.ids["CLUSTER"] = "http://localhost:8080/api/atlas/v2/groups/" + sim.GroupID + "/clusters/orders"
	r.answers("GET", v2+"/clusters/orders", "", 200, "", `{"clusterType":"REPLICASET","groupId":"<GROUP>","id":"64f0c2d1b3d4e5f607182940","links":[{"href":"<CLUSTER>","rel":"self"},`+
		`{"href":"<CLUSTER>/backup/restoreJobs","rel":"https://cloud.mongodb.com/restoreJobs"},{"href":"<CLUSTER>/backup/snapshots","rel":"https://cloud.mongodb.com/snapshots"}],"name":"orders","stateName":"IDLE"}`)
	r.answers("GET", v2+"/clusters/orders/status", "", 200, "", `{"changeStatus":"APPLIED","links":[{"href":"<CLUSTER>/status","rel":"self"}]}`)
	check(t, "while it is changed", r.value(r.do("GET", v2+"/clusters/events/status", ""))["changeStatus"], any("PENDING"))
	for date, want := range map[string]string{"2023-01-31": v20230101, "2023-02-01": "application/vnd.atlas.2023-02-01+json;charset=utf-8", "2025-03-12": v20240805} {
		a := r.do("GET", v2+"/clusters/orders", "", "Accept: "+vendor(date), "Use-Effective-Instance-Fields: true")
		check(t, date, []any{a.status, a.header.Get("Content-Type")}, []any{200, want})
	}
	for _, path := range []string{"/clusters/order", "/clusters/order/status"} {
		check(t, path, r.do("GET", v2+path, "").header.Get("X-Error-Code"), "CLUSTER_NOT_FOUND")
	}
}

// A role names the export buckets that are written with it. One of AWS that is not authorized has
// null in two places, as recorded.
func TestRolesOfProviders(t *testing.T) {
	_, r := newRecorded(t, sim.Config{})
	r.ids["BUCKET"] = r.bucket()
	r.ids["UNAUTHORIZED"], r.ids["GCP"], r.ids["AZURE"] = sim.UnauthorizedRole, sim.GCPRole, sim.AzureRole
	const (
		usage = `[{"featureId":{"exportBucketId":"<BUCKET>","groupId":"<GROUP>"},"featureType":"EXPORT_SNAPSHOT"}]`
		good  = `{"atlasAWSAccountArn":"arn:aws:iam::210987654321:root","atlasAssumedRoleExternalId":"9a93e2e8-0e1c-4f0a-8f9c-5b1f6d5e9c5b","authorizedDate":"2024-01-19T01:42:04Z","createdDate":"2024-01-19T01:40:04Z",` +
			`"featureUsages":` + usage + `,"iamAssumedRoleArn":"arn:aws:iam::123456789012:role/atlas-exports","providerName":"AWS","roleId":"<ROLE>"}`
	)
	one := r.value(r.do("GET", r.fill(v2+"/cloudProviderAccess/<ROLE>"), ""))
	id := one["atlasAssumedRoleExternalId"].(string)
	check(t, "the external id", len(id) == 36 && id[14] == '4' && id[8] == '-', true)
	r.answers("GET", v2+"/cloudProviderAccess/<ROLE>", "", 200, "", strings.Replace(good, "9a93e2e8-0e1c-4f0a-8f9c-5b1f6d5e9c5b", id, 1))
	bad := r.value(r.do("GET", r.fill(v1+"/cloudProviderAccess/<UNAUTHORIZED>"), ""))
	authorized, present := bad["authorizedDate"]
	check(t, "one that is not authorized", []any{authorized, present, bad["iamAssumedRoleArn"], bad["featureUsages"]}, []any{nil, true, nil, []any{}})
	azure := r.value(r.do("GET", r.fill(v2+"/cloudProviderAccess/<AZURE>"), ""))
	check(t, "Azure", []any{azure["_id"], azure["roleId"], azure["tenantId"], azure["providerName"], azure["lastUpdatedDate"] != nil}, []any{sim.AzureRole, nil, "8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a", "AZURE", true})
	gcp := r.value(r.do("GET", r.fill(v2+"/cloudProviderAccess/<GCP>"), ""))
	check(t, "Google Cloud", []any{gcp["roleId"], gcp["status"], gcp["providerName"]}, []any{sim.GCPRole, "COMPLETE", "GCP"})

	for _, generation := range []string{v1, v2} {
		list := r.value(r.do("GET", generation+"/cloudProviderAccess", ""))
		ids := map[string][]any{}
		for name, roles := range list {
			for _, role := range roles.([]any) {
				role := role.(map[string]any)
				id := role["roleId"]
				if id == nil {
					id = role["_id"]
				}
				ids[name] = append(ids[name], id)
			}
		}
		check(t, "all", ids, map[string][]any{"awsIamRoles": {sim.AWSRole, sim.UnassumableRole, sim.UnauthorizedRole}, "azureServicePrincipals": {sim.AzureRole}, "gcpServiceAccounts": {sim.GCPRole}})
	}
	none := r.do("GET", "/api/atlas/v2/groups/"+sim.EmptyGroupID+"/cloudProviderAccess", "")
	check(t, "none", none.body, `{"awsIamRoles":[],"azureServicePrincipals":[],"gcpServiceAccounts":[]}`)
	check(t, "unknown", r.do("GET", v2+"/cloudProviderAccess/"+unknown, "").status, 404)
}

// No cluster is flex. Clients ask for the flex API first, and go on after this answer.
func TestFlex(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	for _, path := range []string{"snapshots", "snapshots/" + unknown, "restoreJobs", "restoreJobs/" + unknown} {
		a := c.do("GET", v2+"/flexClusters/orders/backup/"+path, "")
		check(t, path, a.status, 400)
		check(t, path, a.body, `{"detail":"Cannot use non-flex cluster orders in the flex API.","error":400,"errorCode":"CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API","parameters":["orders"],"reason":"Bad Request"}`)
	}
	check(t, "a cluster that is not there", c.do("GET", v2+"/flexClusters/order/backup/snapshots", "").header.Get("X-Error-Code"), "CLUSTER_NOT_FOUND")
	check(t, "an older version", c.do("GET", v2+"/flexClusters/orders/backup/snapshots", "", "Accept: "+vendor("2024-05-30")).status, 406)
	check(t, "counts", atlas.Counts().ByOperation["listFlexBackups"], int64(4)) // with a challenge
}
