package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/gateway/inbound"
	"atlas-export-gateway/internal/hosts"
)

// source is where a request comes from.
type source struct {
	// peer is the address of the connection's other end: of the client, or of the last proxy.
	peer string
	// client is the client's address: the peer's, or what a trusted proxy says. Its port is 0
	// where the proxy does not say it. It is zero where the peer has no address of IP, as on a
	// Unix socket.
	client netip.AddrPort
	// named says that a trusted proxy has named the client.
	named bool
}

// locate finds out where a request comes from. Whatever goes by the address of a client takes it
// from x.source. A preamble counts for as long as the peer is a trusted proxy.
func (x *exchange) locate() (err error) {
	trusted := x.settings.parts.ClientAddress
	peer, client := peerOf(x.in)
	ip, _ := netip.ParseAddrPort(peer)
	if !client.IsValid() || !trusted.Expects(ip.Addr()) {
		client, err = trusted.Client(ip, x.in.Header)
	}
	x.source = source{peer: peer, client: client, named: client != ip}
	return err
}

// peerOf returns the address of the peer of a request's connection, and that of the client where
// the peer has named it in a preamble. With HTTP/2, RemoteAddr of a request is the client's then.
func peerOf(r *http.Request) (peer string, client netip.AddrPort) {
	if peer, client = inbound.Addresses(r.Context()); peer == "" { // of another server than Serve's
		peer = r.RemoteAddr
	}
	return peer, client
}

// remote is the client's address for the records, with its port where that is known.
func (s source) remote() string {
	switch {
	case !s.named:
		return s.peer
	case s.client.Port() == 0:
		return s.client.Addr().String()
	}
	return s.client.String()
}

// proxy is the address of the proxy that has named the client, for the records; empty where none
// has.
func (s source) proxy() string {
	if !s.named {
		return ""
	}
	return s.peer
}

// private reports whether nobody can listen to a request between the client, or the proxy that
// ends TLS for it, and the gateway.
func private(r *http.Request) bool {
	peer, _ := peerOf(r)
	return r.TLS != nil || hosts.LoopbackAddress(peer)
}

// readPreamble reads the preamble of a connection whose peer is a trusted proxy.
func (g *Gateway) readPreamble(refused *rollup[badPreamble]) func(net.Conn) (netip.AddrPort, error) {
	return func(conn net.Conn) (client netip.AddrPort, err error) {
		peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err != nil || !g.settings.Load().parts.ClientAddress.Expects(peer.Addr()) {
			return client, nil
		}
		client, err = clientaddress.ReadPreamble(conn)
		if errors.Is(err, clientaddress.ErrPreamble) {
			refused.add(badPreamble{peer.Addr(), err})
		}
		return client, err
	}
}

// A badPreamble is a connection of a trusted proxy that was closed since it has no preamble.
type badPreamble struct {
	peer netip.Addr
	why  error
}

// newBadPreambles returns a rollup of connections.
func (g *Gateway) newBadPreambles() *rollup[badPreamble] {
	return &rollup[badPreamble]{each: func(badPreamble) { g.metrics.PreambleRefused() }, write: func(count int, latest badPreamble) {
		g.log.Warn("connections of trusted proxies were closed, since they did not say who the client is; see listener.client_address", "count", count, "latest_peer", latest.peer.String(), "latest_reason", latest.why.Error())
	}}
}
