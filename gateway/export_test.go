package gateway

import "time"

// SetClock sets the clock that sunsets are compared with. Call it before Serve.
func (g *Gateway) SetClock(now func() time.Time) { g.now = now }
