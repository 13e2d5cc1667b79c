package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/store"
)

// Creates that are recorded and answered, 64 at a time. docs/scale.md has the figures.
func BenchmarkJournal(b *testing.B) {
	b.Run("file", func(b *testing.B) {
		s, err := store.OpenFile(b.Context(), filepath.Join(b.TempDir(), "creates.db"))
		benchmarkCreates(b, s, err)
	})
	b.Run("postgres", func(b *testing.B) {
		server, err := postgrestest.New()
		if err != nil {
			b.Skip(err)
		}
		defer server.Close()
		url, err := server.NewDatabase()
		if err != nil {
			b.Fatal(err)
		}
		s, err := store.OpenPostgres(b.Context(), url)
		benchmarkCreates(b, s, err)
	})
}

func benchmarkCreates(b *testing.B, s *store.Store, err error) {
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var number atomic.Int64
	b.SetParallelism(32)
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := fmt.Sprint("create-", number.Add(1))
			record := &store.Record{Key: "key of " + id, ID: id, Kind: "export", Request: "r", Match: id, Caller: "nightly", Owner: "o"}
			if _, err := s.Begin(context.Background(), record, quota); err != nil {
				b.Error(err)
				return
			}
			if err := s.Answered(context.Background(), id, "result-"+id, store.Answer{Status: 200}, time.Hour); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(number.Load())/time.Since(began).Seconds(), "creates/s")
}
