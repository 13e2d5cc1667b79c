package gateway

import "time"

// SetClock sets the clock that sunsets are held against. Call it before Serve.
func (g *Gateway) SetClock(now func() time.Time) { g.now = now }
