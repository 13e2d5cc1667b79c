package inbound

import (
	"container/heap"
	"net/netip"
)

// queue is connections in the order in which they are evicted: of the origin that has the most,
// the oldest. Where several origins have the most, the oldest of all these connections is first.
type queue struct {
	groups  map[netip.Prefix]*group
	largest bySize
}

// group is the connections of one origin in a queue. A nil group has none.
type group struct {
	connections byArrival
	place       int // in the queue
}

func (g *group) count() int {
	if g == nil {
		return 0
	}
	return len(g.connections)
}

// oldest returns the connection that came first, nil if there is none.
func (g *group) oldest() *connection {
	if g == nil {
		return nil
	}
	return g.connections[0]
}

// of returns the group of an origin, nil if the queue has none of its connections.
func (q *queue) of(origin netip.Prefix) *group { return q.groups[origin] }

func (q *queue) add(c *connection) {
	g := q.groups[c.origin]
	if g == nil {
		if q.groups == nil {
			q.groups = map[netip.Prefix]*group{}
		}
		g = &group{connections: byArrival{c}}
		c.place = 0
		q.groups[c.origin] = g
		heap.Push(&q.largest, g)
		return
	}
	heap.Push(&g.connections, c)
	heap.Fix(&q.largest, g.place)
}

func (q *queue) remove(c *connection) {
	g := q.groups[c.origin]
	if g.count() == 1 { // first of all, as an empty group has no oldest connection
		heap.Remove(&q.largest, g.place)
		delete(q.groups, c.origin)
		return
	}
	heap.Remove(&g.connections, c.place)
	heap.Fix(&q.largest, g.place)
}

// byArrival is a heap of connections.
type byArrival []*connection

func (a byArrival) Len() int           { return len(a) }
func (a byArrival) Less(i, j int) bool { return a[i].arrival < a[j].arrival }
func (a byArrival) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

func (a *byArrival) Push(c any) {
	c.(*connection).place = len(*a)
	*a = append(*a, c.(*connection))
}

func (a *byArrival) Pop() any {
	last := len(*a) - 1
	c := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return c
}

// bySize is a heap of groups.
type bySize []*group

func (s bySize) Len() int { return len(s) }
func (s bySize) Less(i, j int) bool {
	a, b := s[i].connections, s[j].connections
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a[0].arrival < b[0].arrival
}

func (s bySize) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

func (s *bySize) Push(g any) {
	g.(*group).place = len(*s)
	*s = append(*s, g.(*group))
}

func (s *bySize) Pop() any {
	last := len(*s) - 1
	g := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return g
}
