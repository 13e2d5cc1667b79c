package main

import (
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

// An error about a value says where the value comes from: the flag, or else the variable or the
// profile.
func TestErrorsNameTheSource(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, "profiles:\n  staging:\n    group: 64F0C1A2B3D4E5F607182930\n    cluster: -orders\n")
	const group, cluster = ": has letters in upper case; write them in lower case\n", ": is not a cluster name: at most 64 letters, digits and hyphens, not a hyphen first\n"
	for _, test := range []struct{ args, env, want string }{
		{"--group 64F0C1A2B3D4E5F607182930 --cluster orders", "", "  groupId, --group" + group},
		{"--cluster orders", "MONGODB_ATLAS_PROJECT_ID=64F0C1A2B3D4E5F607182930", "  groupId, from environment MONGODB_ATLAS_PROJECT_ID" + group},
		{"--cluster orders", "ATLAS_EXPORT_GROUP=64F0C1A2B3D4E5F607182930", "  groupId, from environment ATLAS_EXPORT_GROUP" + group},
		{"--group " + sim.GroupID, "ATLAS_EXPORT_CLUSTER=-orders", "  clusterName, from environment ATLAS_EXPORT_CLUSTER" + cluster},
		{"--profile staging", "", "  groupId, from profile staging" + group + "  clusterName, from profile staging" + cluster},
		{"--profile staging --group 64F0C1A2B3D4E5F607182930", "", "  groupId, --group" + group + "  clusterName, from profile staging" + cluster},
		{"--profile staging", "MONGODB_ATLAS_PROJECT_ID=64F0C1A2B3D4E5F607182930", "  groupId, from environment MONGODB_ATLAS_PROJECT_ID" + group + "  clusterName, from profile staging" + cluster},
	} {
		var stdout, stderr strings.Builder
		env := []string{"ATLAS_EXPORT_CONFIG=" + file, "MONGODB_ATLAS_ACCESS_TOKEN=c4na7y", test.env}
		status := run(t.Context(), append(strings.Fields("exports list"), strings.Fields(test.args)...), env, nil, &stdout, &stderr)
		if _, got, _ := strings.Cut(stderr.String(), "\n"); status != exitInvalid || got != test.want {
			t.Errorf("%s, %s: exit status %d, %s", test.args, test.env, status, &stderr)
		}
	}
}

// Where no credential is set, a 401 has another hint than where one is refused.
func TestHintWithoutCredential(t *testing.T) {
	const ways = "set MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET, " +
		"or MONGODB_ATLAS_ACCESS_TOKEN; atlas-export help settings lists other ways\n"
	w := direct(t, sim.Config{})
	for name, test := range map[string]struct {
		key  key
		args string
		want string
	}{
		"none":            {key{}, "", "\nhint: no credential is set; " + ways},
		"none, for Atlas": {key{}, "--base-url https://cloud.mongodb.com", "\nhint: " + ways},
		"one":             {key{w.owner.public, "c4na7y"}, "", "\nhint: atlas-export config show says which credential is used, and where it comes from\n"},
	} {
		got := w.run(t, test.key, append(strings.Fields("buckets list"), strings.Fields(test.args)...)...)
		if got.Status != exitUnauthorized || !strings.HasSuffix(got.Stderr, test.want) {
			t.Errorf("%s: exit status %d: %s", name, got.Status, got.Stderr)
		}
	}
}
