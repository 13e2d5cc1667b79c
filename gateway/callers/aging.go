package callers

import "container/heap"

// aging is a map whose oldest keys can be dropped.
type aging[K comparable, V any] struct {
	values map[K]V
	order  ages[K]
}

func (a *aging[K, V]) add(key K, value V, at int64) {
	if a.values == nil {
		a.values = map[K]V{}
	}
	a.values[key] = value
	heap.Push(&a.order, age[K]{key, at})
}

// drop drops the oldest key and returns its time.
func (a *aging[K, V]) drop() int64 {
	oldest := heap.Pop(&a.order).(age[K])
	delete(a.values, oldest.key)
	return oldest.at
}

type age[K comparable] struct {
	key K
	at  int64
}

// ages is a heap with the oldest key first.
type ages[K comparable] []age[K]

func (a ages[K]) Len() int           { return len(a) }
func (a ages[K]) Less(i, j int) bool { return a[i].at < a[j].at }
func (a ages[K]) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *ages[K]) Push(x any)        { *a = append(*a, x.(age[K])) }
func (a *ages[K]) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}
