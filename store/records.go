package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// columns are those of a Record, except the body of its answer.
const columns = `key, id, kind, request, shape, caller, request_id, group_id, cluster, subject, bucket,
	state, owner, sent_at, changed_at, atlas_at, result, status, media_type, note`

// Begin makes a record of a create that is about to be sent, unless there is one with its key. It
// returns nil if it made the record, and else the record that there is. State, times and answer of
// r are not read. The error is [ErrQuota] if the caller has quota records or more that are not
// Answered.
func (s *Store) Begin(ctx context.Context, r *Record, quota int) (existing *Record, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		existing = nil
		if _, err := tx.ExecContext(ctx, `UPDATE atlas_gateway_creates SET key = id
			WHERE key = $1 AND state = 'answered' AND expires_at <= `+s.dialect.now, r.Key); err != nil {
			return err
		}
		// Another process may free the key between these two statements, or take it again.
		for range 10 {
			made, err := changed(tx.ExecContext(ctx, `INSERT INTO atlas_gateway_creates (key, id, kind, request, shape,
				caller, request_id, group_id, cluster, subject, bucket, state, owner, sent_at, changed_at, atlas_at,
				expires_at, status, media_type, note)
				SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'sent', $12, clock.at, clock.at, $14, 0, 0, '', ''
				FROM (SELECT `+s.dialect.now+` AS at) AS clock
				WHERE (SELECT count(*) FROM atlas_gateway_creates WHERE caller = $6 AND state <> 'answered') < $13
				ON CONFLICT (key) DO NOTHING`,
				r.Key, r.ID, r.Kind, r.Request, r.Match, r.Caller, r.RequestID, r.Group, r.Cluster, r.Subject, r.Bucket, r.Owner, quota, milliseconds(r.AtlasSent)))
			if made || err != nil {
				return err
			}
			if existing, err = s.one(ctx, tx, `key = $1`, r.Key); !errors.Is(err, ErrGone) {
				return err
			}
			open := 0
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM atlas_gateway_creates WHERE caller = $1 AND state <> 'answered'`, r.Caller).Scan(&open); err != nil {
				return err
			}
			if open >= quota {
				return ErrQuota
			}
		}
		return errors.New("the key is freed and taken again all the time")
	})
	return existing, err
}

// Find returns the record of a key. The error is [ErrGone] where there is none.
func (s *Store) Find(ctx context.Context, key string) (*Record, error) {
	r, err := s.one(ctx, s.db, `key = $1 AND (state <> 'answered' OR expires_at > `+s.dialect.now+`)`, key)
	return r, s.explain(err)
}

// Get returns the record with an ID. The error is [ErrGone] where there is none.
func (s *Store) Get(ctx context.Context, id string) (*Record, error) {
	r, err := s.one(ctx, s.db, `id = $1`, id)
	return r, s.explain(err)
}

// Answered notes what a create was answered with, and what it created; keep is how long the record
// stays. The error is [ErrTaken] if another record of the kind has the result, and [ErrGone] where
// there is no record with the ID that has a key.
func (s *Store) Answered(ctx context.Context, id, result string, answer Answer, keep time.Duration) error {
	body := answer.Body
	if len(body) > MaxBody {
		body = nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		taken := 0
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM atlas_gateway_creates AS other
			JOIN atlas_gateway_creates AS mine ON mine.id = $1
			WHERE other.kind = mine.kind AND other.result = $2 AND other.id <> $1`, id, result).Scan(&taken); err != nil {
			return err
		}
		if taken > 0 {
			return ErrTaken
		}
		return s.update(ctx, tx, `UPDATE atlas_gateway_creates SET state = 'answered', result = $2, status = $3,
			media_type = $4, body = $5, note = '', changed_at = `+s.dialect.now+`, expires_at = `+s.dialect.now+` + $6
			WHERE id = $1 AND key <> id`, id, result, answer.Status, answer.MediaType, body, keep.Milliseconds())
	})
}

// Unknown notes that no answer will tell what became of a create, and says why. The error is
// [ErrGone] where there is no record with the ID that is not Answered.
func (s *Store) Unknown(ctx context.Context, id, note string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		return s.update(ctx, tx, `UPDATE atlas_gateway_creates SET state = 'unknown', note = $2, changed_at = `+s.dialect.now+`
			WHERE id = $1 AND state <> 'answered'`, id, note)
	})
}

// Free frees the key of a record: its create was not carried out, or what it created is no longer
// wanted under the key. A record that has a result stays until Expire, so that nobody takes its result
// for that of a later create. The error is [ErrGone] where there is no record with the ID that has a
// key.
func (s *Store) Free(ctx context.Context, id string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if removed, err := changed(tx.ExecContext(ctx, `DELETE FROM atlas_gateway_creates WHERE id = $1 AND result IS NULL`, id)); removed || err != nil {
			return err
		}
		return s.update(ctx, tx, `UPDATE atlas_gateway_creates SET key = id, changed_at = `+s.dialect.now+`, expires_at = `+s.dialect.now+`
			WHERE id = $1 AND key <> id`, id)
	})
}

// Taken returns those of some results of a kind that a record other than the one with the ID has.
func (s *Store) Taken(ctx context.Context, kind, id string, results []string) (map[string]bool, error) {
	taken := make(map[string]bool)
	for _, result := range results {
		other := false
		if err := s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM atlas_gateway_creates
			WHERE kind = $1 AND result = $2 AND id <> $3)`, kind, result, id).Scan(&other); err != nil {
			return nil, err
		}
		if other {
			taken[result] = true
		}
	}
	return taken, nil
}

// Leaving reports whether a create other than that of a record, whose result would look the same in
// the same listing, is under way.
func (s *Store) Leaving(ctx context.Context, r *Record) (leaving bool, err error) {
	// SQLite uses the index of open records only where the condition of the index is said.
	err = s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM atlas_gateway_creates
		WHERE state <> 'answered' AND state = 'sent' AND kind = $1 AND shape = $2 AND group_id = $3 AND cluster = $4 AND id <> $5)`,
		r.Kind, r.Match, r.Group, r.Cluster, r.ID).Scan(&leaving)
	return leaving, err
}

// Keep renews the lease of an owner, takes over the open records of owners whose lease has ended,
// and returns all open records that the owner has then, the oldest first. A file has one owner at a
// time, so there the lease of every other has ended.
func (s *Store) Keep(ctx context.Context, owner string, lease time.Duration) (open []*Record, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		ended := ``
		if s.dialect.shared {
			if err := s.renew(ctx, tx, owner, lease); err != nil {
				return err
			}
			// A lease that ends later than any that is renewed now is of a clock that was set back since.
			ended = fmt.Sprintf(` AND owner NOT IN (SELECT owner FROM atlas_gateway_owners WHERE lease_at > %[1]s AND lease_at <= %[1]s + %[2]d)`,
				s.dialect.now, 2*lease.Abs().Milliseconds())
		}
		if _, err := tx.ExecContext(ctx, `UPDATE atlas_gateway_creates SET owner = $1, changed_at = `+s.dialect.now+`,
				state = 'unknown', note = CASE state WHEN 'sent' THEN 'its gateway ended before Atlas answered' ELSE note END
			WHERE state <> 'answered' AND owner <> $1`+ended, owner); err != nil {
			return err
		}
		open, err = s.all(ctx, tx, `owner = $1 AND state <> 'answered' ORDER BY sent_at, id`, owner)
		return err
	})
	return open, err
}

// renew renews the lease of an owner, and forgets owners that ended long ago.
func (s *Store) renew(ctx context.Context, tx *sql.Tx, owner string, lease time.Duration) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO atlas_gateway_owners (owner, lease_at) VALUES ($1, `+s.dialect.now+` + $2)
		ON CONFLICT (owner) DO UPDATE SET lease_at = excluded.lease_at`, owner, lease.Milliseconds()); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM atlas_gateway_owners WHERE lease_at < `+s.dialect.now+` - 86400000`)
	return err
}

// Open returns the records that are not Answered, the oldest first, at most limit.
func (s *Store) Open(ctx context.Context, limit int) ([]*Record, error) {
	open, err := s.all(ctx, s.db, `state <> 'answered' ORDER BY sent_at, id LIMIT $1`, limit)
	return open, s.explain(err)
}

// Recent returns the records that changed last, the newest first, at most limit.
func (s *Store) Recent(ctx context.Context, limit int) ([]*Record, error) {
	recent, err := s.all(ctx, s.db, `true ORDER BY changed_at DESC LIMIT $1`, limit)
	return recent, s.explain(err)
}

// Expire removes records whose time has been over for as long as owned says, at most limit, and
// returns how many. Until then a record whose time is over has no key, but still has its result. It has
// it for as long as a create is open whose result would look the same. Callers repeat Expire as long
// as it returns limit, so that no transaction is long.
func (s *Store) Expire(ctx context.Context, owned time.Duration, limit int) (expired int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM atlas_gateway_creates WHERE key IN (
			SELECT key FROM atlas_gateway_creates AS old WHERE state = 'answered' AND expires_at <= `+s.dialect.now+` - $1
			AND NOT EXISTS (SELECT 1 FROM atlas_gateway_creates AS open
				WHERE open.state <> 'answered' AND open.kind = old.kind AND open.shape = old.shape) LIMIT $2)`, owned.Milliseconds(), limit)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		expired = int(n)
		return err
	})
	return expired, err
}

// Counts are how many records there are.
type Counts struct {
	Sent, Unknown int
	// Oldest is how long ago the oldest Unknown one was sent.
	Oldest time.Duration
}

// Count counts the records that are not Answered.
func (s *Store) Count(ctx context.Context) (c Counts, err error) {
	var oldest int64
	err = s.db.QueryRowContext(ctx, `SELECT count(CASE state WHEN 'sent' THEN 1 END), count(CASE state WHEN 'unknown' THEN 1 END),
		coalesce(`+s.dialect.now+` - min(CASE state WHEN 'unknown' THEN sent_at END), 0)
		FROM atlas_gateway_creates WHERE state <> 'answered'`).Scan(&c.Sent, &c.Unknown, &oldest)
	c.Oldest = max(0, time.Duration(oldest)*time.Millisecond)
	return c, err
}

// update runs a statement that must change one record.
func (s *Store) update(ctx context.Context, tx *sql.Tx, statement string, arguments ...any) error {
	if done, err := changed(tx.ExecContext(ctx, statement, arguments...)); err != nil || done {
		return err
	}
	return ErrGone
}

// changed reports whether a statement changed a record.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, arguments ...any) (*sql.Rows, error)
}

// one returns the one record for which a condition holds, with the body of its answer.
func (s *Store) one(ctx context.Context, q queryer, condition string, arguments ...any) (*Record, error) {
	records, err := s.query(ctx, q, `body`, condition, arguments...)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, ErrGone
	}
	return records[0], nil
}

// all returns the records for which a condition holds, without the bodies of answers, of which many
// together are large.
func (s *Store) all(ctx context.Context, q queryer, condition string, arguments ...any) ([]*Record, error) {
	return s.query(ctx, q, `NULL`, condition, arguments...)
}

func (s *Store) query(ctx context.Context, q queryer, body, condition string, arguments ...any) ([]*Record, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+columns+`, `+body+`, `+s.dialect.now+` FROM atlas_gateway_creates WHERE `+condition, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []*Record
	for rows.Next() {
		r := &Record{}
		var sent, changed, atlas, now int64
		var result sql.NullString
		if err := rows.Scan(&r.Key, &r.ID, &r.Kind, &r.Request, &r.Match, &r.Caller, &r.RequestID, &r.Group, &r.Cluster, &r.Subject, &r.Bucket,
			&r.State, &r.Owner, &sent, &changed, &atlas, &result, &r.Answer.Status, &r.Answer.MediaType, &r.Note, &r.Answer.Body, &now); err != nil {
			return nil, err
		}
		r.Sent, r.Changed, r.Age = time.UnixMilli(sent), time.UnixMilli(changed), time.Duration(now-sent)*time.Millisecond
		if atlas != 0 {
			r.AtlasSent = time.UnixMilli(atlas)
		}
		r.Result = result.String
		records = append(records, r)
	}
	return records, rows.Err()
}

// milliseconds returns a time as the journal keeps it, and 0 for none.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
