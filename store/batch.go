package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
)

// batches runs writes in common transactions: those that come while one is being committed share
// the next, and its one fsync.
type batches struct {
	db      *sql.DB
	waiting chan *write
	ended   chan struct{}
	done    chan struct{}
}

// write is one function that is to be run in a transaction.
type write struct {
	ctx    context.Context
	do     func(*sql.Tx) error
	result chan error
}

// maxBatch bounds the writes of one transaction, and those that wait.
const maxBatch = 256

func newBatches(db *sql.DB) *batches {
	b := &batches{db: db, waiting: make(chan *write, maxBatch), ended: make(chan struct{}), done: make(chan struct{})}
	go b.run()
	return b
}

var errClosed = errors.New("the journal is closed")

// run runs do in a transaction with others, and returns when it is committed. A write whose context
// has ended before its turn is not run.
func (b *batches) write(ctx context.Context, do func(*sql.Tx) error) error {
	w := &write{ctx: ctx, do: do, result: make(chan error, 1)}
	select {
	case <-b.ended:
		return errClosed
	default:
	}
	select {
	case b.waiting <- w:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-b.ended:
		return errClosed
	}
	select {
	case err := <-w.result:
		return err
	case <-b.done:
		select {
		case err := <-w.result:
			return err
		default:
			return errClosed
		}
	}
}

func (b *batches) run() {
	defer close(b.done)
	for {
		select {
		case w := <-b.waiting:
			b.commit(b.collect(w))
		case <-b.ended:
			for len(b.waiting) > 0 {
				b.commit(b.collect(<-b.waiting))
			}
			return
		}
	}
}

// collect returns a write and those that wait behind it.
func (b *batches) collect(first *write) []*write {
	batch := []*write{first}
	for len(batch) < maxBatch {
		select {
		case w := <-b.waiting:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction. Where one of several writes fails, each gets a
// transaction of its own, so that none fails for another.
func (b *batches) commit(batch []*write) {
	live := batch[:0]
	for _, w := range batch {
		if w.ctx.Err() != nil {
			w.result <- context.Cause(w.ctx)
			continue
		}
		live = append(live, w)
	}
	verdicts, err := b.transaction(live)
	for i, w := range live {
		if err != nil && len(live) > 1 {
			verdicts, err := b.transaction([]*write{w})
			w.result <- cmp.Or(err, verdicts[0])
			continue
		}
		w.result <- cmp.Or(err, verdicts[i])
	}
}

// transaction runs writes in a transaction. Its context is not theirs: the end of one must not end
// the transaction of the others. What the journal answers to a write, such as that a caller has too
// many creates open, is its verdict and fails nothing: else a caller could have every commit fail that
// its writes share with those of others.
func (b *batches) transaction(batch []*write) (verdicts []error, err error) {
	verdicts = make([]error, len(batch))
	err = inTransaction(context.Background(), b.db, func(tx *sql.Tx) error {
		for i, w := range batch {
			switch err := w.do(tx); {
			case isVerdict(err):
				verdicts[i] = err
			case err != nil:
				return err
			}
		}
		return nil
	})
	return verdicts, err
}

// isVerdict reports whether an error is what the journal says of a write that has changed nothing.
func isVerdict(err error) bool {
	return errors.Is(err, ErrQuota) || errors.Is(err, ErrGone) || errors.Is(err, ErrTaken)
}

// end waits for the writes that are under way; later ones fail.
func (b *batches) end() {
	close(b.ended)
	<-b.done
}
