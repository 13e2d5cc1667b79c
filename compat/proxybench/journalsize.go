package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"atlas-export-gateway/store"
)

// sizes measures a journal with few keys and one with as many as asked for.
func (p *parts) sizes(o options, c configuration, stdout, stderr io.Writer) error {
	fmt.Fprintln(stdout, "| keys | file | opened in | find a key | find none | look for one that leaves | record a create | gateway at its start | after 500 creates |")
	fmt.Fprintln(stdout, "|---|---|---|---|---|---|---|---|---|")
	for _, keys := range []int{min(1000, o.keys), o.keys} {
		name := fmt.Sprintf("%d.db", keys)
		path := filepath.Join(p.dir, name)
		fmt.Fprintf(stderr, "filling a journal with %d keys\n", keys)
		if err := fill(p.ctx, path, keys); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		times, err := look(p.ctx, path, keys)
		if err != nil {
			return err
		}
		var atStart, after int64
		err = p.withGateway(o, c, name, func(proxy *proxyUnderTest) error {
			if atStart, err = proxy.process.peakMemory(); err != nil {
				return err
			}
			l, err := newLoad(p.ctx, proxy, "POST", 16) // sends 500
			if err != nil {
				return err
			}
			defer l.close()
			after, err = proxy.process.peakMemory()
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "| %d | %d MiB | %s | %s | %s | %s | %s | %.0f MiB | %.0f MiB |\n", keys, info.Size()>>20, times.open.Round(time.Millisecond),
			spread(times.find), spread(times.none), spread(times.leaving), spread(times.begin), mib(atStart), mib(after))
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// spread returns the median and the 99th percentile.
func spread(times []time.Duration) string {
	return fmt.Sprintf("%.0f µs, %.0f µs", micros(quantile(times, 0.5)), micros(quantile(times, 0.99)))
}

// keyOf returns the key of a record that fill makes, in an order of its own.
func keyOf(i int) string { return fmt.Sprintf("%08x%056x", i*2654435761&0xffffffff, i) }

// fill makes a journal of creates that have been answered, as the gateway would have left it.
func fill(ctx context.Context, path string, keys int) error {
	s, err := store.OpenFile(ctx, path) // makes the schema
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=cache_size(-400000)")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO atlas_gateway_creates (key, id, kind, request, shape, caller, request_id, group_id, cluster,
			subject, bucket, state, owner, sent_at, changed_at, expires_at, result, status, media_type, body, note)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		SELECT printf('%08x%056x', i * 2654435761 & 0xffffffff, i), printf('%032x', i), 'export', printf('%064x', i), printf('%064x', i), 'nightly',
			printf('%012x-1', i), $2, $3, printf('%024x', i), $4, 'answered', 'owner', clock.at, clock.at, clock.at + 86400000,
			printf('%024x', i + 0x10000000), 200, $5, CAST($6 AS BLOB), ''
		FROM n, (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS at) AS clock`, keys, group, cluster, bucket, mediaType, job)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if s, err = store.OpenFile(ctx, path); err != nil { // puts it on stable storage
		return err
	}
	return s.Close()
}

// lookTimes are how long calls of the store took.
type lookTimes struct {
	open                       time.Duration
	find, none, leaving, begin []time.Duration
}

// look opens a journal and measures calls of the store.
func look(ctx context.Context, path string, keys int) (t lookTimes, err error) {
	began := time.Now()
	s, err := store.OpenFile(ctx, path)
	if err != nil {
		return t, err
	}
	defer s.Close()
	t.open = time.Since(began)
	timed := func(times *[]time.Duration, n int, call func(i int) error) {
		for i := 0; i < n && err == nil; i++ {
			began := time.Now()
			err = call(i)
			*times = append(*times, time.Since(began))
		}
	}
	timed(&t.find, 2000, func(int) error {
		_, err := s.Find(ctx, keyOf(1+rand.IntN(keys)))
		return err
	})
	timed(&t.none, 2000, func(i int) error {
		if _, err := s.Find(ctx, keyOf(-1-i)); !errors.Is(err, store.ErrGone) {
			return fmt.Errorf("a key that nobody has was found: %w", err)
		}
		return nil
	})
	timed(&t.leaving, 100, func(int) error {
		_, err := s.Leaving(ctx, &store.Record{Kind: "export", Match: "shape", ID: "id"})
		return err
	})
	timed(&t.begin, 100, func(i int) error {
		id := fmt.Sprint("new-", i)
		_, err := s.Begin(ctx, &store.Record{Key: keyOf(-1 - i), ID: id, Kind: "export", Caller: "nightly", Owner: "owner"}, 1000)
		if err != nil {
			return err
		}
		return s.Free(ctx, id)
	})
	return t, err
}
