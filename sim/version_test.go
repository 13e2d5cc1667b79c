package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

func vendor(date string) string { return "application/vnd.atlas." + date + "+json" }

func TestVersions(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	for _, test := range []struct {
		path, accept string
		status       int
		resolved     string
	}{
		{buckets, vendor("2022-12-31"), 406, ""},
		{buckets, vendor("2023-01-01"), 200, "2023-01-01"},
		{buckets, vendor("2024-05-29"), 200, "2023-01-01"},
		{buckets, vendor("2024-05-30"), 200, "2024-05-30"},
		{buckets, vendor("2025-03-12"), 200, "2024-05-30"},
		{buckets, vendor("2999-12-31"), 200, "2024-05-30"},
		{orders, vendor("2022-12-31"), 406, ""},
		{orders, vendor("2023-01-01"), 200, "2023-01-01"},
		{orders, vendor("2024-05-30"), 200, "2023-01-01"},
		{clusters, vendor("2022-12-31"), 406, ""},
		{clusters, vendor("2023-01-31"), 200, "2023-01-01"},
		{clusters, vendor("2024-08-04"), 200, "2023-02-01"},
		{clusters, vendor("2024-08-05"), 200, "2024-08-05"},
		{schedule, vendor("2022-12-31"), 406, ""},
		{schedule, vendor("2024-08-04"), 200, "2023-01-01"},
		{schedule, vendor("2025-03-12"), 200, "2024-08-05"},
		{snapshots, vendor("2022-12-31"), 406, ""},
		{snapshots, vendor("2025-03-12"), 200, "2023-01-01"},
		{shardedList, vendor("2025-03-12"), 200, "2023-01-01"},
		{"/cloudProviderAccess", vendor("2025-03-12"), 200, "2023-01-01"},
		{"", vendor("2025-03-12"), 200, "2023-01-01"},
		{"/clusters/orders", vendor("2023-01-31"), 200, "2023-01-01"},
		{"/clusters/orders/status", vendor("2025-03-12"), 200, "2023-01-01"},
		{buckets, "", 406, ""},
		{buckets, "*/*", 406, ""},
		{buckets, "application/json", 406, ""},
		{buckets, vendor("preview"), 406, ""},
		{buckets, vendor("2024-05-30.upcoming"), 406, ""},
		{buckets, vendor("2024-13-45"), 406, ""},
		{buckets, "application/vnd.atlas.2024-05-30+xml", 406, ""},
		{buckets, "application/json, " + vendor("2024-05-30") + ";q=0.9", 200, "2024-05-30"},
		{buckets, "Application/Vnd.Atlas.2024-05-30+JSON", 200, "2024-05-30"},
	} {
		t.Run(test.path+" "+test.accept, func(t *testing.T) {
			a := c.do("GET", v2+test.path, "", "Accept: "+test.accept)
			check(t, "status", a.status, test.status)
			if test.status == 406 {
				check(t, "body", a.body, `{"detail":"Invalid accept header or version date.","error":406,"errorCode":"INVALID_VERSION_DATE","parameters":[],"reason":"Not Acceptable"}`)
				check(t, "type", a.header.Get("Content-Type"), "application/json")
				return
			}
			check(t, "type", a.header.Get("Content-Type"), vendor(test.resolved)+";charset=utf-8")
			deprecation, sunset := "", ""
			if test.resolved < "2024" && test.accept != vendor("2025-03-12") && test.path != orders {
				deprecation, sunset = "Mon, 5 Aug 2024 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT"
			}
			check(t, "Deprecation", a.header.Get("Deprecation"), deprecation)
			check(t, "Sunset", a.header.Get("Sunset"), sunset)
		})
	}
	t.Run("v1.0 has none", func(t *testing.T) {
		a := c.do("GET", v1+buckets, "", "Accept: text/html")
		check(t, "status", a.status, 200)
		check(t, "type", a.header.Get("Content-Type"), "application/json")
	})
	t.Run("an operation without the version", func(t *testing.T) {
		id := c.bucket()
		a := c.do("PATCH", v2+buckets+"/"+id, `{"requirePrivateNetworking":true}`, "Accept: "+vendor("2023-01-01"))
		check(t, "status", a.status, 406)
	})
}

// The older version of the buckets knows only AWS.
func TestLegacyBuckets(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	legacy := "Accept: " + vendor("2023-01-01")
	gcp := c.value(c.do("POST", v2+buckets, `{"cloudProvider":"GCP","bucketName":"acme-gcp","roleId":"`+sim.AWSRole+`"}`))["_id"].(string)
	aws := c.value(c.do("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+sim.AWSRole+`","requirePrivateNetworking":true}`))["_id"].(string)

	list := c.value(c.do("GET", v2+buckets, "", legacy))
	check(t, "list", list["results"], any([]any{map[string]any{"_id": aws, "cloudProvider": "AWS", "bucketName": "acme", "iamRoleId": sim.AWSRole}}))
	check(t, "get AWS", c.value(c.do("GET", v2+buckets+"/"+aws, "", legacy))["requirePrivateNetworking"], any(nil))
	check(t, "count", list["totalCount"], any(1.0))
	check(t, "get", c.do("GET", v2+buckets+"/"+gcp, "", legacy).status, 404)
	check(t, "v1 get", c.do("GET", v1+buckets+"/"+gcp, "").status, 404)
	check(t, "create", c.do("POST", v2+buckets, `{"cloudProvider":"GCP","bucketName":"acme-gcp","roleId":"`+sim.AWSRole+`"}`, legacy).header.Get("X-Error-Code"), "INVALID_ENUM_VALUE")
	check(t, "create with networking", c.do("POST", v2+buckets,
		`{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+sim.AWSRole+`","requirePrivateNetworking":true}`, legacy).header.Get("X-Error-Code"), "INVALID_ATTRIBUTE")
	check(t, "delete, which has no other version", c.do("DELETE", v2+buckets+"/"+gcp, "").status, 204)
}

func TestRemovedVersions(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{Removed: map[string][]string{"listExportBuckets": {"2023-01-01"}}, HonourSunset: true}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	gone := func(path string) string {
		return fmt.Sprintf(`{"detail":"Version 2023-01-01 of %s is no longer available.","error":410,"errorCode":"VERSION_GONE","parameters":[],"reason":"Gone"}`, path)
	}
	a := c.do("GET", v2+buckets, "", "Accept: "+vendor("2023-01-01"))
	check(t, "status", a.status, 410)
	check(t, "body", a.body, gone("/api/atlas/v2/groups/{groupId}/backup/exportBuckets"))
	check(t, "the newer version", c.do("GET", v2+buckets, "").status, 200)

	get := func() int { return c.do("GET", v2+buckets+"/"+sim.GroupID, "", "Accept: "+vendor("2023-01-01")).status }
	check(t, "before its sunset", get(), 404)
	atlas.Advance(time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC).Sub(now) - time.Nanosecond)
	check(t, "the last moment", get(), 404)
	atlas.Advance(time.Nanosecond)
	check(t, "at its sunset", get(), 410)
	check(t, "a version that has none", c.do("GET", v2+orders, "", "Accept: "+vendor("2023-01-01")).status, 200)
}

func TestContentTypes(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	body := `{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"` + sim.AWSRole + `"}`
	for contentType, status := range map[string]int{
		"application/json":                     200,
		"application/json; charset=utf-8":      200,
		vendor("2023-01-01"):                   200,
		strings.ToUpper(vendor("2025-03-12")):  200,
		"application/x-www-form-urlencoded":    415,
		"text/plain":                           415,
		"application/vnd.atlas.2025-03-12+xml": 415,
		"application/json; charset=":           415,
	} {
		check(t, contentType, c.do("POST", v2+buckets, body, "Content-Type: "+contentType).status, status)
	}
	check(t, "none", c.do("POST", v2+buckets, body, "Content-Type: ").status, 415)
}
