package sim

import (
	"bytes"
	"container/heap"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"atlas-export-gateway/internal/strictjson"
)

// store holds what requests change: buckets and jobs. A Bucket or Job in it is replaced
// and never changed, so that it may be used after the lock is released.
type store struct {
	mu         sync.RWMutex
	generation uint64 // rises with every change
	buckets    map[string]*Bucket
	jobs       map[string]*Job
	bucketsOf  map[string][]string     // ids by group, oldest first
	jobsOf     map[clusterKey][]string // ids by cluster, oldest first
	allJobs    []string                // ids, oldest first
	active     map[string]struct{}     // ids of jobs that have not ended
	due        dueHeap
}

type clusterKey struct{ group, cluster string }

func newStore() *store {
	return &store{
		buckets:   map[string]*Bucket{},
		jobs:      map[string]*Job{},
		bucketsOf: map[string][]string{},
		jobsOf:    map[clusterKey][]string{},
		active:    map[string]struct{}{},
	}
}

// addBucket adds a bucket. Callers of this and of the methods below hold the lock.
func (st *store) addBucket(b *Bucket) {
	st.generation++
	st.buckets[b.ID] = b
	st.bucketsOf[b.GroupID] = append(st.bucketsOf[b.GroupID], b.ID)
}

func (st *store) removeBucket(b *Bucket) {
	st.generation++
	delete(st.buckets, b.ID)
	st.bucketsOf[b.GroupID] = slices.DeleteFunc(st.bucketsOf[b.GroupID], func(id string) bool { return id == b.ID })
}

func (st *store) addJob(j *Job) {
	st.generation++
	st.jobs[j.ID] = j
	key := clusterKey{j.GroupID, j.ClusterName}
	st.jobsOf[key] = append(st.jobsOf[key], j.ID)
	st.allJobs = append(st.allJobs, j.ID)
	if !j.ended() {
		st.active[j.ID] = struct{}{}
		heap.Push(&st.due, due{j.Ends, j.ID})
	}
}

func (st *store) replaceJob(j *Job) {
	st.generation++
	st.jobs[j.ID] = j
	if j.ended() {
		delete(st.active, j.ID)
	} else {
		heap.Push(&st.due, due{j.Ends, j.ID})
	}
}

// nextDue returns the active job that ends first, or nil.
func (st *store) nextDue() *Job {
	for len(st.due) > 0 {
		first := st.due[0]
		// A job whose end was moved is in the heap twice. Only one entry has its end.
		if j := st.jobs[first.id]; !j.ended() && j.Ends.Equal(first.at) {
			return j
		}
		heap.Pop(&st.due)
	}
	return nil
}

// due says when a job ends.
type due struct {
	at time.Time
	id string
}

// dueHeap implements heap.Interface. The first job to end is on top.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// newID returns an id as Atlas makes them: the time in seconds, then random bytes.
func newID(now time.Time) string {
	var id [12]byte
	rand.Read(id[4:]) // never fails
	binary.BigEndian.PutUint32(id[:4], uint32(now.Unix()))
	return hex.EncodeToString(id[:])
}

// stateFormat is the version of the state file's format.
const stateFormat = 1

// state is the content of the state file: everything that a restart must not lose.
type state struct {
	Format  int      `json:"format"`
	Advance Duration `json:"advance"` // how far Server.Advance has moved the clock
	Buckets []Bucket `json:"buckets"`
	Jobs    []Job    `json:"jobs"`
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
	return st, nil
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
	for i := range saved.Jobs {
		job := &saved.Jobs[i]
		if s.clusterOf(job) == nil || s.clusterOf(job).snapshot(job.SnapshotID) == nil {
			return fmt.Errorf("the state file: %s: the seed has no snapshot %s of %s in %s, of the job %s",
				s.cfg.StateFile, job.SnapshotID, job.ClusterName, job.GroupID, job.ID)
		}
		st.addJob(job)
	}
	s.clock.offset.Store(int64(saved.Advance))
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
	current := state{Format: stateFormat, Buckets: []Bucket{}, Jobs: make([]Job, 0, len(st.allJobs))}
	for _, id := range st.allJobs {
		current.Jobs = append(current.Jobs, *st.jobs[id])
	}
	for _, ids := range st.bucketsOf {
		for _, id := range ids {
			current.Buckets = append(current.Buckets, *st.buckets[id])
		}
	}
	slices.SortStableFunc(current.Buckets, func(a, b Bucket) int { return bytes.Compare([]byte(a.GroupID), []byte(b.GroupID)) })
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

// clusterOf returns the cluster of a job, or nil if the seed does not have it.
func (s *Server) clusterOf(j *Job) *Cluster {
	group := s.world.groups[j.GroupID]
	if group == nil {
		return nil
	}
	return group.clusters[j.ClusterName]
}
