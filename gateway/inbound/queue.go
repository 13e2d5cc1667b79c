package inbound

import (
	"container/heap"
	"net/netip"
)

// queue is connections in the order in which they are evicted: of the origin that has the most, the
// oldest. Where several origins have the most, the oldest of all these connections is first.
type queue struct {
	groups  map[netip.Prefix]*group
	largest largest
}

// group is the connections of one origin in a queue. The zero group has none.
type group struct {
	connections oldest
	place       int // in the queue
}

func (g *group) count() int {
	if g == nil {
		return 0
	}
	return len(g.connections)
}

// of returns the group of an origin, nil if the queue has none of its connections.
func (q *queue) of(origin netip.Prefix) *group { return q.groups[origin] }

func (q *queue) add(c *connection) {
	g := q.groups[c.origin]
	if g == nil {
		if q.groups == nil {
			q.groups = map[netip.Prefix]*group{}
		}
		g = &group{connections: oldest{c}}
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

// oldest is a heap of connections.
type oldest []*connection

func (o oldest) Len() int           { return len(o) }
func (o oldest) Less(i, j int) bool { return o[i].arrival < o[j].arrival }
func (o oldest) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

func (o *oldest) Push(c any) {
	c.(*connection).place = len(*o)
	*o = append(*o, c.(*connection))
}

func (o *oldest) Pop() any {
	last := len(*o) - 1
	c := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return c
}

// largest is a heap of groups.
type largest []*group

func (l largest) Len() int { return len(l) }
func (l largest) Less(i, j int) bool {
	a, b := l[i].connections, l[j].connections
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a[0].arrival < b[0].arrival
}

func (l largest) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

func (l *largest) Push(g any) {
	g.(*group).place = len(*l)
	*l = append(*l, g.(*group))
}

func (l *largest) Pop() any {
	last := len(*l) - 1
	g := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return g
}
