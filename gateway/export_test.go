package gateway

import "time"

// SetClock sets the clock that sunsets and the ends of keys are compared with. Call it before
// Serve.
func (g *Gateway) SetClock(now func() time.Time) { g.now = now }

// LookEvery sets the time between two looks at the uses of callers' keys. Call it before Serve.
func (g *Gateway) LookEvery(d time.Duration) { g.lookEvery = d }

// Occurrence is occurrence.
var Occurrence = occurrence
