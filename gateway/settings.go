package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/gateway/policy"
)

// settings are what one configuration amounts to. They never change: a request goes by those
// that were in force when it came in, and Reload puts others in their place.
type settings struct {
	config      Config
	base        *url.URL // of Atlas
	publicURL   string
	callers     *callers.Authenticator
	policies    map[string]*policy.Policy // by caller
	upstreams   []upstream
	roots       *x509.CertPool   // of Atlas's certificate; nil for the system's
	connections *http1.Transport // to Atlas
	inFlight    chan struct{}
	holders     chan struct{} // as many
}

// build checks a configuration and builds the settings. What is worth keeping of those
// before, if any, it takes over: which nonces and tokens were used, connections, and what
// waits for its turn.
func (g *Gateway) build(config Config, before *settings) (*settings, error) {
	config.fill()
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &settings{config: config, publicURL: g.ownURL, policies: map[string]*policy.Policy{}}
	var err error
	if s.base, err = origin(config.Upstream.BaseURL); err != nil {
		return nil, fmt.Errorf("upstream.base_url %w", err)
	}
	if config.Listener.PublicURL != "" {
		public, err := origin(config.Listener.PublicURL)
		if err != nil {
			return nil, fmt.Errorf("listener.public_url %w", err)
		}
		s.publicURL = public.String()
	}
	for _, caller := range config.Callers.List {
		s.policies[caller.Name] = policy.Compile(caller.Name, "", caller.Grants, operationIDs(), func(string, string, ...any) {})
	}
	if before != nil && cap(before.inFlight) == config.Limits.InFlight {
		s.inFlight, s.holders = before.inFlight, before.holders
	} else {
		s.inFlight, s.holders = make(chan struct{}, config.Limits.InFlight), make(chan struct{}, config.Limits.InFlight)
	}
	if err := g.connect(s, before); err != nil {
		return nil, err
	}
	// Last, since it goes on with the memory of the one before.
	options := callers.Options{
		// A key is made up where one process alone, on loopback, signs nonces and tokens.
		KeyMadeUp: loopbackAddress(config.Listener.Address),
		// Who allows plain HTTP off loopback says that TLS ends before the gateway.
		AllowBasic: func(r *http.Request) bool { return config.Listener.AllowPlainHTTP || callers.Private(r) },
	}
	if before != nil {
		options.Previous = before.callers
	}
	if s.callers, err = callers.New(config.Callers.config(), options); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload puts another configuration in the place of the present one: as a whole, or, with an
// error, not at all. Requests under way end as they began. What the listeners were opened
// with can't be changed without a restart: listener but for public_url, management, log,
// timeouts, limits.request_header and limits.connections.
func (g *Gateway) Reload(config Config) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	before := g.settings.Load()
	config.fill()
	if err := config.checkFixed(before.config); err != nil {
		return err
	}
	after, err := g.build(config, before)
	if err != nil {
		return err
	}
	g.settings.Store(after)
	if before.connections != after.connections {
		before.connections.Retire()
	}
	return nil
}

// checkFixed refuses settings that differ from those that the listeners were opened with.
func (c *Config) checkFixed(before Config) error {
	var errs []error
	fixed := func(path string, is, was any) {
		if is != was {
			errs = append(errs, c.errorf(path, "can't be changed without a restart"))
		}
	}
	fixed("listener.address", c.Listener.Address, before.Listener.Address)
	fixed("listener.tls_cert_file", c.Listener.TLSCertFile, before.Listener.TLSCertFile)
	fixed("listener.tls_key_file", c.Listener.TLSKeyFile, before.Listener.TLSKeyFile)
	fixed("listener.allow_plain_http", c.Listener.AllowPlainHTTP, before.Listener.AllowPlainHTTP)
	fixed("management.address", c.Management.Address, before.Management.Address)
	fixed("limits.request_header", c.Limits.RequestHeader, before.Limits.RequestHeader)
	fixed("limits.connections", c.Limits.Connections, before.Limits.Connections)
	fixed("timeouts.header", c.Timeouts.Header, before.Timeouts.Header)
	fixed("timeouts.request", c.Timeouts.Request, before.Timeouts.Request)
	fixed("timeouts.upstream", c.Timeouts.Upstream, before.Timeouts.Upstream)
	fixed("timeouts.idle", c.Timeouts.Idle, before.Timeouts.Idle)
	fixed("timeouts.drain", c.Timeouts.Drain, before.Timeouts.Drain)
	fixed("timeouts.shutdown", c.Timeouts.Shutdown, before.Timeouts.Shutdown)
	fixed("log.level", c.Log.Level, before.Log.Level)
	fixed("log.format", c.Log.Format, before.Log.Format)
	return errors.Join(errs...)
}

// watchEvery is how often Watch looks at the files.
const watchEvery = time.Second

// Watch reloads the configuration, as load returns it, at each signal on hangup and when a
// file that LoadConfig read for it has changed, until the context ends. Files that are being
// written are left alone until two looks, a second apart, find them the same. What comes of
// it is logged; a configuration that is refused is not tried again before the next signal or
// change.
func (g *Gateway) Watch(ctx context.Context, load func() (Config, error), hangup <-chan os.Signal) {
	looks := time.NewTicker(watchEvery)
	defer looks.Stop()
	tried := g.settings.Load().config.read
	last := tried
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		case <-looks.C:
			now := look(tried)
			settled := maps.EqualFunc(now, last, state.same)
			last = now
			if !settled || maps.EqualFunc(now, tried, state.same) {
				continue
			}
		}
		config, err := load()
		tried = config.read
		last = tried
		if err == nil {
			err = g.Reload(config)
		}
		if err != nil {
			g.metrics.reloaded.Set(0)
			g.log.Error("the configuration was refused; the one before stays", "cause", err.Error())
			continue
		}
		g.metrics.reloaded.Set(1)
		for _, warning := range config.Warnings() {
			g.log.Warn("configuration", "warning", warning.Error())
		}
		g.log.Info("the configuration was reloaded", "upstream", config.Upstream.BaseURL, "callers", len(config.Callers.List))
	}
}

// state is what tells that a file has changed; the zero state is that of a missing file.
type state struct{ info os.FileInfo }

func stateOf(file string) state {
	info, err := os.Stat(file)
	if err != nil {
		return state{}
	}
	return state{info}
}

func (s state) same(t state) bool {
	if s.info == nil || t.info == nil {
		return s.info == t.info
	}
	return os.SameFile(s.info, t.info) && s.info.ModTime().Equal(t.info.ModTime()) && s.info.Size() == t.info.Size()
}

// look returns the present states of files.
func look(files map[string]state) map[string]state {
	now := make(map[string]state, len(files))
	for file := range files {
		now[file] = stateOf(file)
	}
	return now
}
