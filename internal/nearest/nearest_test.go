package nearest_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/nearest"
)

func TestName(t *testing.T) {
	candidates := []string{"snapshotId", "exportBucketId", "customData", "links"}
	for misspelt, want := range map[string]string{
		"snapshotID":                 "snapshotId",
		"SNAPSHOTID":                 "snapshotId",
		"snapshot":                   "snapshotId",
		"exportBuckedId":             "exportBucketId",
		"link":                       "links",
		"lniks":                      "links",
		"linsk":                      "links",
		"lnipq":                      "",
		"custom_data":                "customData",
		"zebra":                      "",
		"":                           "",
		strings.Repeat("links", 100): "",
	} {
		if got := nearest.Name(misspelt, candidates); got != want {
			t.Errorf("Name(%.20q) = %q, want %q", misspelt, got, want)
		}
	}
}
