package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/outbound"
)

func (b *builder) listener(l Listener) {
	good := b.address(l.Address, "listener.address")
	if l.PublicURL != "" {
		public, err := parsePublicURL(l.PublicURL)
		if err != nil {
			b.refuse("listener.public_url", "%w", err)
		}
		b.parts.PublicURL = public
	}
	for i, host := range l.Hosts {
		if !hostName.MatchString(host) {
			b.refuse(fmt.Sprintf("listener.hosts[%d]", i), "is %q; expected a name or an address, without scheme and port", host)
		}
	}
	if strings.Contains(l.PublicURL, "404") {
		// The provider looks for these digits in the text of an error, which begins with the URL.
		b.warn("listener.public_url", "holds 404, so that Terraform's provider takes every error for the news that an export bucket or job was deleted; choose another name or port")
	}
	b.listenerTLS(l, good)
	b.trustedProxies(l)
}

// hostName is what the host of a Host field looks like.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$`)

// publicPath is a path that links may have in front of Atlas's.
var publicPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

// parsePublicURL returns a public URL in the form that links have. It refuses a path that
// intermediaries may read in different ways.
func parsePublicURL(text string) (string, error) {
	path := ""
	u, err := url.Parse(text)
	if err == nil && u.Host != "" {
		path = strings.TrimSuffix(u.EscapedPath(), "/")
		u.Path, u.RawPath = "", ""
		text = u.String()
	}
	origin, err := outbound.ParseOrigin(text)
	if err == nil && !publicPath.MatchString(path) {
		err = errors.New("has a path with an empty segment, or with other characters than letters, digits, '-', '.', '_' and '~'")
	}
	return origin.String() + path, err
}

func (b *builder) management(m Management) {
	b.address(m.Address, "management.address")
	if l := b.parts.Config.Listener; m.Address == l.Address && !strings.HasSuffix(l.Address, ":0") {
		b.refuse("management.address", "is the listener's; operators have a listener of their own")
	}
}

func (b *builder) upstream(u Upstream) {
	base, err := outbound.ParseOrigin(u.BaseURL)
	switch host := base.URL().Hostname(); {
	case err != nil:
		b.refuse("upstream.base_url", "%w", err)
	case base.Scheme() == "http" && !hosts.Loopback(host):
		b.refuse("upstream.base_url", "http is for a loopback address only; use https")
	case hosts.LinkLocal(host):
		b.refuse("upstream.base_url", "a link-local address is never Atlas")
	}
	roots, err := certificates(u.CAFile)
	if err != nil {
		b.refuse("upstream.ca_file", "%w", err)
	}
	b.parts.Atlas = atlas.Config{
		Origin:         base.String(),
		Realm:          u.Realm,
		Roots:          roots.Pool(),
		Proxy:          b.proxy(u),
		MaxConnections: u.MaxConnections,
		MaxResponse:    b.parts.Config.Limits.ResponseBody,
		Timeout:        b.parts.Config.Timeouts.Upstream,
	}
	if len(u.Credentials) == 0 {
		b.refuse("upstream.credentials", "is required: the API key that signs what is forwarded")
	}
	for i, source := range u.Credentials {
		b.parts.Atlas.Credentials = append(b.parts.Atlas.Credentials, b.credential(fmt.Sprintf("upstream.credentials[%d]", i), source))
	}
	b.warnOfUnused(u.Credentials)
}

func (b *builder) callers(c Callers) {
	// What is no address is refused by itself, and says nothing about who may call.
	address := b.parts.Config.Listener.Address
	here := hosts.LoopbackAddress(address) || !isAddress(address)
	switch {
	case !c.Anonymous && len(c.List) == 0:
		b.refuse("callers", "is required: list callers, or set callers.anonymous to true to let everyone on a loopback listener in")
	case c.Anonymous && !here && !c.AllowAnonymousOffLoopback:
		b.refuse("callers.anonymous", "is for a listener on a loopback address, such as 127.0.0.1:8080, unless allow_anonymous_off_loopback lets every machine that reaches it do everything")
	case c.Anonymous && !here && b.parts.Config.Listener.PublicURL == "" && len(b.parts.Config.Listener.Hosts) == 0:
		b.refuse("listener.public_url", "is required with callers.allow_anonymous_off_loopback, or listener.hosts: requests must name one of these hosts")
	}
	b.warnOfMode("callers.signing_key_file", c.SigningKeyFile)
	b.parts.Policies = map[string]*policy.Policy{}
	known := callers.Config{Settings: c.Settings, Issuers: c.Issuers}
	for i, caller := range c.List {
		known.List = append(known.List, caller.Entry)
		if n := caller.RequestsPerMinute; n < 0 || n > 1_000_000 {
			b.refuse(fmt.Sprintf("callers.list[%d].requests_per_minute", i), "is %d; expected 1 to 1000000", n)
		}
		b.needsClientCAs(fmt.Sprintf("callers.list[%d]", i), caller.Entry)
		for j, pair := range caller.KeyPairs {
			b.warnOfMode(fmt.Sprintf("callers.list[%d].key_pairs[%d].ha1_file", i, j), pair.HA1File)
		}
		b.parts.Policies[caller.Name] = policy.Compile(caller.Name, fmt.Sprintf("callers.list[%d].grants", i), caller.Grants, b.operations, b.refuse)
	}
	// Without a file, a key is made up on loopback, where only one process signs nonces and
	// tokens.
	b.parts.Callers = callers.Compile(known, here, func(path, format string, args ...any) { b.refuse("callers."+path, format, args...) })
	b.warnOfProxies(c)
	if b.parts.Callers != nil {
		b.warnOfEnded(b.parts.Callers.List(), time.Now())
	}
}

// warnOfEnded warns of keys whose not_after has passed.
func (b *builder) warnOfEnded(list []callers.Listed, now time.Time) {
	for _, caller := range list {
		for _, key := range caller.Keys {
			if key.Expired(now) {
				b.warn("callers."+key.Path+".not_after", "has passed: the key of %s is refused", caller.Name)
			}
		}
	}
}

// requests checks how strictly requests are held to the contract, and warns where they are not.
func (b *builder) requests(c *Config) {
	const reported = "is report: requests that break nothing but schemas of the contract are forwarded, counted and logged"
	b.oneOf(c.Requests.Check, "requests.check", "enforce", Report)
	if c.Requests.Check == Report {
		b.warn("requests.check", reported)
	}
	for i, caller := range c.Callers.List {
		path := fmt.Sprintf("callers.list[%d].requests_check", i)
		b.oneOf(cmp.Or(caller.RequestsCheck, "enforce"), path, "enforce", Report)
		if caller.RequestsCheck == Report {
			b.warn(path, reported)
		}
	}
}

// bounds refuses numbers and times that are out of range. The upper bounds are far beyond any use,
// and far below what overflows.
func (b *builder) bounds(c *Config) {
	const many = 1_000_000
	for path, number := range map[string]struct{ value, most int }{
		"upstream.max_connections": {c.Upstream.MaxConnections, many},
		"limits.request_header":    {c.Limits.RequestHeader, 1 << 20},
		"limits.request_body":      {c.Limits.RequestBody, 64 << 20},
		"limits.response_body":     {c.Limits.ResponseBody, 256 << 20},
		"limits.in_flight":         {c.Limits.InFlight, many},
		"limits.request_values":    {c.Limits.RequestValues, many},
		"limits.connections":       {c.Limits.Connections, many},
		"responses.sample":         {c.Responses.Sample, many},
		"creates.open_per_caller":  {c.Creates.OpenPerCaller, many},
		"reads.kept_bytes":         {c.Reads.KeptBytes, 256 << 20},
		"budget.requests":          {c.Budget.Requests, many},
		"budget.per_minute":        {c.Budget.PerMinute, many},
		"budget.attempts":          {c.Budget.Attempts, 10},
		"tracing.sample":           {cmp.Or(c.Tracing.Sample, 1), many},
	} {
		if number.value < 1 || number.value > number.most {
			b.refuse(path, "is %d; expected 1 to %d", number.value, number.most)
		}
	}
	for path, bound := range map[string]struct {
		value, least, most time.Duration
		expected           string
	}{
		"timeouts.header":    {c.Timeouts.Header, time.Millisecond, time.Hour, "1ms to 1h"},
		"timeouts.request":   {c.Timeouts.Request, time.Millisecond, time.Hour, "1ms to 1h"},
		"timeouts.upstream":  {c.Timeouts.Upstream, time.Millisecond, time.Hour, "1ms to 1h"},
		"timeouts.idle":      {c.Timeouts.Idle, time.Millisecond, time.Hour, "1ms to 1h"},
		"timeouts.drain":     {c.Timeouts.Drain, time.Millisecond, time.Hour, "1ms to 1h"},
		"timeouts.shutdown":  {c.Timeouts.Shutdown, time.Millisecond, time.Hour, "1ms to 1h"},
		"budget.wait":        {c.Budget.Wait, time.Millisecond, time.Hour, "1ms to 1h"},
		"creates.wait":       {c.Creates.Wait, time.Millisecond, time.Hour, "1ms to 1h"},
		"creates.quarantine": {c.Creates.Quarantine, time.Millisecond, 24 * time.Hour, "1ms to 24h"},
		"creates.retention":  {c.Creates.Retention, time.Minute, 365 * 24 * time.Hour, "1m to 8760h"},
		"tracing.timeout":    {cmp.Or(c.Tracing.Timeout, time.Second), time.Millisecond, time.Hour, "1ms to 1h"},
		"reads.freshness":    {c.Reads.Freshness, time.Millisecond, time.Minute, "1ms to 1m"},
		// 0 means that nothing stale is given.
		"reads.stale_if_error": {cmp.Or(c.Reads.StaleIfError, time.Second), time.Second, 24 * time.Hour, "1s to 24h"},
	} {
		if bound.value < bound.least || bound.value > bound.most {
			b.refuse(path, "is %s; expected %s", bound.value, bound.expected)
		}
	}
}

func (b *builder) oneOf(value, path string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		b.refuse(path, "is %q; expected one of %s%s", value, strings.Join(allowed, ", "), nearest.Hint(value, allowed))
	}
}

// address refuses what is not an address to listen on, and reports whether it is one.
func (b *builder) address(value, path string) bool {
	if _, port, err := net.SplitHostPort(value); err != nil {
		b.refuse(path, "is %q; expected host:port", value)
	} else if !isPort(port) {
		b.refuse(path, "the port is %q; expected a number up to 65535", port)
	}
	return isAddress(value)
}

func isAddress(value string) bool {
	_, port, err := net.SplitHostPort(value)
	return err == nil && isPort(port)
}

func isPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
