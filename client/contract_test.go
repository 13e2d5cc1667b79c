package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/contract"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"

	"github.com/google/go-cmp/cmp"
)

// compiled is the contract as the gateway reads it.
func compiled(t testing.TB) *contract.Contract {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errDry = errors.New("dry run")

// sent returns the request of a method of the client; nil if the client refuses to send it.
func sent(t *testing.T, call func(c *client.Client) error) *http.Request {
	t.Helper()
	var request *http.Request
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", BeforeSend: func(r *http.Request) error {
		request = r
		return errDry
	}})
	if err := call(c); !errors.Is(err, errDry) && !errors.Is(err, client.ErrInvalid) {
		t.Fatal(err)
	}
	return request
}

// Each method sends a request that the contract allows, in the operation's newest version;
// together they know every operation.
func TestRequestsAreOfTheContract(t *testing.T) {
	c := compiled(t)
	known := map[string]bool{}
	for _, m := range append(waits, methods...) {
		request := sent(t, func(c *client.Client) error { return m.call(t.Context(), c, group, nobody, nobody) })
		match, err := c.Match(request.Method, request.URL.RequestURI())
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		known[match.Operation.ID] = true
		version, err := match.Operation.Resolve(request.Header["Accept"])
		if err != nil || version != match.Operation.Versions[len(match.Operation.Versions)-1] {
			t.Errorf("%s: Accept %q: %v", m.name, request.Header["Accept"], err)
			continue
		}
		var body []byte
		if request.GetBody != nil {
			content, err := request.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(content); err != nil {
				t.Fatal(err)
			}
			if err := contract.CheckContentType(request.Header["Content-Type"]); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
		if _, err := match.Check(version, nil, body, 1000); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	for _, operation := range c.Operations() {
		if !known[operation.ID] {
			t.Errorf("no method sends %s", operation.ID)
		}
	}
}

// contractFields returns the fields that the contract finds invalid in the body of a POST, or
// of a PATCH of a schedule.
func contractFields(t *testing.T, c *contract.Contract, target, body string) []string {
	t.Helper()
	method := "POST"
	if target == schedulePath {
		method = "PATCH"
	}
	match, err := c.Match(method, target)
	if err != nil {
		t.Fatal(err)
	}
	_, err = match.Check(match.Operation.Versions[len(match.Operation.Versions)-1], nil, []byte(body), 1000)
	var invalid *contract.ValidationError
	var fields []string
	if errors.As(err, &invalid) {
		for _, violation := range invalid.Violations {
			fields = append(fields, violation.Field)
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields) // a value that is too short and of the wrong form is there twice
}

// clientFields returns the fields that the client finds invalid.
func clientFields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	if !errors.Is(err, client.ErrInvalid) {
		t.Fatal(err)
	}
	var fields []string
	for _, violation := range asError(t, err).Violations {
		fields = append(fields, violation.Field)
	}
	slices.Sort(fields)
	return fields
}

// object returns a JSON object of texts.
func object(t *testing.T, members ...string) string {
	t.Helper()
	object := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		object[members[i]] = members[i+1]
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

const (
	role        = "65a9d2f4f20b4c7788990001"
	bucketsPath = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"
	exportsPath = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"

	snapshotsPath = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/snapshots"
	schedulePath  = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/schedule"
)

// texts are values that a member or parameter may or may not have.
var texts = []string{
	role, role[:23], role + "0", strings.ToUpper(role), role[:23] + "g", role[:23] + "\n", strings.Repeat("٣", 24), strings.Repeat("٣", 12),
	"", "a", "ab", "abc", "-abc", "a_b", "a.b", "a/b", "..", "orders", "Orders-2", "orders\n", "órdenes",
	strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 65),
	strings.Repeat("😀", 1), strings.Repeat("😀", 2), strings.Repeat("😀", 31), strings.Repeat("😀", 32), strings.Repeat("é", 63), strings.Repeat("é", 64),
	"https://acmestore.blob.core.windows.net/snapshots", "https://a.blob.core.windows.net/b", "https://.blob.core.windows.net/ab", "https://a.blob.core.windows.net/",
	"http://acmestore.blob.core.windows.net/snapshots", "https://acmestore.blob.core.windows.net/a/b", "https://acmestore.blob.core.windows.net/$root",
	"https://acmestoreXblob.core.windows.net/snapshots", "https://a.blob.core.windows.net/" + strings.Repeat("a", 2016), "https://a.blob.core.windows.net/" + strings.Repeat("a", 2017),
}

// What the client finds invalid in a body is what the contract finds invalid, in the same places.
func TestValidate(t *testing.T) {
	c := compiled(t)
	equal := func(what, value string, target, body string, err error) {
		t.Helper()
		if diff := cmp.Diff(contractFields(t, c, target, body), clientFields(t, err)); diff != "" {
			t.Errorf("%s %q (-contract +client):\n%s", what, value, diff)
		}
	}
	for _, v := range texts {
		equal("snapshotId", v, exportsPath, object(t, "snapshotId", v, "exportBucketId", role), client.ExportRequest{SnapshotID: v, ExportBucketID: role}.Validate())
		equal("both ids", v, exportsPath, object(t, "snapshotId", v, "exportBucketId", v), client.ExportRequest{SnapshotID: v, ExportBucketID: v}.Validate())
		equal("AWS", v, bucketsPath, object(t, "cloudProvider", "AWS", "bucketName", v, "iamRoleId", v), client.AWSBucket{BucketName: v, IAMRoleID: v}.Validate())
		equal("GCP", v, bucketsPath, object(t, "cloudProvider", "GCP", "bucketName", v, "roleId", v), client.GCPBucket{BucketName: v, RoleID: v}.Validate())
		equal("Azure", v, bucketsPath, object(t, "cloudProvider", "AZURE", "serviceUrl", v, "roleId", v), client.AzureBucket{ServiceURL: v, RoleID: v}.Validate())
		if v != "" { // which means no name
			url := "https://acmestore.blob.core.windows.net/snapshots"
			equal("auto export", v, schedulePath, `{"export":`+object(t, "exportBucketId", v, "frequencyType", v)+`}`,
				client.BackupScheduleUpdate{Export: &client.AutoExport{ExportBucketID: v, FrequencyType: v}}.Validate())
			equal("Azure name", v, bucketsPath, object(t, "cloudProvider", "AZURE", "serviceUrl", url, "roleId", role, "bucketName", v), client.AzureBucket{ServiceURL: url, RoleID: role, BucketName: v}.Validate())
		}
		equal("description", v, snapshotsPath, object(t, "description", v), client.SnapshotRequest{Description: v}.Validate())
	}
	for _, frequency := range []string{"daily", "weekly", "monthly", "yearly", "hourly", "Daily"} {
		equal("frequency", frequency, schedulePath, `{"export":{"frequencyType":"`+frequency+`"}}`, client.BackupScheduleUpdate{Export: &client.AutoExport{FrequencyType: frequency}}.Validate())
	}
	equal("no change", "", schedulePath, `{}`, client.BackupScheduleUpdate{}.Validate())
	equal("no change of the export", "", schedulePath, `{"export":{}}`, client.BackupScheduleUpdate{Export: &client.AutoExport{}}.Validate())
	equal("retention", "-1", snapshotsPath, `{"retentionInDays":-1}`, client.SnapshotRequest{RetentionInDays: -1}.Validate())
	equal("retention", "1", snapshotsPath, `{"retentionInDays":1}`, client.SnapshotRequest{RetentionInDays: 1}.Validate())
}

// The client sends the path parameters that the contract allows, and no others.
func TestPathParameters(t *testing.T) {
	c := compiled(t)
	for _, v := range texts {
		for name, path := range map[string]struct {
			target string
			call   func(c *client.Client) error
		}{
			"groupId": {"/api/atlas/v2/groups/" + v + "/backup/exportBuckets", func(c *client.Client) error {
				return dropResult(c.ExportBucketsPage(t.Context(), v, client.ListOptions{}))
			}},
			"clusterName": {"/api/atlas/v2/groups/" + group + "/clusters/" + v + "/backup/exports", func(c *client.Client) error {
				return dropResult(c.ExportsPage(t.Context(), group, v, client.ListOptions{}))
			}},
			"exportId": {exportsPath + "/" + v, func(c *client.Client) error {
				return dropResult(c.GetExport(t.Context(), group, cluster, v))
			}},
			"snapshotId": {snapshotsPath + "/" + v, func(c *client.Client) error {
				return dropResult(c.GetSnapshot(t.Context(), group, cluster, v))
			}},
			"roleId": {"/api/atlas/v2/groups/" + group + "/cloudProviderAccess/" + v, func(c *client.Client) error {
				return dropResult(c.GetRole(t.Context(), group, v))
			}},
			"exportBucketId": {bucketsPath + "/" + v, func(c *client.Client) error {
				return dropResult(c.GetExportBucket(t.Context(), group, v))
			}},
		} {
			match, err := c.Match("GET", path.target)
			allowed := err == nil && strings.Contains(match.Operation.Path, "{"+name+"}")
			if allowed {
				_, err := match.Check(match.Operation.Versions[0], nil, nil, 1000)
				allowed = err == nil
			}
			request := sent(t, path.call)
			if (request != nil) != allowed {
				t.Errorf("%s %q: the contract says %v", name, v, allowed)
			}
		}
	}
}

// Which pages of a list can be asked for.
func TestListOptions(t *testing.T) {
	for o, allowed := range map[client.ListOptions]bool{
		{PageNum: -1}: false, {ItemsPerPage: -1}: false, {ItemsPerPage: 501}: false, {PageNum: -1, ItemsPerPage: 501}: false,
		{}: true, {PageNum: 1, ItemsPerPage: 1}: true, {PageNum: 7, ItemsPerPage: 500}: true,
	} {
		request := sent(t, func(c *client.Client) error { return dropResult(c.ExportsPage(t.Context(), group, cluster, o)) })
		if (request != nil) != allowed {
			t.Errorf("%+v: sent is %v", o, request != nil)
		}
	}
}

// What encoding/json would change without an error, and what has no form in the contract.
func TestInvalidRequests(t *testing.T) {
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1"})
	bad := "a\xffb"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"custom data": {client.ExportRequest{SnapshotID: role, ExportBucketID: role, CustomData: []client.CustomData{{}, {Key: bad, Value: bad}}}.Validate(),
			"client: not sent, since it breaks the contract: /customData/1/key is not valid UTF-8; /customData/1/value is not valid UTF-8"},
		"a bucket's name": {client.GCPBucket{BucketName: bad, RoleID: role}.Validate(),
			"client: not sent, since it breaks the contract: /bucketName is not valid UTF-8"},
		"no bucket": {dropResult(c.CreateExportBucket(t.Context(), group, nil)),
			"client: createExportBucket: not sent, since it breaks the contract: the body is required"},
		"private networking in v1.0": {dropResult(c.V1().CreateExportBucket(t.Context(), group, client.AWSBucket{BucketName: "abc", IAMRoleID: role, RequirePrivateNetworking: true})),
			"client: v1CreateExportBucket: not sent, since it breaks the contract: /requirePrivateNetworking is not known to v1.0"},
		"everything": {dropResult(c.V1().CreateExport(t.Context(), "a", "b!", client.ExportRequest{})),
			"client: v1CreateBackupExport: not sent, since it breaks the contract: groupId is not 24 hexadecimal digits in lower case; clusterName is not a cluster name: at most 64 letters, digits and hyphens, not a hyphen first; /snapshotId is required; /exportBucketId is required"},
		"a search": {dropResult(c.FindExport(t.Context(), group, cluster, "a", time.Time{})),
			"client: listBackupExports: not sent, since it breaks the contract: snapshotId is not 24 hexadecimal digits in lower case"},
	} {
		if test.err == nil || test.err.Error() != test.want || !errors.Is(test.err, client.ErrInvalid) {
			t.Errorf("%s: got  %v\nwant %s", name, test.err, test.want)
		}
	}
}

// The results have every member that an answer has in the contract, under the same name, except
// the links.
func TestResultsHaveEveryMember(t *testing.T) {
	members := func(types ...any) map[string]bool {
		names := map[string]bool{}
		for _, v := range types {
			for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
				if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "links" {
					names[name] = true
				}
			}
		}
		return names
	}
	for name, test := range map[string]struct {
		want, got map[string]bool
		other     []string // members that the client has under another name, or does not have
	}{
		"job":                 {members(gen.ExportJob{}, gen.V1ExportJob{}), members(client.ExportJob{}), []string{"errMsg"}},
		"bucket":              {members(gen.ExportBucket{}, gen.V1ExportBucket{}), members(client.ExportBucket{}), []string{"id"}},
		"status":              {members(gen.ExportStatus{}), members(client.ExportStatus{}), nil},
		"component":           {members(gen.ExportComponent{}), members(client.ExportComponent{}), nil},
		"reason":              {members(gen.StateReason{}), members(client.StateReason{}), nil},
		"pair":                {members(gen.CustomData{}), members(client.CustomData{}), nil},
		"snapshot":            {members(gen.Snapshot{}), members(client.Snapshot{}), nil},
		"member":              {members(gen.SnapshotMember{}), members(client.SnapshotMember{}), nil},
		"cluster":             {members(gen.Cluster{}), members(client.Cluster{}), nil},
		"status of a cluster": {members(gen.ClusterStatus{}), members(client.ClusterStatus{}), nil},
		"schedule":            {members(gen.BackupSchedule{}), members(client.BackupSchedule{}), []string{"policies", "copySettings", "referenceHourOfDay", "referenceMinuteOfHour", "restoreWindowDays"}},
		"auto export":         {members(gen.AutoExport{}), members(client.AutoExport{}), nil},
		"group":               {members(gen.Group{}), members(client.Group{}), nil},
		"tag":                 {members(gen.GroupTag{}), members(client.GroupTag{}), nil},
		"role":                {members(gen.CloudProviderAccessRole{}), members(client.Role{}), nil},
		"usage":               {members(gen.FeatureUsage{}), members(client.FeatureUsage{}), nil},
		"page":                {members(gen.ExportJobList{}, gen.ExportBucketList{}, gen.V1ExportJobList{}, gen.V1ExportBucketList{}, gen.SnapshotList{}, gen.ClusterList{}, gen.GroupList{}), members(client.Page[int]{}), nil},
	} {
		delete(test.got, "replayed") // the client's own
		for _, other := range test.other {
			delete(test.want, other)
		}
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-contract +client):\n%s", name, diff)
		}
	}
	// The states and providers that the contract names.
	if diff := cmp.Diff([]string{string(gen.ExportJobStateQueued), string(gen.ExportJobStateInProgress), string(gen.ExportJobStateSuccessful), string(gen.ExportJobStateFailed), string(gen.ExportJobStateCancelled),
		string(gen.CloudProviderAWS), string(gen.CloudProviderAZURE), string(gen.CloudProviderGCP)},
		[]string{string(client.Queued), string(client.InProgress), string(client.Successful), string(client.Failed), string(client.Cancelled), string(client.AWS), string(client.Azure), string(client.GCP)}); diff != "" {
		t.Error(diff)
	}
}

// Answers of either generation, and answers that are not what was asked for.
func TestAnswers(t *testing.T) {
	get := func(t *testing.T, body string, call func(*client.Client) (any, error)) (any, error) {
		return call(newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, body), nil
		})}))
	}
	job := func(c *client.Client) (any, error) { return c.GetExport(t.Context(), group, cluster, nobody) }
	bucket := func(c *client.Client) (any, error) { return c.GetExportBucket(t.Context(), group, nobody) }
	page := func(c *client.Client) (any, error) {
		return c.ExportsPage(t.Context(), group, cluster, client.ListOptions{})
	}
	for _, test := range []struct {
		body string
		call func(*client.Client) (any, error)
		want any
	}{
		{`{"id":"` + nobody + `","state":"Failed","errMsg":"no","replayed":true}`, job, &client.ExportJob{ID: nobody, State: client.Failed, StateReason: &client.StateReason{Message: "no"}}},
		{`{"id":"` + nobody + `","state":"Failed","errMsg":"no","stateReason":{"errorCode":"B"}}`, job, &client.ExportJob{ID: nobody, State: client.Failed, StateReason: &client.StateReason{ErrorCode: "B"}}},
		{`{"id":"` + nobody + `","state":"Later","unknown":[{}],"components":[],"customData":[{"key":"k"}],"createdAt":"2021-03-25T16:49:23Z"}`, job,
			&client.ExportJob{ID: nobody, State: "Later", Components: []client.ExportComponent{}, CustomData: []client.CustomData{{Key: "k"}}, CreatedAt: time.Date(2021, 3, 25, 16, 49, 23, 0, time.UTC)}},
		{`{"id":"6a01e0b45be2d84417c09f10","state":"Successful"}`, job, nil}, // another job
		{`{"_id":"a","id":"b","cloudProvider":"OCI"}`, bucket, &client.ExportBucket{ID: "a", CloudProvider: "OCI"}},
		{`{"id":"b","cloudProvider":"AWS","replayed":true}`, bucket, &client.ExportBucket{ID: "b", CloudProvider: client.AWS}},
		{`{"_id":"a","cloudProvider":"AWS","requirePrivateNetworking":false}`, bucket, &client.ExportBucket{ID: "a", CloudProvider: client.AWS, RequirePrivateNetworking: new(false)}},
		{`{"state":"Queued"}`, job, nil},
		{`{"id":"` + nobody + `"}`, job, nil},
		{`{"id":"` + nobody + `","state":"Queued","createdAt":"2021-03-25T16:49:23+0000"}`, job, nil},
		{`null`, job, nil},
		{`[]`, job, nil},
		{``, job, nil},
		{`<html></html>`, job, nil},
		{`{"id":"` + nobody + `","state":"Queued"}{}`, job, nil},
		{`{"cloudProvider":"AWS"}`, bucket, nil},
		{`{"_id":"a"}`, bucket, nil},
		{`null`, bucket, nil},
		{`{}`, page, nil},
		{`{"results":null}`, page, nil},
		{`{"results":[{}]}`, page, nil},
	} {
		got, err := get(t, test.body, test.call)
		if test.want == nil {
			if e := asError(t, err); e.Status != 200 || !reflect.ValueOf(got).IsNil() {
				t.Errorf("%s: %v %v", test.body, got, err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", test.body, err, diff)
		}
		// A result that is encoded can be read again.
		encoded, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := get(t, string(encoded), test.call)
		// An empty list is not encoded.
		if j, ok := test.want.(*client.ExportJob); ok && len(j.Components) == 0 {
			j.Components = nil
		}
		if diff := cmp.Diff(test.want, again); diff != "" || err != nil {
			t.Errorf("%s, written and read again: %v (-want +got):\n%s", test.body, err, diff)
		}
	}
}

// A list ends where there is no link to a next page, at the first error, and when the caller
// stops.
func TestListsEnd(t *testing.T) {
	pages := []string{
		`{"results":[{"_id":"a","cloudProvider":"AWS"},{"_id":"b","cloudProvider":"AWS"}],"links":[{"rel":"self"},{"rel":"next","href":"https://elsewhere.example.com/"}]}`,
		`{"results":[{"_id":"c","cloudProvider":"AWS"}],"links":[{"rel":"next"}]}`,
		`{"results":[],"links":[{"rel":"next"}]}`,
	}
	var asked []string
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host+"?"+r.URL.RawQuery)
		if len(asked) > len(pages) {
			return nil, errDry
		}
		return answer(r, 200, pages[len(asked)-1]), nil
	})})
	list := func(o client.ListOptions, enough int) (ids []string) {
		for bucket, err := range c.ListExportBuckets(t.Context(), group, o) {
			if err != nil {
				ids = append(ids, "error")
				continue // the sequence ends by itself
			}
			if ids = append(ids, bucket.ID); len(ids) == enough {
				break
			}
		}
		return ids
	}
	for _, test := range []struct {
		o          client.ListOptions
		enough     int
		ids, asked []string
	}{
		{client.ListOptions{}, 0, []string{"a", "b", "c", "error"}, []string{"127.0.0.1:1?pageNum=1&includeCount=false", "127.0.0.1:1?pageNum=2&includeCount=false", "127.0.0.1:1?pageNum=3&includeCount=false"}},
		{client.ListOptions{PageNum: 4, ItemsPerPage: 2}, 2, []string{"a", "b"}, []string{"127.0.0.1:1?pageNum=4&itemsPerPage=2&includeCount=false"}},
		{client.ListOptions{PageNum: 4}, 1, []string{"a"}, []string{"127.0.0.1:1?pageNum=4&includeCount=false"}},
	} {
		asked = nil
		if diff := cmp.Diff(test.ids, list(test.o, test.enough)); diff != "" {
			t.Errorf("%+v: ids (-want +got):\n%s", test.o, diff)
		}
		if diff := cmp.Diff(test.asked, asked); diff != "" {
			t.Errorf("%+v: asked (-want +got):\n%s", test.o, diff)
		}
	}
	asked, pages = nil, pages[:1]
	if diff := cmp.Diff([]string{"a", "b", "error"}, list(client.ListOptions{}, 0)); diff != "" {
		t.Errorf("with an error (-want +got):\n%s", diff)
	}
}
