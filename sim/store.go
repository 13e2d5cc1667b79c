package sim

import (
	"container/heap"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// store holds what requests change: buckets, jobs, snapshots and backup schedules. What is in it
// is replaced and never changed, so that it may be used after the lock is released.
type store struct {
	mu           sync.RWMutex
	generation   uint64 // rises with every change
	buckets      map[string]*Bucket
	jobs         map[string]*Job
	snapshots    map[string]*Snapshot
	schedules    map[clusterKey]*Schedule
	bucketsOf    map[string][]string     // ids by group, oldest first
	jobsOf       map[clusterKey][]string // ids by cluster, oldest first
	snapshotsOf  map[clusterKey][]string // ids by cluster, in the order in which they were added
	allJobs      []string                // ids, oldest first
	allSnapshots []string                // ids, in the order in which they were added
	active       map[string]struct{}     // ids of jobs that have not ended
	due          dueHeap
}

type clusterKey struct{ group, cluster string }

func newStore() *store {
	return &store{
		buckets:     map[string]*Bucket{},
		jobs:        map[string]*Job{},
		snapshots:   map[string]*Snapshot{},
		schedules:   map[clusterKey]*Schedule{},
		bucketsOf:   map[string][]string{},
		jobsOf:      map[clusterKey][]string{},
		snapshotsOf: map[clusterKey][]string{},
		active:      map[string]struct{}{},
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

func (st *store) addSnapshot(sn *Snapshot) {
	key := clusterKey{sn.GroupID, sn.ClusterName}
	st.snapshotsOf[key] = append(st.snapshotsOf[key], sn.ID)
	st.allSnapshots = append(st.allSnapshots, sn.ID)
	st.replaceSnapshot(sn)
}

func (st *store) replaceSnapshot(sn *Snapshot) {
	st.generation++
	st.snapshots[sn.ID] = sn
	if !sn.ended() {
		heap.Push(&st.due, due{sn.Ends, sn.ID})
	}
}

func (st *store) setSchedule(schedule *Schedule) {
	st.generation++
	st.schedules[clusterKey{schedule.GroupID, schedule.ClusterName}] = schedule
}

// dueNext returns what happens first, and when: the end of a job or of a snapshot, or the run of a
// schedule. The others are nil. Nothing is due if all of them are.
func (st *store) dueNext() (at time.Time, job *Job, snapshot *Snapshot, schedule *Schedule) {
	for len(st.due) > 0 {
		first := st.due[0]
		// What has its end moved is in the heap twice. Only one entry has its end.
		if j := st.jobs[first.id]; j != nil && !j.ended() && j.Ends.Equal(first.at) {
			at, job = first.at, j
			break
		}
		if sn := st.snapshots[first.id]; sn != nil && !sn.ended() && sn.Ends.Equal(first.at) {
			at, snapshot = first.at, sn
			break
		}
		heap.Pop(&st.due)
	}
	for _, s := range st.schedules {
		if run, _ := s.next(); !run.IsZero() && (at.IsZero() || run.Before(at)) {
			at, job, snapshot, schedule = run, nil, nil, s
		}
	}
	return at, job, snapshot, schedule
}

// due says when a job or a snapshot ends.
type due struct {
	at time.Time
	id string
}

// dueHeap implements heap.Interface. What ends first is on top.
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
