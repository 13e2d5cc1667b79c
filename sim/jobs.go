package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The states of a job.
const (
	queued      = "Queued"
	inProgress  = "InProgress"
	successful  = "Successful"
	failedState = "Failed"
	cancelled   = "Cancelled"
)

// Job is an export job, as the simulation keeps it.
type Job struct {
	ID             string       `json:"id"`
	GroupID        string       `json:"groupId"`
	ClusterName    string       `json:"clusterName"`
	SnapshotID     string       `json:"snapshotId"`
	ExportBucketID string       `json:"exportBucketId"`
	Directory      string       `json:"directory"` // of the bucket, below Config.ExportDir
	Prefix         string       `json:"prefix"`
	CustomData     []CustomData `json:"customData"`
	Components     []Component  `json:"components,omitempty"` // of sharded clusters
	Collections    int          `json:"collections"`

	// State is Queued, InProgress, Successful, Failed or Cancelled. In the state file
	// it is Queued until the job has ended: the times tell the rest.
	State string `json:"state"`
	// Created, Starts and Ends are when the job was created, becomes InProgress and
	// ends; Full is when it would end in success.
	Created time.Time `json:"created"`
	Starts  time.Time `json:"starts"`
	Ends    time.Time `json:"ends"`
	Full    time.Time `json:"full"`
	// Outcome is how it ends, or ended.
	Outcome Outcome `json:"outcome"`
}

// CustomData is a pair that a job carries into .complete. Nil is what was left out.
type CustomData struct {
	Key   *string `json:"key,omitempty"`
	Value *string `json:"value,omitempty"`
}

// Component is the part of a job that exports one replica set.
type Component struct {
	ExportID       string `json:"exportId"`
	ReplicaSetName string `json:"replicaSetName"`
}

func (j *Job) ended() bool { return j.State != queued }

// stateAt returns the state at a time. A job that is due is still InProgress until its
// files are written and its end is noted.
func (j *Job) stateAt(now time.Time) string {
	if !j.ended() && !now.Before(j.Starts) {
		return inProgress
	}
	return j.State
}

// exportedAt returns exportStatus. Both counts are 0 while the job is Queued, as recorded.
func (j *Job) exportedAt(now time.Time) (exported, total int) {
	if j.stateAt(now) == queued {
		return 0, 0
	}
	if j.ended() && now.After(j.Ends) {
		now = j.Ends
	}
	if j.State == successful {
		return j.Collections, j.Collections
	}
	done := now.Sub(j.Starts).Seconds() / max(j.Full.Sub(j.Starts).Seconds(), 1e-9)
	return int(float64(j.Collections) * min(max(done, 0), 1)), j.Collections
}

// outcomes are those that testers set for jobs to come.
type outcomes struct {
	mu   sync.Mutex
	next []Outcome
}

// take returns the outcome of a new job: the first that was set for it, else the seed's.
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

// SetOutcome decides how the next job that is created, of the outcome's SnapshotID if it
// has one, will end: halfway, unless it is Successful. Further calls are for further jobs.
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
	case "", successful, failedState, cancelled:
		return nil
	}
	return fmt.Errorf("the state %q is not one of %s, %s, %s", o.State, successful, failedState, cancelled)
}

// EndJob ends an active job now. It returns once the job's files, if it succeeds, are
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

// Jobs returns all jobs as they stand, oldest first.
func (s *Server) Jobs() []Job {
	now := s.clock.now()
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	jobs := make([]Job, 0, len(s.store.allJobs))
	for _, id := range s.store.allJobs {
		job := *s.store.jobs[id]
		job.State = job.stateAt(now)
		jobs = append(jobs, job)
	}
	return jobs
}

func (s *Server) clusterOf(j *Job) *Cluster {
	group := s.world.groups[j.GroupID]
	if group == nil {
		return nil
	}
	return group.clusters[j.ClusterName]
}

// runJobs ends each job when it falls due, whether or not anybody asks for it.
func (s *Server) runJobs() {
	for {
		s.Settle()
		s.store.mu.Lock()
		next := s.store.nextDue()
		s.store.mu.Unlock()
		var timer <-chan time.Time
		if next != nil {
			// An injected clock may stand still; then this is a slow poll.
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

// Settle ends every job that is due, and returns once their files are written. The
// simulation does so by itself; a test that moves a clock of its own, Config.Now, calls
// it to know when.
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
				end.State = failedState
				end.Outcome = Outcome{State: failedState, ErrorCode: "UNEXPECTED_ERROR", Message: "The export could not be written."}
			}
		}
		s.store.mu.Lock()
		// EndJob may have moved the end meanwhile; then the job comes up again.
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

// createJob starts an export for both generations.
func (s *Server) createJob(ctx context.Context, cluster, snapshotID, bucketID string, customData []CustomData) (*Job, error) {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return nil, err
	}
	snapshot := c.snapshot(snapshotID)
	if snapshot == nil {
		return nil, failure(http.StatusNotFound, "SNAPSHOT_NOT_FOUND", "No snapshot with ID %s exists.", snapshotID)
	}
	bucket, err := s.findBucket(x, bucketID)
	if err != nil {
		return nil, err
	}
	now := s.clock.now()
	job := &Job{
		ID:             newID(now),
		GroupID:        x.group.ID,
		ClusterName:    c.Name,
		SnapshotID:     snapshot.ID,
		ExportBucketID: bucket.ID,
		Directory:      bucket.directory(),
		Prefix:         prefix(x.group, c, snapshot, now),
		CustomData:     customData,
		Collections:    c.countCollections(),
		State:          queued,
		Created:        now,
		Starts:         now.Add(s.scaled(s.cfg.QueueTime)),
		Full:           now.Add(s.scaled(s.cfg.QueueTime + s.cfg.RunTime)),
	}
	if c.Sharded {
		for _, name := range c.ReplicaSets {
			job.Components = append(job.Components, Component{newID(now), name})
		}
	}
	if err := s.addJob(job, snapshot); err != nil {
		return nil, err
	}
	s.record.counters.jobs.Add(1)
	if err := errors.Join(s.save(), s.writePermissionCheck(job.Directory)); err != nil {
		return nil, err
	}
	select {
	case s.wake <- struct{}{}:
	default: // awake already
	}
	return job, nil
}

// addJob puts the job into the store, unless its snapshot is being exported.
func (s *Server) addJob(job *Job, snapshot *Snapshot) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.buckets[job.ExportBucketID] == nil { // deleted meanwhile
		return noBucket(job.ExportBucketID)
	}
	if !s.settings.Load().ParallelExports {
		for id := range s.store.active {
			if s.store.jobs[id].SnapshotID == job.SnapshotID {
				// The code is inferred; the status is recorded.
				return failure(http.StatusConflict, "EXPORT_ALREADY_IN_PROGRESS",
					"An export of snapshot %s is already in progress.", job.SnapshotID)
			}
		}
	}
	job.Outcome = s.outcomes.take(snapshot)
	job.Ends = job.Full
	if job.Outcome.State == failedState || job.Outcome.State == cancelled {
		job.Ends = job.Starts.Add(job.Full.Sub(job.Starts) / 2)
	}
	s.store.addJob(job)
	return nil
}

// scaled returns how long something takes at the configured speed.
func (s *Server) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.cfg.Speed)
}

// prefix is the folder of an export, as recorded: ids unless the group wants names, the
// snapshot's minute, the job's second.
func prefix(g *group, c *Cluster, snapshot *Snapshot, created time.Time) string {
	org, project := g.Org.ID, g.ID
	if g.NamesInPrefix {
		org, project = g.Org.Name, g.Name
	}
	return strings.Join([]string{"exported_snapshots", org, project, c.Name,
		snapshot.CreatedAt.UTC().Format("2006-01-02T1504"), fmt.Sprint(created.Unix())}, "/")
}

// cluster returns the group's cluster of that name.
func (x *exchange) cluster(name string) (*Cluster, error) {
	if c := x.group.clusters[name]; c != nil {
		return c, nil
	}
	return nil, failure(http.StatusNotFound, "CLUSTER_NOT_FOUND", "No cluster named %s exists in group %s.", name, x.group.ID)
}

func (s *Server) findJob(ctx context.Context, cluster, id string) (*Job, error) {
	x := exchangeOf(ctx)
	if _, err := x.cluster(cluster); err != nil {
		return nil, err
	}
	s.store.mu.RLock()
	job := s.store.jobs[id]
	s.store.mu.RUnlock()
	if job == nil || job.GroupID != x.group.ID || job.ClusterName != cluster {
		return nil, failure(http.StatusNotFound, "INVALID_JOB_ID", "An invalid job ID %s was specified.", id)
	}
	return job, nil
}

// listJobs returns a page of a cluster's jobs, newest first, and how many there are.
func (s *Server) listJobs(ctx context.Context, cluster string, p page) ([]*Job, int, error) {
	x := exchangeOf(ctx)
	if _, err := x.cluster(cluster); err != nil {
		return nil, 0, err
	}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	ids := s.store.jobsOf[clusterKey{x.group.ID, cluster}]
	from, to := p.bounds(len(ids))
	jobs := make([]*Job, 0, to-from)
	for i := from; i < to; i++ {
		jobs = append(jobs, s.store.jobs[ids[len(ids)-1-i]])
	}
	return jobs, len(ids), nil
}
