package store_test

import (
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/store"
)

// journal is where a journal is kept.
type journal struct {
	driver, source string // for database/sql
	try            func(t *testing.T) (*store.Store, error)
	// shared says that it may be opened several times at once.
	shared bool
}

// TestConformance runs the same tests with both engines.
func TestConformance(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		conform(t, func(t *testing.T) *journal { return inFile(filepath.Join(t.TempDir(), "creates.db")) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := postgrestest.Start(t)
		conform(t, func(t *testing.T) *journal { return inPostgres(server.Database(t)) })
		t.Run("a server that comes back", func(t *testing.T) { comesBack(t, server) })
	})
}

// conform runs each test of the suite with a new journal.
func conform(t *testing.T, journal func(*testing.T) *journal) {
	t.Run("group", func(t *testing.T) { // ends when all have ended
		for name, test := range suite {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, journal(t))
			})
		}
	})
}

func inFile(path string) *journal {
	return &journal{driver: "sqlite", source: path, try: func(t *testing.T) (*store.Store, error) {
		return store.OpenFile(t.Context(), path)
	}}
}

func inPostgres(url string) *journal {
	return &journal{driver: "pgx", source: url, shared: true, try: func(t *testing.T) (*store.Store, error) {
		return store.OpenPostgres(t.Context(), url)
	}}
}

// open opens the journal, which is closed at the end of the test.
func (j *journal) open(t *testing.T) *store.Store {
	t.Helper()
	return opened(t)(j.try(t))
}

func opened(t *testing.T) func(*store.Store, error) *store.Store {
	return func(s *store.Store, err error) *store.Store {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
}

var ids atomic.Int64

// record returns a record with a key and an id of its own.
func record(key string) *store.Record {
	return &store.Record{
		Key: key, ID: "id-" + strconv.FormatInt(ids.Add(1), 10), Kind: "export", Request: "digest of the request", Match: "digest of the job",
		Caller: "nightly", RequestID: "0123456789ab-1", Group: "64f0c1a2b3d4e5f607182930", Cluster: "orders",
		Subject: "6a01e0b45be2d84417c09f10", Bucket: "65a9d3e1f20b4c7788990011", Owner: "owner",
		AtlasSent: time.UnixMilli(1796000000123),
	}
}
