package config

import (
	"fmt"

	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/internal/networks"
)

// trustedProxies checks who may say who the client is, and how.
func (b *builder) trustedProxies(l Listener) {
	if l.ClientAddress == "" {
		if l.TrustedProxies != nil {
			b.refuse("listener.trusted_proxies", "needs client_address, which says how the proxies name the client")
		}
		return
	}
	b.oneOf(l.ClientAddress, "listener.client_address", string(clientaddress.ProxyProtocol), string(clientaddress.Forwarded), string(clientaddress.XForwardedFor))
	if len(l.TrustedProxies) == 0 {
		b.refuse("listener.client_address", "needs trusted_proxies, the networks of the proxies")
	}
	b.parts.ClientAddress.How = clientaddress.How(l.ClientAddress)
	for i, text := range l.TrustedProxies {
		path := fmt.Sprintf("listener.trusted_proxies[%d]", i)
		network, err := networks.Parse(text)
		switch {
		case err != nil:
			b.refuse(path, "%w", err)
		case network.Bits() == 0:
			b.refuse(path, "is everybody, who could then call from any address: name the networks of the proxies")
		default:
			b.parts.ClientAddress.Networks = append(b.parts.ClientAddress.Networks, network)
		}
	}
}

// warnOfProxies warns where a caller may call from a trusted proxy: what does not name its client
// comes from there, too.
func (b *builder) warnOfProxies(c Callers) {
	for i, caller := range c.List {
		for j, text := range caller.SourceNetworks {
			network, err := networks.Parse(text)
			if err != nil { // which is refused
				continue
			}
			for _, proxy := range b.parts.ClientAddress.Networks {
				if network.Overlaps(proxy) {
					b.warn(fmt.Sprintf("callers.list[%d].source_networks[%d]", i, j), "has proxies of listener.trusted_proxies in it, %s: where a proxy says that it does not know its client, the address is the proxy's", proxy)
				}
			}
		}
	}
}
