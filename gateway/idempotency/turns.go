package idempotency

import "sync"

// turns bound the looks at Atlas's lists, which cost requests that callers need as well. A group has
// one at a time, so that a group whose lists hang keeps no other from its turn.
type turns struct {
	all chan struct{} // one for each look that is under way

	mu     sync.Mutex
	groups map[string]*turn
}

// turn is what the looks of one group wait for.
type turn struct {
	one  chan struct{}
	used int // by looks that have it or wait for it
}

// take waits for the turn of a group, and returns what ends it. It is not ok if ended is closed
// before.
func (t *turns) take(group string, ended <-chan struct{}) (end func(), ok bool) {
	g := t.join(group)
	select {
	case g.one <- struct{}{}:
	case <-ended:
		t.leave(group, g)
		return nil, false
	}
	select {
	case t.all <- struct{}{}:
	case <-ended:
		<-g.one
		t.leave(group, g)
		return nil, false
	}
	return func() {
		<-t.all
		<-g.one
		t.leave(group, g)
	}, true
}

func (t *turns) join(group string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[group]
	if g == nil {
		g = &turn{one: make(chan struct{}, 1)}
		t.groups[group] = g
	}
	g.used++
	return g
}

func (t *turns) leave(group string, g *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.used--; g.used == 0 {
		delete(t.groups, group)
	}
}
