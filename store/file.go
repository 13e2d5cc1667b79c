package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// embedded is the dialect of SQLite.
var embedded = dialect{
	name:  "file",
	now:   `CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
	bytes: `BLOB`,
}

// OpenFile opens the journal in a file, which it makes where there is none. The file is this
// process's until Close: a second process gets an error. Each write is on stable storage when its
// method returns, as far as the file system keeps what fsync promises; a network file system is
// not the place for it.
func OpenFile(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path) // SQLite does not take :memory: and others for names of files
	if err != nil {
		return nil, err
	}
	if err := prepare(path); err != nil {
		return nil, err
	}
	if err := checkLog(path + "-wal"); err != nil {
		return nil, explain(path, err)
	}
	// The write-ahead log makes one fsync of a commit. With the lock held throughout, SQLite needs
	// no shared memory, and no other process can change the file.
	options := url.Values{
		"_pragma": {"busy_timeout(200)", "locking_mode(exclusive)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)"},
		"_txlock": {"immediate"},
	}
	db, err := openPrepared((&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: options.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one connection has the lock
	s := &Store{db: db, dialect: embedded}
	if err := s.openFile(ctx); err != nil {
		db.Close()
		return nil, explain(path, err)
	}
	b := newBatches(db)
	s.explain = func(err error) error {
		if _, ok := errors.AsType[*sqlite.Error](err); ok {
			return explain(path, err)
		}
		return err
	}
	s.write = func(ctx context.Context, do func(*sql.Tx) error) error { return s.explain(b.write(ctx, do)) }
	s.close = sync.OnceValue(func() error {
		b.end()
		return db.Close()
	})
	return s, nil
}

// maxChecked is the size up to which a file is checked when it is opened, in bytes.
const maxChecked = 64 << 20

// openFile checks the file and upgrades its schema.
func (s *Store) openFile(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil {
		return err
	}
	// SQLite opens a file that it may not write, and says so only when it has to write.
	if _, err := s.db.ExecContext(ctx, `UPDATE atlas_gateway_schema SET version = version`); err != nil {
		return err
	}
	// The check reads the whole file, so that a large one would keep the gateway from starting. What is
	// damaged in a large one shows when it is read.
	var pages, pageSize int64
	if err := s.db.QueryRowContext(ctx, `SELECT page_count, page_size FROM pragma_page_count, pragma_page_size`).Scan(&pages, &pageSize); err != nil {
		return err
	}
	if pages*pageSize > maxChecked {
		return nil
	}
	// quick_check would not compare the indexes with the records: a key that was changed in one of them
	// would only not be found.
	var verdict string
	if err := s.db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	return nil
}

// prepare makes the directory and the file, for the process's user only, where there are none. It
// does not open a file that is there: to close it would end the locks that another Store of this
// process has.
func prepare(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the journal's directory can't be made: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return file.Close()
	}
	info, missing := os.Stat(path)
	switch {
	case missing != nil:
		return fmt.Errorf("the journal can't be written: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the journal can't be written: %s is not a regular file", path)
	}
	return nil
}

// explain says what an error of SQLite means.
func explain(path string, err error) error {
	if failed, ok := errors.AsType[*sqlite.Error](err); ok {
		switch failed.Code() & 0xff { // the primary code
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return fmt.Errorf("another process has the journal %s: each gateway needs a file of its own, or all share PostgreSQL", path)
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
			return fmt.Errorf("the journal %s can't be written: %w", path, errors.Join(writable(filepath.Dir(path)), err))
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("the journal %s is damaged, or is not a journal: %w; move it away to begin a new one, after a look at which exports were started", path, err)
	}
	return fmt.Errorf("the journal %s: %w", path, err)
}

// errDamaged says that a file is not whole.
var errDamaged = errors.New("its content is not whole")

// writable returns why no file can be made in a directory, which SQLite does not say.
func writable(dir string) error {
	file, err := os.CreateTemp(dir, ".writable")
	if err == nil {
		file.Close()
		err = os.Remove(file.Name())
	}
	return err
}
