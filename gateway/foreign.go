package gateway

import (
	"net"
	"net/http"
	"net/url"
)

// refuseForeign refuses what a browser sends for a page of somewhere else. To listen on
// loopback, or inside a network, keeps other machines out, but not the pages that browsers
// show there: a page may send a request to any address (Origin, Sec-Fetch-Site), and a name
// that its owner resolves to 127.0.0.1 makes the gateway part of its own site (Host).
func refuseForeign(r *http.Request, publicURL string) error {
	public, err := url.Parse(publicURL)
	if err != nil {
		return err
	}
	if host := hostname(r.Host); r.Host != "" && !loopback(host) && (host == "" || host != public.Hostname()) {
		return refuse(kindForeign, nil, "The Host is not one of this gateway's; use localhost, a loopback address, or the host of listener.public_url.")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		from, err := url.Parse(origin)
		if err != nil || !loopback(from.Hostname()) && (from.Host == "" || from.Host != public.Host) {
			return refuse(kindForeign, nil, "The Origin is not this gateway's; pages of other sites may not use it.")
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return refuse(kindForeign, nil, "The request comes from a page of another site, which may not use this gateway.")
	}
	return nil
}

// hostname returns the host of a Host field, without its port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return (&url.URL{Host: host}).Hostname()
}
