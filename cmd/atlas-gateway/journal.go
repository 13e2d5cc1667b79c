package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/store"
)

// journalTime bounds how long the start waits for the journal.
const journalTime = 30 * time.Second

// errNoPlace says that nothing says where the journal belongs.
var errNoPlace = errors.New("atlas-gateway: creates.file is required: neither STATE_DIRECTORY nor HOME says where the journal of creates belongs; creates.journal: off goes without one")

// openJournal opens the journal of creates; nil where the configuration goes without one.
func openJournal(ctx context.Context, parts *config.Parts, log *slog.Logger) (*store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, journalTime)
	defer cancel()
	switch journal := parts.Journal; {
	case journal.File != "":
		s, err := store.OpenFile(ctx, journal.File)
		if err != nil {
			return nil, fmt.Errorf("atlas-gateway: creates.file: %w; creates.file names another place, and creates.journal: off goes without a journal", err)
		}
		return s, nil
	case !journal.Postgres.IsZero():
		s, err := store.OpenPostgres(ctx, journal.Postgres.Reveal())
		if err != nil {
			return nil, fmt.Errorf("atlas-gateway: creates.journal: %w", err)
		}
		if unsafe, err := s.Unsafe(ctx); err == nil && unsafe != "" {
			log.Warn("journal", "warning", unsafe)
		}
		return s, nil
	case parts.Config.Creates.Journal == "file":
		return nil, errNoPlace
	}
	log.Warn("creates.journal is off: a request that is repeated may create something twice")
	return nil, nil
}
