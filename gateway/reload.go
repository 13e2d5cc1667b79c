package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/gateway/reads"
)

// lasting is what outlives a configuration. The Gateway owns it, and all settings use it.
type lasting struct {
	memory    *callers.Memory // which nonces and tokens were used, and the keys of issuers
	pool      *atlas.Pool     // connections to Atlas, and signers
	reads     reads.Reads     // reads under way, and answers that are kept
	budget    *budget.Budget  // what Atlas's rate limit leaves
	meters    meters          // what callers.list[].requests_per_minute leaves
	admission admission       // how many requests are being served
}

func newLasting(metrics *observe.Metrics, tell func(atlas.CredentialState)) *lasting {
	return &lasting{
		memory: callers.NewMemory(),
		pool:   atlas.NewPool(metrics.Upstream, tell),
		budget: budget.New(budget.Observer{Waited: metrics.Waited, Repeated: metrics.Repeated}),
	}
}

// settings is what one configuration says about requests. It never changes: a request keeps the
// settings that were in force when it came in, and Reload puts others in their place.
type settings struct {
	parts       *config.Parts
	config      *config.Config // of parts
	origin      string         // Atlas's, in the form that its links have
	public      string         // the gateway's URL in the form that links have; empty until it is known
	publicURL   *url.URL       // public; without a host until it is known
	hosts       []string       // names of the gateway, besides that of publicURL
	certificate *tls.Certificate
	authorities *config.Authorities // of client certificates; nil where none counts
	tls         *tls.Config         // of new handshakes; nil where the listener speaks plain HTTP

	anonymous     bool // callers without a key are let in
	listed        bool // there are callers who show who they are
	accounts      bool // some of them are service accounts, who get tokens here
	authenticator *callers.Authenticator
	policies      map[string]*policy.Policy // by caller
	perMinute     map[string]int            // requests_per_minute by caller, of those that have it
	reportOnly    map[string]bool           // by caller: requests_check is report; "" for anonymous callers
	atlas         *atlas.Upstream
	way           *budget.Way // to atlas
}

// build builds settings. It changes nothing that is in force.
func (g *Gateway) build(parts *config.Parts) (*settings, error) {
	c := &parts.Config
	s := &settings{
		parts:      parts,
		config:     c,
		origin:     parts.Atlas.Origin,
		publicURL:  new(url.URL),
		hosts:      c.Listener.Hosts,
		anonymous:  c.Callers.Anonymous,
		listed:     len(c.Callers.List) > 0,
		accounts:   parts.Callers.HasServiceAccounts(),
		policies:   parts.Policies,
		perMinute:  perMinute(c.Callers.List),
		reportOnly: reportOnly(&c.Callers, c.Requests.Check),
	}
	g.secure(s, parts.Certificate, parts.ClientCAs)
	var err error
	if s.atlas, err = g.lasting.pool.Upstream(parts.Atlas); err != nil {
		return nil, err
	}
	s.way = g.lasting.budget.Way(s.atlas, budget.Config{
		Requests:    c.Budget.Requests,
		PerMinute:   c.Budget.PerMinute,
		Wait:        c.Budget.Wait,
		Attempts:    c.Budget.Attempts,
		Waiting:     max(1, c.Limits.InFlight/8),
		Connections: c.Upstream.MaxConnections,
		Timeout:     c.Timeouts.Upstream,
	})
	public := parts.PublicURL
	if public == "" {
		public = g.ownURL
	}
	if err := s.publish(public); err != nil {
		return nil, err
	}
	return s, nil
}

// secure sets what certificates say: the listener's own, and those of clients, whose authorities
// are nil where none counts.
func (g *Gateway) secure(s *settings, certificate *tls.Certificate, authorities *config.Authorities) {
	if s.certificate, s.authorities = certificate, authorities; certificate != nil {
		s.tls = tlsConfig(certificate, authorities.Pool(), s.config.Listener)
	}
	plain := s.config.Listener.AllowPlainHTTP
	s.authenticator = callers.New(s.parts.Callers, g.lasting.memory, callers.Options{
		// An operator who allows plain HTTP off loopback says that TLS ends before the gateway.
		AllowBasic: func(r *http.Request) bool { return plain || private(r) },
		ClientCAs:  authorities.Pool(),

		RequireCertificate: s.config.Listener.ClientCertificates == config.Required,
		Now:                func() time.Time { return g.now() },
	})
}

// publish sets the URL that callers use, which may not be known yet.
func (s *settings) publish(public string) (err error) {
	if s.public = public; public != "" {
		s.publicURL, err = url.Parse(public)
	}
	return err
}

// target returns a request target without the path of the public URL. A proxy in front of the
// gateway may have taken the path off, or not.
func (s *settings) target(uri string) string {
	if below, ok := strings.CutPrefix(uri, s.publicURL.Path); ok && strings.HasPrefix(below, "/api/") {
		return below
	}
	return uri
}

// putInForce makes s the settings of new requests.
func (g *Gateway) putInForce(s *settings) {
	g.settings.Store(s)
	g.lasting.memory.Keep(s.authenticator)
	g.lasting.pool.Keep(s.atlas)
	g.lasting.reads.Limit(keptBytes(s.config))
	g.lasting.meters.keep(s.perMinute)
	if t := s.parts.Tracing; t != nil && g.tracer != nil { // without t, the program has its own receiver
		g.tracer.Keep(t.Receiver)
	}
}

// Reload puts another configuration in the place of the present one: as a whole, or, with an
// error, not at all. It logs the warnings that are new. Requests under way end as they began. A
// credential for Atlas that is new is tried first: the one before it signs until Atlas has
// accepted it, which the log tells; see also [Gateway.Watch]. What the listeners were opened with
// can't be changed without a restart; see [config.Parts.CheckFixed].
func (g *Gateway) Reload(parts *config.Parts) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if err := parts.CheckFixed(g.settings.Load().parts); err != nil {
		return err
	}
	after, err := g.build(parts)
	if err != nil {
		return err
	}
	g.warn(parts)
	g.putInForce(after)
	select {
	case g.reloaded <- struct{}{}:
	default: // nobody has looked since the last time
	}
	return nil
}

// warned is a warning that the log has: of a file and its mode, or in the words of the warning.
type warned struct {
	what string
	mode fs.FileMode
}

// warn logs the warnings that the configuration in force did not have: a file is warned of once,
// and again after its mode has changed. g.changing is held.
func (g *Gateway) warn(parts *config.Parts) {
	all := map[warned]bool{}
	for _, warning := range parts.Warnings {
		w := warned{cmp.Or(warning.File, warning.Error()), warning.Mode}
		all[w] = true
		if !g.warned[w] {
			g.log.Warn("configuration", "warning", warning.Error())
		}
	}
	g.warned = all
}

// renewCertificates puts the listener's new certificate, and new authorities of client
// certificates, in force by themselves, where a mistake elsewhere keeps the configuration from
// being reloaded: otherwise the mistake would let the certificate expire, and an authority that
// was removed be trusted.
func (g *Gateway) renewCertificates() {
	g.changing.Lock()
	defer g.changing.Unlock()
	s := *g.settings.Load()
	if s.certificate == nil {
		return
	}
	// The refusal names an error of these files.
	renewed, err := s.parts.ReadCertificate()
	if err != nil || slices.EqualFunc(renewed.Certificate, s.certificate.Certificate, bytes.Equal) {
		renewed = s.certificate
	}
	authorities, err := s.parts.ReadClientCAs()
	if err != nil || authorities.Pool().Equal(s.authorities.Pool()) {
		authorities = s.authorities
	}
	if renewed == s.certificate && authorities == s.authorities {
		return
	}
	certificate, clientCAs := renewed != s.certificate, authorities != s.authorities
	g.secure(&s, renewed, authorities)
	g.settings.Store(&s)
	g.auditConfiguration("certificates_renewed")
	if certificate {
		g.log.Info("the listener's certificate was renewed, and nothing else")
	}
	if clientCAs {
		g.log.Info("the authorities of client certificates were renewed, and nothing else")
	}
}

// watchEvery is how often Watch looks at the files. minRetry and maxRetry are the first and the
// longest pause before Watch tries a configuration again.
const (
	watchEvery = time.Second
	minRetry   = time.Second
	maxRetry   = 30 * time.Second
)

// Watch loads the configuration again at each signal on hangup, and when a file of it has changed,
// and reloads it, until the context ends. While files are being written, it waits until two looks,
// a second apart, find them the same. It logs the result of each reload. A configuration that was
// refused since a file could not be read is tried again, with a pause that doubles up to maxRetry:
// the reason may pass without a change of any file, such as a lack of file descriptors. Every
// other configuration that is refused is not tried again before the next signal or change. It
// also has Atlas asked again about a credential that does not sign yet, with the same pauses.
func (g *Gateway) Watch(ctx context.Context, source *config.Source, hangup <-chan os.Signal) {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	retry.Stop()
	for pause := minRetry; ; {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		case <-retry.C:
			g.metrics.Retried()
		case <-ticks.C:
			g.lasting.pool.Retry()
			if !source.Changed() {
				continue
			}
		}
		err := g.load(source)
		if mayPass(err) {
			g.log.Warn("the configuration will be tried again", "seconds", pause.Seconds())
			retry.Reset(pause)
			pause = min(2*pause, maxRetry)
			continue
		}
		retry.Stop()
		pause = minRetry
	}
}

// load loads and reloads the configuration, and logs what comes of it.
func (g *Gateway) load(source *config.Source) error {
	parts, err := source.Load()
	if err == nil {
		err = g.Reload(parts)
	}
	g.metrics.Reloaded(err == nil)
	g.reloadRefused.Store(err != nil)
	if err != nil {
		g.auditConfiguration("refused")
		g.log.Error("the configuration was refused; the one before stays", "cause", err.Error())
		g.renewCertificates()
		return err
	}
	g.auditConfiguration("reloaded")
	g.log.Info("the configuration was reloaded", "upstream", parts.Config.Upstream.BaseURL, "callers", len(parts.Config.Callers.List))
	return nil
}

// mayPass reports whether an error comes from the operating system, which did not let a file be
// read. All other errors are about what the files hold.
func mayPass(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}
