package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/store"
)

// A caller who is refused, since it has too many creates open, takes nobody's share of a commit:
// what others write at the same time is committed together.
func TestRefusedCallerAndCommits(t *testing.T) {
	t.Parallel()
	s := opened(t)(store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db")))
	commits, err := s.CountCommits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	flood := func(key string) *store.Record {
		r := record(key)
		r.Caller = "flood"
		return r
	}
	begin(t, s, flood("open"))
	const callers = 20
	fewest := int64(callers)
	for round := 0; round < 20 && fewest > 3; round++ { // on a busy machine some come too late
		before := commits.Load()
		release := s.Hold()
		var wait sync.WaitGroup
		for i := range callers {
			wait.Go(func() {
				if _, err := s.Begin(t.Context(), flood(fmt.Sprint("flood", i)), 1); !errors.Is(err, store.ErrQuota) {
					t.Error(err)
				}
			})
			wait.Go(func() {
				if existing, err := s.Begin(t.Context(), record(fmt.Sprint(round, "-", i)), quota); err != nil || existing != nil {
					t.Error(existing, err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		release()
		wait.Wait()
		fewest = min(fewest, commits.Load()-before)
	}
	if fewest > 3 {
		t.Errorf("%d writes took %d commits", callers, fewest)
	}
}
