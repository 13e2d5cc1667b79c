package nearest_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"atlas-export-gateway/internal/nearest"
)

func TestName(t *testing.T) {
	candidates := []string{"snapshotId", "exportBucketId", "customData", "links", "seed", "speed"}
	for misspelt, want := range map[string]string{
		"snapshotID":                 "snapshotId",
		"SNAPSHOTID":                 "snapshotId",
		"snapshot":                   "snapshotId",
		"exportBuckedId":             "exportBucketId",
		"link":                       "links",
		"lniks":                      "links",
		"linsk":                      "links",
		"lnipq":                      "",
		"sped":                       "speed",
		"sed":                        "seed",
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

func TestFlagHint(t *testing.T) {
	flags := flag.NewFlagSet("a", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.String("caller", "", "")
	flags.Int("cluster", 0, "")
	for arguments, want := range map[string]string{
		"-caler=x":   "; did you mean -caller?",
		"--clustr":   "; did you mean -cluster?",
		"-zebra":     "",
		"-cluster=x": "",
		"-caller":    "",
	} {
		if got := nearest.FlagHint(flags, flags.Parse([]string{arguments})); got != want {
			t.Errorf("%s: %q, want %q", arguments, got, want)
		}
	}
}
