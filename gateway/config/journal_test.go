package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// The journal is where the configuration says, or else where the environment says that state belongs.
func TestJournal(t *testing.T) {
	connection := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "url"), "postgres://gateway:c4na7y@db/journal\n")
	if err := os.Chmod(connection, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "empty"), "\n")
	for name, test := range map[string]struct {
		creates, environ string
		file, postgres   string
		refused          string
	}{
		"named":                {creates: "{file: /srv/creates.db}", environ: "STATE_DIRECTORY=/var/lib/x", file: "/srv/creates.db"},
		"by systemd":           {environ: "STATE_DIRECTORY=/var/lib/x HOME=/root", file: "/var/lib/x/creates.db"},
		"several of systemd's": {environ: "STATE_DIRECTORY=/var/lib/x:/var/lib/y", file: "/var/lib/x/creates.db"},
		"by XDG":               {environ: "XDG_STATE_HOME=/home/a/state HOME=/home/a", file: "/home/a/state/atlas-gateway/creates.db"},
		"XDG, not absolute":    {environ: "XDG_STATE_HOME=state HOME=/home/a", file: "/home/a/.local/state/atlas-gateway/creates.db"},
		"home":                 {environ: "HOME=/home/a", file: "/home/a/.local/state/atlas-gateway/creates.db"},
		"nowhere":              {environ: "HOME="},
		"off":                  {creates: "{journal: off}", environ: "HOME=/home/a"},
		"a file with a URL":    {creates: "{journal: postgres, postgres_url_file: " + connection + "}", environ: "HOME=/home/a", postgres: "postgres://gateway:c4na7y@db/journal"},
		"a variable":           {creates: "{journal: postgres, postgres_url_env: JOURNAL_URL}", environ: "JOURNAL_URL=host=db", postgres: "host=db"},

		"another word":        {creates: "{journal: redis}", refused: `creates.journal: is "redis"; expected one of file, postgres, off`},
		"another key":         {creates: "{keys: all}", refused: `creates.keys: is "all"; expected one of derived, explicit, required`},
		"no URL":              {creates: "{journal: postgres}", refused: "creates.postgres_url_file: or postgres_url_env, one of the two, is required with creates.journal: postgres"},
		"two URLs":            {creates: "{journal: postgres, postgres_url_file: a, postgres_url_env: B}", refused: "one of the two, is required"},
		"no variable":         {creates: "{journal: postgres, postgres_url_env: MISSING}", refused: "creates.postgres_url_env: the variable MISSING is not set"},
		"no file":             {creates: "{journal: postgres, postgres_url_file: /missing}", refused: "creates.postgres_url_file: "},
		"an empty file":       {creates: "{journal: postgres, postgres_url_file: " + empty + "}", refused: "creates.postgres_url_file: "},
		"an empty variable":   {creates: "{journal: postgres, postgres_url_env: BLANK}", environ: "BLANK=", refused: "creates.postgres_url_env: "},
		"keys without use":    {creates: "{journal: off, keys: required}", refused: "creates.keys: required needs a journal"},
		"a URL without use":   {creates: "{postgres_url_env: B}", refused: "creates.postgres_url_env: is only for creates.journal: postgres"},
		"a file without use":  {creates: "{journal: off, file: /srv/creates.db}", refused: "creates.file: is only for creates.journal: file"},
		"a misspelt variable": {creates: "{jurnal: off}", refused: "did you mean journal?"},
	} {
		t.Run(name, func(t *testing.T) {
			text := goodFile
			if test.creates != "" {
				text += "creates: " + test.creates + "\n"
			}
			parts, err := config.Load(gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), text), append([]string{"PUBLIC=a", "PRIVATE=b"}, strings.Fields(test.environ)...))
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(err.Error(), "c4na7y") {
					t.Fatalf("%v, want %s", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if parts.Journal.File != test.file || parts.Journal.Postgres.Reveal() != test.postgres {
				t.Errorf("%q, %v", parts.Journal.File, parts.Journal.Postgres)
			}
		})
	}
}
