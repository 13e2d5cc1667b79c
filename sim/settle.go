package sim

import (
	"cmp"
	"fmt"
	"time"
)

// runJobs ends each job when it is due, whether or not anybody asks for it.
func (s *Server) runJobs() {
	for {
		s.Settle()
		s.store.mu.Lock()
		next := s.store.nextDue()
		s.store.mu.Unlock()
		var timer <-chan time.Time
		if next != nil {
			// A Config.Now may be slower than the timer. Then this loop polls.
			timer = time.After(max(next.Ends.Sub(s.clock.now()), time.Millisecond))
		}
		select {
		case <-timer:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// Settle ends every job that is due, and returns once the files of the jobs are written.
// The simulation also ends jobs by itself. A test with a clock of its own, Config.Now, calls
// Settle to know when they have ended.
func (s *Server) Settle() {
	s.settling.Lock()
	defer s.settling.Unlock()
	ended := false
	for {
		s.store.mu.Lock()
		job := s.store.nextDue()
		s.store.mu.Unlock()
		if job == nil || job.Ends.After(s.clock.now()) {
			break
		}
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
		// If EndJob has moved the end meanwhile, the job is next again.
		if s.store.jobs[job.ID] == job {
			s.store.replaceJob(&end)
		}
		s.store.mu.Unlock()
		ended = true
	}
	if ended {
		if err := s.save(); err != nil {
			s.log.Error("the state was not saved", "error", err)
		}
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
