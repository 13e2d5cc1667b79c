package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// errStuck ends a run in which nothing moves any more.
var errStuck = errors.New("no create was answered for two minutes")

const stuckAfter = 2 * time.Minute

// showProgress says again and again how far the run has come, on a terminal in one line. It ends a
// run that is stuck. The function that it returns ends it.
func (r *trial) showProgress(stderr io.Writer, cancel context.CancelCauseFunc) (end func()) {
	every, before, after := 10*time.Second, "", "\n"
	if file, ok := stderr.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			every, before, after = 200*time.Millisecond, "\r\x1b[K", ""
		}
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		began, moved, last := time.Now(), time.Now(), int64(0)
		for ticks := time.Tick(every); ; {
			select {
			case <-ticks:
			case <-done:
				fmt.Fprint(stderr, before)
				return
			}
			answered := r.answered.Load()
			if answered != last {
				moved, last = time.Now(), answered
			}
			if time.Since(moved) > stuckAfter {
				cancel(errStuck)
			}
			text := fmt.Sprintf("%d of %d creates, %d of %d kills", answered, r.creates, r.killed.Load(), r.kills)
			if r.serverKills > 0 {
				text += fmt.Sprintf(", %d of %d of the server", r.serverKilled.Load(), r.serverKills)
			}
			fmt.Fprintf(stderr, "%s%s, %s%s", before, text, time.Since(began).Round(time.Second), after)
		}
	})
	return func() {
		close(done)
		group.Wait()
	}
}
