package digestauth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// An origin is a scheme, host and port (RFC 6454, section 4).
type origin struct {
	scheme    string
	authority string // as configured, the spelling that requests have as a rule
	hostPort  string // lower case, with the port
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

func parseOrigin(s string) (origin, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return origin{}, errors.New("digestauth: the origin is not a URL") // err would quote a password
	case defaultPorts[u.Scheme] == "":
		return origin{}, fmt.Errorf("digestauth: the scheme of the origin is %q, not https or http", u.Scheme)
	case u.User != nil:
		return origin{}, errors.New("digestauth: the origin contains user information")
	case u.Hostname() == "":
		return origin{}, errors.New("digestauth: the origin has no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return origin{}, errors.New("digestauth: the origin has more than a scheme, a host and a port")
	}
	return origin{u.Scheme, u.Host, hostPort(u.Scheme, u.Host)}, nil
}

// hostPort returns the authority in one spelling.
func hostPort(scheme, authority string) string {
	u := url.URL{Host: authority}
	port := u.Port()
	if port == "" {
		port = defaultPorts[scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func (o *origin) has(authority string) bool {
	return authority == o.authority || hostPort(o.scheme, authority) == o.hostPort
}

// check refuses requests that would go to, or name in their Host field, another origin. An opaque URL can name anything.
func (o *origin) check(req *http.Request) error {
	if u := req.URL; u == nil || u.Scheme != o.scheme || u.Opaque != "" || !o.has(u.Host) || req.Host != "" && !o.has(req.Host) {
		e := &OriginError{Origin: o.scheme + "://" + o.authority}
		if u != nil {
			e.Got = u.Scheme + "://" + u.Host
			if u.Host == "" || req.Host != "" && req.Host != u.Host {
				e.Got += " with the Host " + req.Host
			}
		}
		return e
	}
	return nil
}

// An OriginError says that a request was for another origin than the credential, and that nothing of it was sent. A client
// that follows a redirect to elsewhere gets it.
type OriginError struct {
	Origin string // the credential's
	Got    string // the request's: its scheme and host, and its Host field if that is another
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("digestauth: the credential is for %s, not for %q", e.Origin, e.Got)
}
