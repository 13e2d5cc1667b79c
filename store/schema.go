package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// dialect is what the two databases write differently.
type dialect struct {
	name  string
	now   string // milliseconds since 1970, by the clock of the database
	bytes string // the type of octets
	// shared says that several processes may have the database at once.
	shared bool
	// lockSchema keeps other processes from changing the schema until the transaction ends; empty
	// where no other process can have the database.
	lockSchema string
}

// schema is what each version of the schema adds to the one before, from version 1 on. A version
// that was released is never changed.
var schema = []string{
	`CREATE TABLE atlas_gateway_creates (
		key        TEXT PRIMARY KEY,
		id         TEXT NOT NULL UNIQUE,
		kind       TEXT NOT NULL,
		request    TEXT NOT NULL,
		shape      TEXT NOT NULL,
		caller     TEXT NOT NULL,
		request_id TEXT NOT NULL,
		group_id   TEXT NOT NULL,
		cluster    TEXT NOT NULL,
		subject    TEXT NOT NULL,
		bucket     TEXT NOT NULL,
		state      TEXT NOT NULL CHECK (state IN ('sent', 'unknown', 'answered')),
		owner      TEXT NOT NULL,
		sent_at    BIGINT NOT NULL,
		changed_at BIGINT NOT NULL,
		expires_at BIGINT NOT NULL,
		result     TEXT,
		status     BIGINT NOT NULL,
		media_type TEXT NOT NULL,
		body       BYTES,
		note       TEXT NOT NULL
	);
	CREATE UNIQUE INDEX atlas_gateway_creates_result ON atlas_gateway_creates (kind, result) WHERE result IS NOT NULL;
	CREATE INDEX atlas_gateway_creates_open ON atlas_gateway_creates (caller) WHERE state <> 'answered';
	CREATE INDEX atlas_gateway_creates_owner ON atlas_gateway_creates (owner) WHERE state <> 'answered';
	CREATE INDEX atlas_gateway_creates_expiry ON atlas_gateway_creates (expires_at) WHERE state = 'answered';
	CREATE INDEX atlas_gateway_creates_changed ON atlas_gateway_creates (changed_at);
	CREATE TABLE atlas_gateway_owners (
		owner    TEXT PRIMARY KEY,
		lease_at BIGINT NOT NULL
	);`,
	`ALTER TABLE atlas_gateway_creates ADD COLUMN atlas_at BIGINT NOT NULL DEFAULT 0;
	CREATE INDEX atlas_gateway_creates_shape ON atlas_gateway_creates (kind, shape) WHERE state <> 'answered';`,
	`CREATE TABLE atlas_gateway_revocations (
		token      TEXT PRIMARY KEY,
		issued_at  BIGINT NOT NULL,
		expires_at BIGINT NOT NULL,
		revoked_at BIGINT NOT NULL
	);
	CREATE INDEX atlas_gateway_revocations_revoked ON atlas_gateway_revocations (revoked_at);
	CREATE INDEX atlas_gateway_revocations_expiry ON atlas_gateway_revocations (expires_at);`,
	`CREATE TABLE atlas_gateway_key_uses (
		caller   TEXT NOT NULL,
		form     TEXT NOT NULL,
		key      TEXT NOT NULL,
		since_at BIGINT NOT NULL,
		used_at  BIGINT NOT NULL,
		noted_at BIGINT NOT NULL,
		PRIMARY KEY (caller, form, key)
	);`,
}

// migrate brings the schema to the newest version, in one transaction.
func (s *Store) migrate(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if s.dialect.lockSchema != "" {
		if _, err := tx.ExecContext(ctx, s.dialect.lockSchema); err != nil {
			return fmt.Errorf("waiting for others that change the schema: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS atlas_gateway_schema (version BIGINT PRIMARY KEY)`); err != nil {
		return err
	}
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM atlas_gateway_schema`).Scan(&version); err != nil {
		return err
	}
	if version > len(schema) {
		return fmt.Errorf("its schema has version %d, of a later release: this one knows versions up to %d; run the later release, or give this one a journal of its own", version, len(schema))
	}
	for ; version < len(schema); version++ {
		statements := strings.ReplaceAll(schema[version], "BYTES", s.dialect.bytes)
		for _, statement := range strings.Split(statements, ";") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("upgrading the schema to version %d: %w", version+1, err)
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO atlas_gateway_schema (version) VALUES ($1)`, version+1); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// inTransaction runs do in a transaction, and commits it unless do fails.
func inTransaction(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // gives it back
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// SQLite leaves a transaction open that it could not commit, such as on a full disk, and
		// database/sql takes it for ended. Where it has ended, there is nothing to roll back.
		conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
		return err
	}
	return nil
}
