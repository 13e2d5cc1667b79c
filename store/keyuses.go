package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// KeyUse is when a key of a caller was last used.
type KeyUse struct {
	// Caller, Form and Key name the key; they hold no secret.
	Caller, Form, Key string
	// Since is when somebody first noted the key, and Used when it was last used, to the millisecond.
	// Used is zero where no use is known.
	Since, Used time.Time
}

// keyUseKept is how long the use of a key is kept after all gateways have ceased to note the key.
const keyUseKept = 30 * 24 * time.Hour

// NoteKeyUses notes keys, each with its earliest Since and its latest Used that anybody has noted.
// A latest use that is ahead of the clock of the store gives way to the next that is noted: the
// clock of a gateway was wrong. Keys that nobody has noted for 30 days are removed.
func (s *Store) NoteKeyUses(ctx context.Context, uses []KeyUse) error {
	// Two gateways that note the same keys in another order would wait for each other in PostgreSQL.
	uses = slices.SortedFunc(slices.Values(uses), func(a, b KeyUse) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Form, b.Form), cmp.Compare(a.Key, b.Key))
	})
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, u := range uses {
			if _, err := tx.ExecContext(ctx, `INSERT INTO atlas_gateway_key_uses AS known (caller, form, key, since_at, used_at, noted_at)
				VALUES ($1, $2, $3, $4, $5, `+s.dialect.now+`)
				ON CONFLICT (caller, form, key) DO UPDATE SET
				since_at = CASE WHEN known.since_at < excluded.since_at THEN known.since_at ELSE excluded.since_at END,
				used_at = CASE WHEN known.used_at > excluded.used_at AND known.used_at <= excluded.noted_at THEN known.used_at ELSE excluded.used_at END,
				noted_at = excluded.noted_at`,
				u.Caller, u.Form, u.Key, u.Since.UnixMilli(), milliseconds(u.Used)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM atlas_gateway_key_uses WHERE noted_at < `+s.dialect.now+` - $1`, keyUseKept.Milliseconds())
		return err
	})
}

// KeyUses returns all keys that are noted.
func (s *Store) KeyUses(ctx context.Context) ([]KeyUse, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT caller, form, key, since_at, used_at FROM atlas_gateway_key_uses ORDER BY caller, form, key`)
	if err != nil {
		return nil, s.explain(err)
	}
	defer rows.Close()
	var uses []KeyUse
	for rows.Next() {
		var u KeyUse
		var since, used int64
		if err := rows.Scan(&u.Caller, &u.Form, &u.Key, &since, &used); err != nil {
			return nil, err
		}
		u.Since = time.UnixMilli(since)
		if used != 0 {
			u.Used = time.UnixMilli(used)
		}
		uses = append(uses, u)
	}
	return uses, rows.Err()
}
