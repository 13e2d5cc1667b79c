package sim

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// createJob starts an export. Both generations of the API call it.
func (s *Server) createJob(ctx context.Context, cluster, snapshotID, bucketID string, customData []CustomData) (*Job, error) {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return nil, err
	}
	now := s.clock.now()
	snapshot, err := s.findSnapshot(x, c, snapshotID, now)
	if err != nil {
		return nil, err
	}
	bucket, err := s.findBucket(x, bucketID)
	if err != nil {
		return nil, err
	}
	if err := snapshot.exportable(now); err != nil {
		return nil, err
	}
	job, err := s.startJob(x.group, c, snapshot, bucket, customData, now)
	if err != nil {
		return nil, err
	}
	s.record.counters.jobs.Add(1)
	if err := s.save(); err != nil {
		return nil, err
	}
	s.wakeUp()
	return job, nil
}

// startJob adds a job that is created at a time.
func (s *Server) startJob(g *group, c *Cluster, snapshot *Snapshot, bucket *Bucket, customData []CustomData, now time.Time) (*Job, error) {
	job := &Job{
		ID:             newID(now),
		GroupID:        g.ID,
		ClusterName:    c.Name,
		SnapshotID:     snapshot.ID,
		ExportBucketID: bucket.ID,
		Directory:      bucket.directory(),
		Prefix:         prefix(g, c, s.scheduleOf(g, c), snapshot, now),
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
	return job, s.writePermissionCheck(job.Directory)
}

// addJob puts the job into the store, unless its snapshot is being exported already.
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
	if job.Outcome.State == failed || job.Outcome.State == cancelled {
		job.Ends = job.Starts.Add(job.Full.Sub(job.Starts) / 2)
	}
	s.store.addJob(job)
	return nil
}

// scaled returns how long something takes at Config.Speed.
func (s *Server) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.cfg.Speed)
}

// prefix is the folder of an export, as recorded: ids (or names, if the schedule wants them),
// the minute of the snapshot and the second of the job.
func prefix(g *group, c *Cluster, schedule *Schedule, snapshot *Snapshot, created time.Time) string {
	org, project := g.Org.ID, g.ID
	if schedule.NamesInPrefix {
		org, project = cmp.Or(nameInPrefix(g.Org.Name), org), cmp.Or(nameInPrefix(g.Name), project)
	}
	return strings.Join([]string{exported, org, project, c.Name,
		snapshot.CreatedAt.UTC().Format("2006-01-02T1504"), fmt.Sprint(created.Unix())}, "/")
}

// nameInPrefix is the name of an organization or a group as the prefix of an export has it. Atlas
// documents that a space becomes an underscore, and that characters are removed which object
// storage has to treat with care. These are, by the documentation of S3, all except letters and
// digits of ASCII and ! - _ . * ' ( ). Inferred: the id stands in the place of a name of which
// nothing is left.
func nameInPrefix(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '_'
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("!-_.*'()", r):
			return r
		}
		return -1
	}, name)
}

// Jobs returns all jobs with their current states, oldest first.
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

// findJob returns a job of a cluster.
func (s *Server) findJob(ctx context.Context, cluster, id string) (*Job, error) {
	x := exchangeOf(ctx)
	if _, err := x.cluster(cluster); err != nil {
		return nil, err
	}
	s.store.mu.RLock()
	job := s.store.jobs[id]
	s.store.mu.RUnlock()
	if job == nil || job.GroupID != x.group.ID || job.ClusterName != cluster {
		return nil, failure(http.StatusNotFound, "INVALID_JOB_ID", "An invalid restore job ID %s was specified.", id)
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
