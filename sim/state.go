package sim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atlas-export-gateway/internal/strictjson"
)

// stateFormat is the version of the state file's format.
const stateFormat = 1

// state is the content of the state file: everything that a restart must not lose.
type state struct {
	Format  int      `json:"format"`
	Advance Duration `json:"advance"` // how far Server.Advance has moved the clock
	Buckets []Bucket `json:"buckets"`
	Jobs    []Job    `json:"jobs"`
	// Snapshots and Schedules are missing in files that older versions have written. What is not
	// here is as in the seed.
	Snapshots []Snapshot `json:"snapshots"`
	Schedules []Schedule `json:"schedules"`
}

// load returns the store of the state file if there is one, otherwise that of the seed.
func (s *Server) load() (*store, error) {
	st := newStore()
	if s.cfg.StateFile != "" {
		saved, err := readState(s.cfg.StateFile)
		switch {
		case err == nil:
			return st, s.restore(st, saved)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("the state file: %w", err)
		}
	}
	for _, group := range s.cfg.Seed.Groups {
		for _, bucket := range group.Buckets {
			bucket.GroupID = group.ID
			st.addBucket(&bucket)
		}
	}
	s.seedBackups(st)
	return st, nil
}

// seedBackups adds the seed's snapshots and schedules, except those that are there already.
func (s *Server) seedBackups(st *store) {
	for _, seeded := range s.cfg.Seed.Groups {
		group := s.world.groups[seeded.ID]
		for i := range seeded.Clusters {
			cluster := group.clusters[seeded.Clusters[i].Name]
			if key := (clusterKey{group.ID, cluster.Name}); st.schedules[key] == nil {
				st.setSchedule(group.schedule(cluster, s.clock.now()))
			}
			for _, snapshot := range cluster.Snapshots {
				if st.snapshots[snapshot.ID] == nil {
					snapshot.GroupID, snapshot.ClusterName = group.ID, cluster.Name
					s.complete(&snapshot, cluster)
					st.addSnapshot(&snapshot)
				}
			}
		}
	}
}

func readState(file string) (*state, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var saved state
	if err := strictjson.Decode(data, &saved); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	if saved.Format != stateFormat {
		return nil, fmt.Errorf("%s has the format %d; this program reads %d", file, saved.Format, stateFormat)
	}
	return &saved, nil
}

// restore fills the store from a state file. An error names what the seed no longer has.
func (s *Server) restore(st *store, saved *state) error {
	for i := range saved.Buckets {
		bucket := &saved.Buckets[i]
		if s.world.groups[bucket.GroupID] == nil {
			return fmt.Errorf("the state file: %s: the seed has no group %s, of the bucket %s", s.cfg.StateFile, bucket.GroupID, bucket.ID)
		}
		st.addBucket(bucket)
	}
	s.clock.offset.Store(int64(saved.Advance))
	for i := range saved.Snapshots {
		snapshot := &saved.Snapshots[i]
		if s.world.cluster(snapshot.GroupID, snapshot.ClusterName) == nil {
			return fmt.Errorf("the state file: %s: the seed has no cluster %s in %s, of the snapshot %s",
				s.cfg.StateFile, snapshot.ClusterName, snapshot.GroupID, snapshot.ID)
		}
		st.addSnapshot(snapshot)
	}
	for i := range saved.Schedules {
		schedule := &saved.Schedules[i]
		if s.world.cluster(schedule.GroupID, schedule.ClusterName) == nil {
			return fmt.Errorf("the state file: %s: the seed has no cluster %s in %s, of a schedule",
				s.cfg.StateFile, schedule.ClusterName, schedule.GroupID)
		}
		st.setSchedule(schedule)
	}
	s.seedBackups(st)
	for i := range saved.Jobs {
		job := &saved.Jobs[i]
		if sn := st.snapshots[job.SnapshotID]; sn == nil || sn.GroupID != job.GroupID || sn.ClusterName != job.ClusterName {
			return fmt.Errorf("the state file: %s: the seed has no snapshot %s of %s in %s, of the job %s",
				s.cfg.StateFile, job.SnapshotID, job.ClusterName, job.GroupID, job.ID)
		}
		st.addJob(job)
	}
	return nil
}

// save brings the state file up to date, if there is one. A call that waits for another
// one to write returns without writing, if that one has saved its change as well.
func (s *Server) save() error {
	if s.cfg.StateFile == "" {
		return nil
	}
	s.store.mu.RLock()
	wanted := s.store.generation
	s.store.mu.RUnlock()
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.saved >= wanted && wanted > 0 {
		return nil
	}
	s.store.mu.RLock()
	generation, current := s.store.generation, s.store.state()
	s.store.mu.RUnlock()
	current.Advance = Duration(s.clock.offset.Load())
	data, err := json.MarshalIndent(current, "", "\t")
	if err == nil {
		err = writeFile(s.cfg.StateFile, append(data, '\n'))
	}
	if err != nil {
		var inner *fs.PathError
		if errors.As(err, &inner) {
			err = inner.Err // the outer error names the temporary file
		}
		return fmt.Errorf("the state file %s can't be written: %w", s.cfg.StateFile, err)
	}
	s.saved = generation
	return nil
}

func (st *store) state() state {
	current := state{Format: stateFormat, Buckets: []Bucket{}, Jobs: make([]Job, 0, len(st.allJobs)),
		Snapshots: make([]Snapshot, 0, len(st.allSnapshots)), Schedules: []Schedule{}}
	for _, id := range st.allJobs {
		current.Jobs = append(current.Jobs, *st.jobs[id])
	}
	for _, id := range st.allSnapshots {
		current.Snapshots = append(current.Snapshots, *st.snapshots[id])
	}
	for _, schedule := range st.schedules {
		current.Schedules = append(current.Schedules, *schedule)
	}
	slices.SortFunc(current.Schedules, func(a, b Schedule) int {
		return cmp.Or(strings.Compare(a.GroupID, b.GroupID), strings.Compare(a.ClusterName, b.ClusterName))
	})
	for _, ids := range st.bucketsOf {
		for _, id := range ids {
			current.Buckets = append(current.Buckets, *st.buckets[id])
		}
	}
	slices.SortStableFunc(current.Buckets, func(a, b Bucket) int { return strings.Compare(a.GroupID, b.GroupID) })
	return current
}

// writeFile replaces a file atomically.
func writeFile(name string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails if the file was renamed, as it should
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
