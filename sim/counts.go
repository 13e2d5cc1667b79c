package sim

import "sync/atomic"

// Counts are totals since the start or the last reset.
type Counts struct {
	Connections int64 `json:"connections"`
	// Requests counts all requests, including those that were answered with a challenge.
	Requests   int64 `json:"requests"`
	Challenges int64 `json:"challenges"`
	// Malformed counts what Request.Malformed marks, which Requests does not include.
	Malformed   int64            `json:"malformed"`
	ByStatus    map[int]int64    `json:"byStatus"`
	ByOperation map[string]int64 `json:"byOperation"`
	// JobsCreated, SnapshotsTaken and SchedulesChanged count requests that Atlas carried out.
	JobsCreated      int64 `json:"jobsCreated"`
	SnapshotsTaken   int64 `json:"snapshotsTaken"`
	SchedulesChanged int64 `json:"schedulesChanged"`
	// AutomaticExports counts the jobs that schedules started. JobsCreated does not include them.
	AutomaticExports int64 `json:"automaticExports"`
}

// counters are behind Counts, except for those of the operations, which each operation has.
type counters struct {
	connections atomic.Int64
	challenges  atomic.Int64
	malformed   atomic.Int64
	jobs        atomic.Int64
	snapshots   atomic.Int64
	schedules   atomic.Int64
	automatic   atomic.Int64
	statuses    [600]atomic.Int64
}

// add counts a request that was answered with a status, 0 for no answer.
func (c *counters) add(status int, challenged bool) {
	c.statuses[min(status, len(c.statuses)-1)].Add(1)
	if challenged {
		c.challenges.Add(1)
	}
}

// Counts returns the totals.
func (s *Server) Counts() Counts {
	c := &s.record.counters
	counts := Counts{
		Connections: c.connections.Load(),
		Challenges:  c.challenges.Load(),
		Malformed:   c.malformed.Load(),
		ByStatus:    map[int]int64{},
		ByOperation: map[string]int64{},

		JobsCreated:      c.jobs.Load(),
		SnapshotsTaken:   c.snapshots.Load(),
		SchedulesChanged: c.schedules.Load(),
		AutomaticExports: c.automatic.Load(),
	}
	for status := range c.statuses {
		if n := c.statuses[status].Load(); n > 0 {
			counts.ByStatus[status] = n
			counts.Requests += n
		}
	}
	for _, op := range s.operations {
		if n := op.requests.Load(); n > 0 {
			counts.ByOperation[op.id] = n
		}
	}
	return counts
}

// Reset empties the log and sets the counts to 0. Open connections keep their numbers.
func (s *Server) Reset() {
	s.record.log.reset()
	c := &s.record.counters
	for _, counter := range []*atomic.Int64{&c.connections, &c.challenges, &c.malformed, &c.jobs, &c.snapshots, &c.schedules, &c.automatic} {
		counter.Store(0)
	}
	for i := range c.statuses {
		c.statuses[i].Store(0)
	}
	for _, op := range s.operations {
		op.requests.Store(0)
	}
}
