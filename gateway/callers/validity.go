package callers

import (
	"fmt"
	"net/netip"
	"time"

	"atlas-export-gateway/internal/networks"
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

// unusable returns why a key may not be used that was shown from an address with the right secret,
// or "". Every way to prove who calls comes to it through [Authenticator.use].
func (k *key) unusable(now time.Time, from netip.Addr) Reason {
	if reason := k.out(now); reason != "" {
		return reason
	}
	if !k.owner.callsFrom(from) {
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

// callsFrom reports whether the owner may call from an address.
func (o *owner) callsFrom(address netip.Addr) bool {
	return len(o.networks) == 0 || networks.Contain(o.networks, address)
}

// use returns why the key may not be used from an address, or "", and then notes its use.
func (a *Authenticator) use(k *key, from netip.Addr) Reason {
	now := a.now()
	if reason := k.unusable(now, from); reason != "" {
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
	return "the request comes from none of the caller's source_networks"
}

// addOwner adds a caller without its keys.
func (c *compiler) addOwner(at string, entry Entry) *owner {
	o := &owner{name: entry.Name, disabled: entry.Disabled}
	if entry.SourceNetworks != nil && len(entry.SourceNetworks) == 0 {
		c.refuse(at+".source_networks", "is empty, so that the caller could call from nowhere: leave it out, or disable the caller")
	}
	for i, text := range entry.SourceNetworks {
		network, err := networks.Parse(text)
		if err != nil {
			c.refuse(fmt.Sprintf("%s.source_networks[%d]", at, i), "%w", err)
		}
		o.networks = append(o.networks, network)
	}
	c.owners = append(c.owners, o)
	return o
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
