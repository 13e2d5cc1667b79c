package budget

import (
	"cmp"
	"slices"
	"time"
)

// State is what the metrics say of a Budget.
type State struct {
	// Waiting is how many requests wait for their turn, by the name of the class.
	Waiting map[string]int
	// Paused is how many buckets Atlas takes nothing from now, and Out how many are out.
	Paused, Out int
	// Least are the buckets with the least left, at most as many as were asked for.
	Least []Bucket
}

// Bucket is one of Atlas's buckets.
type Bucket struct {
	// Group is empty for what has no group. Endpoints is backup, clusters, cloudProviderAccess or
	// groups.
	Group, Endpoints string
	// Left is how many requests are left, as far as is known.
	Left float64
	// Pause is how long Atlas takes nothing.
	Pause time.Duration
}

// State returns the state, with the least buckets that have the least left.
func (b *Budget) State(least int) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	state := State{Waiting: map[string]int{}}
	for c := range classes {
		state.Waiting[c.String()] = 0
	}
	for _, s := range b.buckets {
		s.fill(now)
		if now.Before(s.paused) {
			state.Paused++
		}
		if s.out {
			state.Out++
		}
		for c := range classes {
			state.Waiting[c.String()] += s.queues[c].waiting
		}
		state.Least = append(state.Least, Bucket{s.key.group, s.key.endpoints, max(0, s.level), max(0, s.paused.Sub(now))})
	}
	slices.SortFunc(state.Least, func(x, y Bucket) int {
		return cmp.Or(cmp.Compare(x.Left, y.Left), cmp.Compare(x.Group, y.Group), cmp.Compare(x.Endpoints, y.Endpoints))
	})
	state.Least = state.Least[:min(least, len(state.Least))]
	return state
}
