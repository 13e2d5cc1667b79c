package store

import (
	"context"
	"database/sql"
	"time"
)

// Revoke notes that an access token, by its id, was revoked before it expires. Noting it again is no
// error. Both times are by the clock of the process that issued the token.
func (s *Store) Revoke(ctx context.Context, token string, issued, expiry time.Time) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		// A clock that was set back makes a token last longer, for a day at most.
		if _, err := tx.ExecContext(ctx, `DELETE FROM atlas_gateway_revocations WHERE expires_at < `+s.dialect.now+` - 86400000`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO atlas_gateway_revocations (token, issued_at, expires_at, revoked_at)
			VALUES ($1, $2, $3, `+s.dialect.now+`) ON CONFLICT (token) DO NOTHING`, token, issued.UnixMilli(), expiry.UnixMilli())
		return err
	})
}

// Revoked calls each with the tokens that were revoked within a time, by the clock of the store, or
// at any time if it is 0.
func (s *Store) Revoked(ctx context.Context, within time.Duration, each func(token string, issued, expiry time.Time)) error {
	rows, err := s.db.QueryContext(ctx, `SELECT token, issued_at, expires_at FROM atlas_gateway_revocations
		WHERE $1 = 0 OR revoked_at >= `+s.dialect.now+` - $1`, within.Milliseconds())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var token string
		var issued, expiry int64
		if err := rows.Scan(&token, &issued, &expiry); err != nil {
			return err
		}
		each(token, time.UnixMilli(issued), time.UnixMilli(expiry))
	}
	return rows.Err()
}
