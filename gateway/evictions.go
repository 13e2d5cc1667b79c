package gateway

import "net/netip"

// newEvictions returns a rollup of the connections that are closed to make room, by their origins.
func (g *Gateway) newEvictions() *rollup[netip.Prefix] {
	return &rollup[netip.Prefix]{each: func(netip.Prefix) { g.metrics.ConnectionEvicted() }, write: func(count int, latest netip.Prefix) {
		g.log.Warn("connections of callers without a good credential were closed to make room; see limits.connections", "count", count, "latest_origin", latest.String())
	}}
}
