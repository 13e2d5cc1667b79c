package unserved_test

import (
	"os"
	"strings"
	"testing"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/unserved"

	"github.com/google/go-cmp/cmp"
)

const (
	id    = "64f0c1a2b3d4e5f607182930"
	group = "/api/atlas/v2/groups/" + id
)

// A path has the words of the documented path that it is one of, and placeholders for all else.
func TestLookup(t *testing.T) {
	const template = "/api/atlas/v2/groups/{groupId}"
	for path, want := range map[string]unserved.Path{
		"/api/atlas/v2":                 {Template: "/api/atlas/v2"},
		"/api/atlas/v2/groups":          {Template: "/api/atlas/v2/groups", Documented: true},
		group:                           {Template: template, Documented: true, Group: id},
		group + "/":                     {Template: template, Documented: true, Group: id},
		group + "/databaseUsers":        {Template: template + "/databaseUsers", Documented: true, Group: id},
		group + "/databaseUsers/db/app": {Template: template + "/databaseUsers/{databaseName}/{username}", Documented: true, Group: id},
		group + "/databaseUsers/a/certs": {
			Template: template + "/databaseUsers/{username}/certs", Documented: true, Group: id,
		},
		strings.Replace(group, "v2", "v1.0", 1) + "/peers": {Template: "/api/atlas/v1.0/groups/{groupId}/peers", Documented: true, Group: id},
		strings.Replace(group, "v2", "v1.5", 1) + "/peers": {Template: "/api/atlas/v1.5/groups/{groupId}/peers", Documented: true, Group: id},
		group + "/clusters/groups":                         {Template: template + "/clusters/{clusterName}", Documented: true, Group: id},
		group + "/clusters/c4na7y/backup":                  {Template: template + "/clusters/{clusterName}/backup", Group: id},
		group + "/clusters/c4na7y/c4na7y":                  {Template: template + "/clusters/{clusterName}/*", Group: id},
		group + "/c4na7y/c4na7y":                           {Template: template + "/*", Group: id},
		group + "/databaseUsers/db/app/c4na7y":             {Template: template + "/databaseUsers/{databaseName}/{username}/*", Group: id},
		"/api/atlas/v2/groups/byName/acme":                 {Template: "/api/atlas/v2/groups/byName/{groupName}", Documented: true},
		group + "/flexClusters/flexible":                   {Template: template + "/flexClusters/{name}", Documented: true, Group: id, Name: "flexible"},
		"/api/atlas":                                       {Template: "/api/atlas"},
		"/api/atlas/v3/groups":                             {Template: "/api/atlas/*"},
		"/api/atlas/c4na7y":                                {Template: "/api/atlas/*"},
		"/api/private/unauth/account/device/authorize":     {Template: "/api/private/unauth/account/device/authorize", Documented: true},
		"/api/private/c4na7y":                              {Template: "/api/private/*"},
		"/api/oauth/token":                                 {Template: "/api/oauth/token", Documented: true},
		"/api/atlasc4na7y":                                 {Template: "other"},
		"/c4na7y" + group:                                  {Template: "other"},
		"/":                                                {Template: "other"},
	} {
		if diff := cmp.Diff(want, unserved.Lookup(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// Each documented path is found as it is documented.
func TestLookupFindsAll(t *testing.T) {
	text, err := os.ReadFile("paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		path := "/api/atlas/v2/" + strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		found++
		if got := unserved.Lookup(path); got.Template != path || !got.Documented {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if found < 200 {
		t.Errorf("%d paths", found)
	}
}

// The paths that are served are among the documented ones, so that a method that they lack is named
// with them.
func TestServedPathsAreDocumented(t *testing.T) {
	rules, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range rules.Operations() {
		path := strings.TrimSuffix(o.Path, "/")
		if got := unserved.Lookup(o.Path); got.Template != path || !got.Documented {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// Only what is below one flex cluster is told from the rest.
func TestFlex(t *testing.T) {
	for path, want := range map[string][2]bool{ // of the cluster itself, of its backups
		group + "/flexClusters":                                   {},
		group + "/flexClusters/a":                                 {true, false},
		group + "/flexClusters/a/backup":                          {false, true},
		group + "/flexClusters/a/backup/snapshots":                {false, true},
		group + "/flexClusters/a/backup/snapshots/" + id:          {false, true},
		group + "/flexClusters/a/backup/restoreJobs":              {false, true},
		group + "/flexClusters/a/backup/x/y":                      {false, true},
		group + "/flexClusters/a/x":                               {},
		group + "/clusters/a/backup/snapshots":                    {},
		"/api/atlas/v1.0/groups/" + id + "/flexClusters/a/backup": {},
	} {
		p := unserved.Lookup(path)
		if got := [2]bool{p.FlexCluster(), p.FlexBackup()}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// Whatever the path, the Template has no word of it that is not documented.
func FuzzLookup(f *testing.F) {
	for _, path := range []string{group, group + "/flexClusters/a/backup/x", "/", "//", "/api/atlas/v2/groups//", "/api/atlas/v1.0/{groupId}/*", "/api/private/", "api"} {
		f.Add(path)
	}
	text, err := os.ReadFile("paths.txt")
	if err != nil {
		f.Fatal(err)
	}
	words := map[string]bool{"": true, "*": true, "api": true, "atlas": true, "v2": true, "v1.0": true, "v1.5": true, "private": true, "unauth": true,
		"account": true, "device": true, "authorize": true, "registration": true, "revoke": true, "token": true, "oauth": true, "other": true}
	for word := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == '/' || r == '\n' }) {
		words[word] = true
	}
	f.Fuzz(func(t *testing.T, path string) {
		template := unserved.Lookup(path).Template
		for word := range strings.SplitSeq(template, "/") {
			if !words[word] {
				t.Errorf("%q: %q", path, template)
			}
		}
		if len(template) > 300 {
			t.Errorf("%q: %d bytes", path, len(template))
		}
	})
}
