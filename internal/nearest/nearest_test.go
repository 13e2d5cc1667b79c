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

func TestHint(t *testing.T) {
	keys := []string{"client_id_file", "listener", "public_key_env", "public_key_file"}
	for misspelt, want := range map[string]string{
		"lisener":        "; did you mean listener?",
		"public_key":     "; did you mean public_key_env or public_key_file?",
		"public_key_fil": "; did you mean public_key_file?",
		"private":        "",
		"":               "",
		"\ufefflistener": "; did you mean listener without U+FEFF (byte order mark)?",
		"lis\u200btenr":  "; did you mean listener without U+200B (zero width space)?",
		"\u200bzebra":    "",
	} {
		if got := nearest.Hint(misspelt, keys); got != want {
			t.Errorf("Hint(%+q) = %q, want %q", misspelt, got, want)
		}
	}
}
