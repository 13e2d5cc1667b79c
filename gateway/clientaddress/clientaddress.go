// Package clientaddress reads what trusted proxies in front of the gateway say of who the client is: by
// a preamble of the PROXY protocol on each connection, or by a field of each request. The gateway
// calls it before it looks at anything else of a connection or a request.
//
// It believes peers of the networks that it is given, and nobody else. It refuses what is not
// written as the protocol has it, since whoever guesses what was meant can be led to a wrong
// address.
package clientaddress

import (
	"fmt"
	"net/http"
	"net/netip"

	"atlas-export-gateway/internal/networks"
)

// How is the way in which proxies say who the client is: a value of listener.client_address.
type How string

// The ways. Their names are those of nginx's real_ip_header and of the fields.
const (
	// ProxyProtocol is a preamble on each connection, by version 1 or 2 of HAProxy's PROXY
	// protocol.
	ProxyProtocol How = "proxy_protocol"
	// Forwarded is the field of RFC 7239.
	Forwarded How = "forwarded"
	// XForwardedFor is the field that was used before RFC 7239, and still is.
	XForwardedFor How = "x_forwarded_for"
)

// Config says whom the gateway believes. The zero value believes nobody.
type Config struct {
	// Networks have the proxies, and nobody else: whoever is in one may claim any address.
	Networks []netip.Prefix
	// How is the way in which the proxies say who the client is, or empty.
	How How
}

// Expects reports whether connections of a peer begin with a preamble.
func (c Config) Expects(peer netip.Addr) bool {
	return c.How == ProxyProtocol && networks.Contain(c.Networks, peer)
}

// A FieldError is a field of a trusted proxy that does not say who the client is. It quotes
// nothing of the field.
type FieldError struct {
	Name string // of the field
	What string // is wrong with it
}

func (e *FieldError) Error() string { return fmt.Sprintf("the %s field %s", e.Name, e.What) }

// maxHops bounds the proxies that a field may name.
const maxHops = 32

// Client returns the client of a request, by the header of the request and the peer that sent it.
// It is the last address of the field that is in none of the Networks, or the first one if all
// are: each trusted proxy adds the address of its own peer, and what stands before is anybody's
// claim. The port is 0 where it is not known. The client is the peer where the peer is not
// trusted, and where a trusted proxy says that it does not know its client, or does not tell. A
// trusted proxy that sends no field is refused: a client may have had it removed, by naming it in
// Connection. The error is a *[FieldError].
func (c Config) Client(peer netip.AddrPort, header http.Header) (netip.AddrPort, error) {
	var name string
	var split func(line string) ([]node, error)
	switch c.How {
	case Forwarded:
		name, split = "Forwarded", splitForwarded
	case XForwardedFor:
		name, split = "X-Forwarded-For", splitXForwardedFor
	default:
		return peer, nil
	}
	if !networks.Contain(c.Networks, peer.Addr()) {
		return peer, nil
	}
	// Each proxy may add to the last line, or begin one of its own. No element goes on in the next
	// line, not even in quotes.
	var hops []node
	for _, line := range header[name] {
		found, err := split(line)
		if err != nil {
			return peer, &FieldError{name, err.Error()}
		}
		if hops = append(hops, found...); len(hops) > maxHops {
			return peer, &FieldError{name, fmt.Sprintf("has more than %d elements", maxHops)}
		}
	}
	if len(hops) == 0 {
		return peer, &FieldError{name, "is missing"}
	}
	client := peer
	for i := len(hops) - 1; i >= 0 && networks.Contain(c.Networks, client.Addr()); i-- {
		address, known, err := hops[i].parse(c.How == XForwardedFor)
		if err != nil {
			return peer, &FieldError{name, err.Error()}
		}
		if !known {
			return peer, nil
		}
		client = address
	}
	return client, nil
}
