package store

import (
	"context"
	"database/sql"
	"sync/atomic"

	"modernc.org/sqlite"
)

// CountCommits counts the commits of a journal in a file.
func (s *Store) CountCommits(ctx context.Context) (*atomic.Int64, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	commits := new(atomic.Int64)
	return commits, conn.Raw(func(driver any) error {
		driver.(*prepared).connection.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			commits.Add(1)
			return 0
		})
		return nil
	})
}

// Hold holds up the writes of a journal in a file, from when it returns until release is called.
func (s *Store) Hold() (release func()) {
	held, released, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.write(context.Background(), func(*sql.Tx) error {
			close(held)
			<-released
			return nil
		})
	}()
	select {
	case <-held:
	case <-done: // the write failed
	}
	return func() {
		close(released)
		<-done
	}
}
