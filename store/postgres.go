package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is the dialect of PostgreSQL.
var postgres = dialect{
	name:       "postgres",
	now:        `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`,
	bytes:      `BYTEA`,
	shared:     true,
	lockSchema: `SELECT pg_advisory_xact_lock(7022870218310527)`,
}

// maxConnections bounds the connections of one gateway to PostgreSQL.
const maxConnections = 16

// OpenPostgres opens the journal in a database of PostgreSQL 13 or later, which several gateways may
// share. The connection string is a URL or keywords and values, as libpq takes them; TLS is as its
// sslmode says. Committed means committed to stable storage, whatever the server's default is.
func OpenPostgres(ctx context.Context, connection string) (*Store, error) {
	config, err := pgx.ParseConfig(connection)
	if err != nil {
		return nil, errors.New("the connection string of the journal can't be parsed: give a URL such as postgres://user@host/database, or keywords and values as libpq takes them") // err may quote the password
	}
	// A pooler between the gateway and the server may give each transaction another session, where
	// a prepared statement is not known.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	s := &Store{db: db, dialect: postgres, explain: func(err error) error { return err }}
	s.write = func(ctx context.Context, do func(*sql.Tx) error) error {
		return untaken(inTransaction(ctx, db, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `SET LOCAL synchronous_commit = on`); err != nil {
				return err
			}
			return do(tx)
		}))
	}
	s.close = db.Close
	if err := s.migrate(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("the journal in PostgreSQL, %s:%d, database %s: %w", config.Host, config.Port, config.Database, err)
	}
	return s, nil
}

// uniqueViolation is the SQLSTATE of a value that another record has.
const uniqueViolation = "23505"

// untaken turns the error of a result that another transaction has just given another record into
// ErrTaken.
func untaken(err error) error {
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok && failed.Code == uniqueViolation {
		return ErrTaken
	}
	return err
}

// Unsafe returns what may make an acknowledged record of the journal vanish, or nothing: a standby
// that takes over after a failure has all records only if it is synchronous.
func (s *Store) Unsafe(ctx context.Context) (string, error) {
	if !s.dialect.shared {
		return "", nil
	}
	var standbys, synchronous int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN sync_state IN ('sync', 'quorum') THEN 1 END) FROM pg_stat_replication`).Scan(&standbys, &synchronous); err != nil {
		return "", err
	}
	if standbys > 0 && synchronous == 0 {
		return fmt.Sprintf("PostgreSQL has %d standby servers, and none is synchronous: after a failover the journal may lack creates that were sent", standbys), nil
	}
	return "", nil
}
