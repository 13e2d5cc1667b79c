package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/inbound"
	"atlas-export-gateway/internal/hosts"
)

// authenticate finds out who calls, before a byte of the body is read. The connection of a request
// that passes is not evicted any more, so a create is never cut off between here and its answer.
// Before this step nothing of a request has reached Atlas.
func (g *Gateway) authenticate(x *exchange) error {
	if err := identify(x); err != nil {
		return err
	}
	return inbound.Keep(x.in.Context())
}

// identify finds out who calls.
func identify(x *exchange) error {
	s := x.settings
	// Where there are no keys to check, the credential of an anonymous caller is not looked at.
	// A certificate that is no caller's is not looked at either.
	if s.anonymous && (!s.listed || x.in.Header["Authorization"] == nil) && !s.authenticator.ByCertificate(x.in) {
		if err := refuseForeign(x.in, s.publicURL, s.hosts); err != nil {
			return err
		}
		if !firstLeg(x.in) {
			x.caller = callers.Anonymous()
			return nil
		}
	}
	caller, err := s.recognize(x.in, x.source.client.Addr())
	if err == nil && caller.Form == callers.Certificate {
		// A browser shows a certificate for the pages of other sites, too.
		err = refusePage(x.in, s.publicURL)
	}
	if refused, ok := errors.AsType[*callers.Refusal](err); ok {
		return &unauthenticated{refused, firstLeg(x.in)}
	}
	x.caller = caller
	return err
}

// recognize finds out whose key a request shows that comes from an address. A client of Digest signs
// the target that it asks its proxy for. A proxy that publishes the gateway below a path may have
// taken that path off since.
func (s *settings) recognize(r *http.Request, from netip.Addr) (callers.Caller, error) {
	if path := s.publicURL.Path; path != "" {
		asked := r.WithContext(r.Context()) // a copy
		asked.RequestURI = path + r.RequestURI
		caller, err := s.authenticator.Authenticate(asked, from)
		if refused, ok := errors.AsType[*callers.Refusal](err); !ok || refused.Reason != callers.Mismatched {
			return caller, err
		}
	}
	return s.authenticator.Authenticate(r, from)
}

// unauthenticated is a caller who is not let in.
type unauthenticated struct {
	*callers.Refusal
	firstLeg bool
}

func (e *unauthenticated) Unwrap() error { return e.Refusal }

// firstLeg reports whether a request may be the first leg of a client that authenticates by
// Digest and waits with its content for the challenge, as curl --digest does: it announces
// no content where there should be some, and bears no credential.
func firstLeg(r *http.Request) bool {
	return (r.Method == http.MethodPost || r.Method == http.MethodPatch) && r.ContentLength == 0 && r.Header["Authorization"] == nil
}

// foreignError is a request of a page of another site. Its text is for the caller.
type foreignError string

func (e foreignError) Error() string { return string(e) }

// refuseForeign refuses what a browser sends for a page of another site. A listener on loopback,
// or inside a network, keeps other machines out, but not the pages that browsers show there. A
// page may send a request to any address (Origin, Sec-Fetch-Site). A name that its owner resolves
// to 127.0.0.1 makes the gateway part of the owner's site (Host). public is the gateway's own
// URL, which may lack a host, and names are further names of the gateway.
func refuseForeign(r *http.Request, public *url.URL, names []string) error {
	if host := hostname(r.Host); r.Host != "" && !hosts.Loopback(host) && (host == "" || host != public.Hostname() && !named(names, host)) {
		return foreignError("The Host is not one of this gateway's; use localhost, a loopback address, the host of listener.public_url, or one of listener.hosts.")
	}
	return refusePage(r, public)
}

// refusePage refuses what a browser sends for a page of another site, to a host that is known to
// be the gateway's own.
func refusePage(r *http.Request, public *url.URL) error {
	if origin := r.Header.Get("Origin"); origin != "" {
		from, err := url.Parse(origin)
		if err != nil || !hosts.Loopback(from.Hostname()) && (from.Host == "" || from.Host != public.Host && from.Host != r.Host) {
			return foreignError("The Origin is not this gateway's; pages of other sites may not use it.")
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return foreignError("The request comes from a page of another site, which may not use this gateway.")
	}
	return nil
}

// named reports whether a host is one of the names. Case does not matter.
func named(names []string, host string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}

// hostname returns the host of a Host field, without its port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return (&url.URL{Host: host}).Hostname()
}
