package sim

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"atlas-export-gateway/gen"
)

// findSnapshot returns a snapshot of a cluster that Atlas has not deleted.
func (s *Server) findSnapshot(x *exchange, c *Cluster, id string, now time.Time) (*Snapshot, error) {
	if !objectID.MatchString(id) {
		return nil, failure(http.StatusNotFound, "INVALID_SNAPSHOT_ID", "An invalid snapshot ID %s was specified.", id)
	}
	s.store.mu.RLock()
	sn := s.store.snapshots[id]
	s.store.mu.RUnlock()
	if sn == nil || sn.GroupID != x.group.ID || sn.ClusterName != c.Name || sn.goneAt(now) {
		return nil, failure(http.StatusNotFound, "SNAPSHOT_NOT_FOUND", "No snapshot with ID %s exists for cluster %s.", id, c.Name)
	}
	return sn, nil
}

// getSnapshot answers a snapshot, of a replica set or of a sharded cluster. Inferred: the paths of
// one kind don't have the snapshots of the other.
func (s *Server) getSnapshot(ctx context.Context, cluster, id string, sharded bool) error {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	now := s.clock.now()
	sn, err := s.findSnapshot(x, c, id, now)
	if err == nil && c.Sharded != sharded {
		err = failure(http.StatusNotFound, "SNAPSHOT_NOT_FOUND", "No snapshot with ID %s exists for cluster %s.", id, c.Name)
	}
	if err != nil {
		return err
	}
	return x.reply(s.snapshotAnswer(x, c, sn, now))
}

// listSnapshots returns the snapshots of a cluster, newest first, if the cluster is of a kind.
// Their order is inferred.
func (s *Server) listSnapshots(x *exchange, c *Cluster, sharded bool, now time.Time) []*Snapshot {
	if c.Sharded != sharded {
		return nil
	}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	var list []*Snapshot
	for _, id := range s.store.snapshotsOf[clusterKey{x.group.ID, c.Name}] {
		if sn := s.store.snapshots[id]; !sn.goneAt(now) {
			list = append(list, sn)
		}
	}
	slices.SortStableFunc(list, func(a, b *Snapshot) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list
}

// replySnapshots answers a page of replica-set snapshots. The parameters for a point in time are
// accepted and have no effect.
func (s *Server) replySnapshots(ctx context.Context, cluster string, num, size *int, count *bool) error {
	p, err := newPage(num, size, count)
	if err != nil {
		return err
	}
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	now := s.clock.now()
	list := s.listSnapshots(x, c, false, now)
	from, to := p.bounds(len(list))
	return x.reply(listAnswer(s.links(x, p, len(list)), s.snapshotAnswers(x, c, list[from:to], now), p.total(len(list))))
}

// replyShardedSnapshots answers the snapshots of a sharded cluster, which has no pages. Inferred:
// its link is that to itself, and totalCount is there.
func (s *Server) replyShardedSnapshots(ctx context.Context, cluster string) error {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	now := s.clock.now()
	list := s.listSnapshots(x, c, true, now)
	return x.reply(listAnswer(&[]gen.Link{{Rel: ptr("self"), Href: ptr(s.origin(x) + x.path)}}, s.snapshotAnswers(x, c, list, now), ptr(len(list))))
}

// listAnswer is a list as Atlas answers it.
func listAnswer(links *[]gen.Link, results []map[string]any, total *int) map[string]any {
	list := map[string]any{"links": links, "results": results}
	if total != nil {
		list["totalCount"] = *total
	}
	return list
}

func (s *Server) snapshotAnswers(x *exchange, c *Cluster, list []*Snapshot, now time.Time) []map[string]any {
	answers := make([]map[string]any, len(list))
	for i, sn := range list {
		answers[i] = s.snapshotAnswer(x, c, sn, now)
	}
	return answers
}

// snapshotAnswer is a snapshot as Atlas answers it. That of a replica set is as recorded: its
// replicaSetName is the name of the cluster. That of a sharded cluster has the documented members.
func (s *Server) snapshotAnswer(x *exchange, c *Cluster, sn *Snapshot, now time.Time) map[string]any {
	url := s.clusterURL(x, c)
	self := "/backup/snapshots/"
	a := map[string]any{
		"id":               sn.ID,
		"expiresAt":        toSecond(sn.ExpiresAt),
		"frequencyType":    sn.FrequencyType,
		"policyItems":      append([]string{}, sn.PolicyItems...),
		"snapshotType":     sn.SnapshotType,
		"status":           sn.statusAt(now),
		"storageSizeBytes": 0,
	}
	if sn.Status == snapshotCompleted {
		a["storageSizeBytes"] = sn.StorageSizeBytes
	}
	if sn.Description != "" {
		a["description"] = sn.Description
	}
	known := sn.knownAt(now)
	if known {
		a["createdAt"] = toSecond(sn.CreatedAt)
		a["mongodVersion"] = sn.MongodVersion
	}
	if c.Sharded {
		self += "shardedCluster/"
		parts := []map[string]any{}
		for i, id := range sn.members(c) {
			part := map[string]any{"id": id, "replicaSetName": c.ReplicaSets[i]}
			if known {
				part["cloudProvider"] = c.provider()
			}
			parts = append(parts, part)
		}
		a["type"], a["configServerType"] = "shardedCluster", "EMBEDDED"
		a["members"], a["snapshotIds"] = parts, sn.members(c)
	} else {
		a["type"], a["copyRegions"], a["replicaSetName"] = "replicaSet", []string{}, c.Name
		if known {
			a["cloudProvider"] = c.provider()
		}
	}
	a["links"] = []gen.Link{
		{Rel: ptr("self"), Href: ptr(url + self + sn.ID)},
		{Rel: ptr("https://cloud.mongodb.com/cluster"), Href: &url},
	}
	return a
}

func (c *Cluster) provider() string { return cmp.Or(c.CloudProvider, "AWS") }

// takeSnapshot begins an on-demand snapshot. Inferred: without retentionInDays it is kept for a
// day.
func (s *Server) takeSnapshot(ctx context.Context, cluster string, request *gen.SnapshotRequest) error {
	x := exchangeOf(ctx)
	c, err := x.cluster(cluster)
	if err != nil {
		return err
	}
	now := s.clock.now()
	days := 1
	if request.RetentionInDays != nil {
		days = *request.RetentionInDays
	}
	sn := &Snapshot{ID: newID(now), GroupID: x.group.ID, ClusterName: c.Name, SnapshotType: onDemand}
	if request.Description != nil {
		sn.Description = *request.Description
	}
	s.begin(sn, now, now.AddDate(0, 0, days).Sub(now))
	s.complete(sn, c)
	if err := s.addOnDemand(sn); err != nil {
		return err
	}
	s.record.counters.snapshots.Add(1)
	if err := s.save(); err != nil {
		return err
	}
	s.wakeUp()
	return x.reply(s.snapshotAnswer(x, c, sn, now))
}

// addOnDemand adds an on-demand snapshot, unless the cluster has another that has not ended.
func (s *Server) addOnDemand(sn *Snapshot) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, id := range s.store.snapshotsOf[clusterKey{sn.GroupID, sn.ClusterName}] {
		if other := s.store.snapshots[id]; other.SnapshotType == onDemand && !other.ended() {
			return failure(http.StatusBadRequest, "UNFINISHED_ON_DEMAND_SNAPSHOT", "Another on-demand snapshot is queued or in progress.")
		}
	}
	s.store.addSnapshot(sn)
	return nil
}

// Snapshots returns all snapshots with their current statuses, in the order in which they were
// added. It includes those that Atlas has deleted.
func (s *Server) Snapshots() []Snapshot {
	now := s.clock.now()
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	snapshots := make([]Snapshot, 0, len(s.store.allSnapshots))
	for _, id := range s.store.allSnapshots {
		sn := *s.store.snapshots[id]
		sn.Status = sn.statusAt(now)
		snapshots = append(snapshots, sn)
	}
	return snapshots
}

// AddSnapshot adds a snapshot to the cluster that its GroupID and ClusterName name, with the
// defaults of a seed, and returns it. Without an ID it gets one. The error says what Atlas could
// not have.
func (s *Server) AddSnapshot(sn Snapshot) (Snapshot, error) {
	c := s.world.cluster(sn.GroupID, sn.ClusterName)
	if c == nil {
		return sn, fmt.Errorf("there is no cluster %q in the group %q", sn.ClusterName, sn.GroupID)
	}
	if member, err := sn.check(); err != nil {
		return sn, fmt.Errorf("%s: %w", member, err)
	}
	sn.ID = cmp.Or(sn.ID, newID(s.clock.now()))
	if !objectID.MatchString(sn.ID) {
		return sn, fmt.Errorf("id: %q is not 24 hexadecimal digits in lower case", sn.ID)
	}
	sn.Starts, sn.Ends, sn.Kept, sn.EndsAs = time.Time{}, time.Time{}, 0, "" // the simulation's own
	s.complete(&sn, c)
	s.store.mu.Lock()
	if s.store.snapshots[sn.ID] != nil {
		s.store.mu.Unlock()
		return sn, fmt.Errorf("id: there is a snapshot %s already", sn.ID)
	}
	s.store.addSnapshot(&sn)
	s.store.mu.Unlock()
	s.wakeUp()
	return sn, s.save()
}
