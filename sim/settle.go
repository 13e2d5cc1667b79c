package sim

import (
	"cmp"
	"fmt"
	"time"
)

// runJobs ends each job and each snapshot when it is due, and takes the snapshots of schedules,
// whether or not anybody asks for them.
func (s *Server) runJobs() {
	for {
		s.Settle()
		s.store.mu.Lock()
		next, _, _, _ := s.store.dueNext()
		s.store.mu.Unlock()
		var timer <-chan time.Time
		if !next.IsZero() {
			// A Config.Now may be slower than the timer. Then this loop polls.
			timer = time.After(max(next.Sub(s.clock.now()), time.Millisecond))
		}
		select {
		case <-timer:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// wakeUp makes runJobs look what is due next.
func (s *Server) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Settle ends every job and every snapshot that is due, takes the snapshots of schedules, and
// returns once the files of the jobs are written. The simulation also does so by itself. A test
// with a clock of its own, Config.Now, calls Settle to know when it is done.
func (s *Server) Settle() {
	s.settling.Lock()
	defer s.settling.Unlock()
	changed := false
	for {
		s.store.mu.Lock()
		at, job, snapshot, schedule := s.store.dueNext()
		s.store.mu.Unlock()
		if at.IsZero() || at.After(s.clock.now()) {
			break
		}
		switch {
		case job != nil:
			s.finishJob(job)
		case snapshot != nil:
			s.finishSnapshot(snapshot)
		default:
			s.runSchedule(schedule)
		}
		changed = true
	}
	if changed {
		if err := s.save(); err != nil {
			s.log.Error("the state was not saved", "error", err)
		}
	}
}

func (s *Server) finishJob(job *Job) {
	end := *job
	end.State = cmp.Or(job.Outcome.State, successful)
	if end.State == successful {
		// All files are there before anyone can see the job Successful.
		if err := s.writeExport(job); err != nil {
			s.log.Error("an export could not be written", "job", job.ID, "error", err)
			end.State = failed
			end.Outcome = Outcome{State: failed, ErrorCode: "UNEXPECTED_ERROR", Message: "The export could not be written."}
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	// If EndJob has moved the end meanwhile, the job is next again.
	if s.store.jobs[job.ID] == job {
		s.store.replaceJob(&end)
	}
}

func (s *Server) finishSnapshot(sn *Snapshot) {
	end := *sn
	end.Status = cmp.Or(sn.EndsAs, snapshotCompleted)
	end.ExpiresAt = sn.Ends.Add(sn.Kept.std())
	s.store.mu.Lock()
	current := s.store.snapshots[sn.ID] == sn // EndSnapshot may have moved the end
	if current {
		s.store.replaceSnapshot(&end)
	}
	s.store.mu.Unlock()
	if current && end.Status == snapshotCompleted {
		s.exportBySchedule(&end)
	}
}

// EndJob ends an active job now. If the job succeeds, EndJob returns once its files are
// written.
func (s *Server) EndJob(id string, outcome Outcome) error {
	if err := outcome.check(); err != nil {
		return err
	}
	s.store.mu.Lock()
	job := s.store.jobs[id]
	if job == nil || job.ended() {
		s.store.mu.Unlock()
		return fmt.Errorf("there is no active job %q", id)
	}
	ending := *job
	ending.Outcome = outcome
	ending.Ends = s.clock.now()
	if ending.Starts.After(ending.Ends) {
		ending.Starts = ending.Ends
	}
	s.store.replaceJob(&ending)
	s.store.mu.Unlock()
	s.Settle()
	return nil
}

// EndSnapshot ends a snapshot that is being taken now, as completed or failed.
func (s *Server) EndSnapshot(id, status string) error {
	if status != snapshotCompleted && status != snapshotFailed {
		return fmt.Errorf("the status %q is not one of %s, %s", status, snapshotCompleted, snapshotFailed)
	}
	s.store.mu.Lock()
	sn := s.store.snapshots[id]
	if sn == nil || sn.ended() {
		s.store.mu.Unlock()
		return fmt.Errorf("no snapshot %q is being taken", id)
	}
	ending := *sn
	ending.EndsAs = status
	ending.Ends = s.clock.now()
	for _, at := range []*time.Time{&ending.Starts, &ending.CreatedAt} {
		if at.After(ending.Ends) {
			*at = ending.Ends
		}
	}
	s.store.replaceSnapshot(&ending)
	s.store.mu.Unlock()
	s.Settle()
	return nil
}
