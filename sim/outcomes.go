package sim

import (
	"fmt"
	"slices"
	"sync"
)

// outcomes are the outcomes that testers set for future jobs.
type outcomes struct {
	mu   sync.Mutex
	next []Outcome
}

// take returns the outcome of a new job: the first that was set for it, or else the one
// that the seed has for the snapshot.
func (o *outcomes) take(snapshot *Snapshot) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, outcome := range o.next {
		if outcome.SnapshotID == "" || outcome.SnapshotID == snapshot.ID {
			o.next = slices.Delete(o.next, i, i+1)
			return outcome
		}
	}
	return snapshot.Outcome
}

// SetOutcome decides how the next job that is created will end. If the outcome has a
// SnapshotID, it is for the next job of that snapshot. A job that does not succeed ends
// halfway. Each further call is for a further job.
func (s *Server) SetOutcome(outcome Outcome) error {
	if err := outcome.check(); err != nil {
		return err
	}
	s.outcomes.mu.Lock()
	defer s.outcomes.mu.Unlock()
	s.outcomes.next = append(s.outcomes.next, outcome)
	return nil
}

func (o Outcome) check() error {
	switch o.State {
	case "", successful, failed, cancelled:
		return nil
	}
	return fmt.Errorf("the state %q is not one of %s, %s, %s", o.State, successful, failed, cancelled)
}
