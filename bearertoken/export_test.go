package bearertoken

import "time"

// UseClock has a source read another clock. It may be called before the source is used.
func (s *Source) UseClock(now func() time.Time) { s.now = now }
