// Package hosts tells loopback and link-local hosts, and those of Atlas, from all others. The gateway
// and its client decide by that where plain HTTP is allowed, which addresses are never Atlas's, and
// where nobody keeps the keys of creates. Package hosts resolves no names.
package hosts

import (
	"net"
	"net/netip"
	"strings"
)

// Loopback reports whether a host, without a port, is localhost or a loopback address.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// LoopbackAddress reports whether the host of an address of the form host:port is one of
// [Loopback]. An address without a host stands for all addresses of the machine, and is none.
func LoopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && Loopback(host)
}

// LinkLocal reports whether a host, without a port, is a link-local, unspecified or multicast
// address. The metadata services of clouds have link-local addresses.
func LinkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.Unmap().IsLinkLocalUnicast() || addr.Unmap().IsUnspecified() || addr.Unmap().IsMulticast())
}

// Atlas reports whether a host, without a port, is of a domain of Atlas's own.
func Atlas(host string) bool {
	host = "." + strings.ToLower(strings.TrimSuffix(host, "."))
	for _, domain := range []string{".mongodb.com", ".mongodbgov.com", ".mongodb.com.cn"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}
