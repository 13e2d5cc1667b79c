// Package networks reads networks of a configuration, and tells which addresses are in them. The
// gateway compares with them where a caller calls from, and which peers are proxies that it
// trusts.
package networks

import (
	"errors"
	"fmt"
	"net/netip"
)

// Parse parses a prefix of IPv4 or IPv6. One of IPv4 addresses in IPv6 becomes one of IPv4, as the
// addresses do that are compared with it. The error says what to write instead.
func Parse(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
			return network, fmt.Errorf("is an address: for this one alone, write %s/%d", address, address.BitLen())
		}
		return network, errors.New("expected a network, such as 10.1.0.0/16 or 2001:db8::/48")
	}
	if network.Masked() != network {
		return network, fmt.Errorf("has bits behind its first %d: did you mean %s?", network.Bits(), network.Masked())
	}
	if network.Addr().Is4In6() { // the first 96 bits are in the prefix: some of them are set
		return netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96), nil
	}
	return network, nil
}

// Contain reports whether an address is in one of the networks. The zero address is in none.
func Contain(networks []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("") // a prefix contains no address with a zone
	for _, network := range networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
