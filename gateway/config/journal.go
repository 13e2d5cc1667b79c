package config

import (
	"path/filepath"
	"strings"

	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// Journal is where creates are recorded: one of its members is set, or none where creates.journal is
// off.
type Journal struct {
	// File is the path of the journal's file. It is also empty where creates.journal is file and
	// neither creates.file nor the environment says where the file belongs: a program refuses that,
	// a Go program opens a journal of its own.
	File string
	// Postgres is the connection string of the database, which may hold a password.
	Postgres secret.Secret
}

// creates finds where the journal is. It opens nothing.
func (b *builder) creates(c Creates) {
	b.oneOf(c.Journal, "creates.journal", "file", "postgres", "off")
	b.oneOf(c.Keys, "creates.keys", "derived", "explicit", "required")
	if c.Journal == "off" && c.Keys == "required" {
		b.refuse("creates.keys", "required needs a journal: without one, no key is read")
	}
	if c.Journal != "file" && c.File != "" {
		b.refuse("creates.file", "is only for creates.journal: file")
	}
	for path, value := range map[string]string{"creates.postgres_url_file": c.PostgresURLFile, "creates.postgres_url_env": c.PostgresURLEnv} {
		if c.Journal != "postgres" && value != "" {
			b.refuse(path, "is only for creates.journal: postgres")
		}
	}
	switch c.Journal {
	case "file":
		b.journalFile(c)
	case "postgres":
		b.journalURL(c)
	}
}

// journalFile finds the file, where the configuration or the environment says.
func (b *builder) journalFile(c Creates) {
	state, _, _ := strings.Cut(b.getenv("STATE_DIRECTORY"), ":") // systemd may name several
	home := b.getenv("HOME")
	switch {
	case c.File != "":
		b.parts.Journal.File = c.File
	case state != "":
		b.parts.Journal.File = filepath.Join(state, "creates.db")
	case filepath.IsAbs(b.getenv("XDG_STATE_HOME")):
		b.parts.Journal.File = filepath.Join(b.getenv("XDG_STATE_HOME"), "atlas-gateway", "creates.db")
	case filepath.IsAbs(home):
		b.parts.Journal.File = filepath.Join(home, ".local", "state", "atlas-gateway", "creates.db")
	}
}

// journalURL reads the connection string.
func (b *builder) journalURL(c Creates) {
	switch {
	case (c.PostgresURLFile == "") == (c.PostgresURLEnv == ""):
		b.refuse("creates.postgres_url_file", "or postgres_url_env, one of the two, is required with creates.journal: postgres")
	case c.PostgresURLEnv != "":
		if value := strings.TrimSpace(b.getenv(c.PostgresURLEnv)); value != "" {
			b.parts.Journal.Postgres = secret.New(value)
		} else {
			b.refuse("creates.postgres_url_env", "the variable %s is not set", c.PostgresURLEnv)
		}
	default:
		data, err := smallfile.Read(c.PostgresURLFile, maxKey)
		if err != nil {
			b.refuse("creates.postgres_url_file", "%w", smallfile.WithoutName(err))
			return
		}
		value := strings.TrimSpace(string(data))
		if value == "" {
			b.refuse("creates.postgres_url_file", "is empty; expected a connection string")
			return
		}
		b.parts.Journal.Postgres = secret.New(value)
		b.warnOfMode("creates.postgres_url_file", c.PostgresURLFile)
	}
}
