package callers

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// owner is a caller of the list, as its keys know it.
type owner struct {
	name     string
	disabled bool
	networks []netip.Prefix // empty where the caller may call from anywhere
	keys     []*key

	identities []identity
	accounts   []serviceAccount // whose secret is a token of an identity
}

// key is a key of the list, of any kind. It holds no secret.
type key struct {
	owner    *owner
	path     string // of its place in the Config
	form     Form
	id       string    // as the log names it
	notAfter time.Time // zero where the key has no end
	disabled bool
	number   int // its place in Directory.all
}

// caller returns the caller that a key proves.
func (k *key) caller() Caller { return Caller{Name: k.owner.name, Form: k.form, Key: k.id, key: k} }

// unusable returns why a key may not be used that was shown with the right secret, or "". Every
// way to prove who calls comes to it through [Authenticator.use].
func (k *key) unusable(now time.Time, r *http.Request) Reason {
	if reason := k.out(now); reason != "" {
		return reason
	}
	if !k.owner.callsFrom(r.RemoteAddr) {
		return SourceNetwork
	}
	return ""
}

// out returns why a key may be used by nobody, or "".
func (k *key) out(now time.Time) Reason {
	switch {
	case k.disabled || k.owner.disabled:
		return KeyDisabled
	case ended(k.notAfter, now):
		return KeyExpired
	}
	return ""
}

// ended reports whether now is after the end of a key, which has none where it is zero.
func ended(notAfter, now time.Time) bool { return !notAfter.IsZero() && now.After(notAfter) }

// callsFrom reports whether the owner may call from an address with its port.
func (o *owner) callsFrom(remote string) bool {
	if len(o.networks) == 0 {
		return true
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	address := peer.Addr().Unmap().WithZone("") // a prefix contains no address with a zone
	for _, network := range o.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// use returns why the key may not be used for a request, or "", and then notes its use.
func (a *Authenticator) use(k *key, r *http.Request) Reason {
	now := a.now()
	if reason := k.unusable(now, r); reason != "" {
		return reason
	}
	a.uses[k.number].note(now)
	return ""
}

// unusable says in words for the log why a key may not be used.
func (r Reason) unusable() string {
	switch r {
	case KeyDisabled:
		return "the key or its caller is disabled"
	case KeyExpired:
		return "the key's not_after has passed"
	}
	return "the connection comes from none of the caller's source_networks"
}

// addOwner adds a caller without its keys.
func (c *compiler) addOwner(at string, entry Entry) *owner {
	o := &owner{name: entry.Name, disabled: entry.Disabled}
	if entry.SourceNetworks != nil && len(entry.SourceNetworks) == 0 {
		c.refuse(at+".source_networks", "is empty, so that the caller could call from nowhere: leave it out, or disable the caller")
	}
	for i, text := range entry.SourceNetworks {
		network, err := parseNetwork(text)
		if err != nil {
			c.refuse(fmt.Sprintf("%s.source_networks[%d]", at, i), "%w", err)
		}
		o.networks = append(o.networks, network)
	}
	c.owners = append(c.owners, o)
	return o
}

// parseNetwork parses a prefix of IPv4 or IPv6. One of IPv4 addresses in IPv6 becomes one of IPv4,
// as the addresses do that are compared with it.
func parseNetwork(text string) (netip.Prefix, error) {
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

// addKey adds a key of any kind to its owner. The id is what log and metrics name it by.
func (c *compiler) addKey(o *owner, at string, form Form, id string, v Validity) *key {
	k := &key{owner: o, path: at, form: form, id: id, disabled: v.Disabled, number: len(c.all)}
	if v.NotAfter != "" {
		var err error
		if k.notAfter, err = time.Parse(time.RFC3339, v.NotAfter); err != nil || k.notAfter.IsZero() {
			c.refuse(at+".not_after", "expected a time as in RFC 3339, such as 2027-01-31T18:00:00Z")
		}
	}
	o.keys = append(o.keys, k)
	c.all = append(c.all, k)
	return k
}
