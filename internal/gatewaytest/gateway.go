// Package gatewaytest starts gateways for tests, and what tests need around them: callers with
// keys, certificates, and upstreams that speak bytes. Only tests import it.
//
// [Start] serves a gateway on loopback, in the test's own process. The gateway stops with the
// test. Its log, its metrics and the answers that [Send] reads must then hold no secret of the
// test: see [KeepSecret].
package gatewaytest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/sim"
)

// Config says what a gateway is started with.
type Config struct {
	// YAML is the text of the configuration file. A gateway drains for a millisecond unless the
	// YAML sets timeouts.drain.
	YAML string
	// Environ is the environment, in the form of os.Environ. It is added to two variables: PUBLIC
	// and PRIVATE, the halves of the simulation's API key.
	Environ []string
	// Prepare, if not nil, is called with the gateway before the gateway serves.
	Prepare func(*gateway.Gateway)
	// Log, if not nil, gets the log in the place of Gateway.Log.
	Log io.Writer
}

// Gateway is a gateway that serves on loopback.
type Gateway struct {
	// URL is where callers reach the gateway, such as http://127.0.0.1:32768, and Address is its
	// host and port.
	URL, Address string
	// Management is the URL of the operators' listener.
	Management string
	// File is the configuration file.
	File string
	// Log is what the gateway has logged so far, at level debug: a record in JSON on each line.
	Log *Buffer

	config Config
	parts  *config.Parts
	source *config.Source
	hangup chan os.Signal
	run    *run
}

// run is one run of a gateway, from its start to its stop.
type run struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when Serve has returned
	err    error         // of Serve, once ended is closed
}

// Start serves a gateway for a configuration in YAML.
func Start(t testing.TB, yaml string, environ ...string) *Gateway {
	t.Helper()
	return StartConfig(t, Config{YAML: yaml, Environ: environ})
}

// StartFor serves a gateway for the configuration that [YAML] writes.
func StartFor(t testing.TB, upstream, settings string, list ...*Caller) *Gateway {
	t.Helper()
	return Start(t, YAML(upstream, settings, list...))
}

// YAML writes a configuration: settings, lines of YAML; the upstream, by its URL, with the
// simulation's API key; and the callers of a list. Without a list, and without callers in the
// settings, it lets everyone in.
func YAML(upstream, settings string, list ...*Caller) string {
	text := strings.TrimSpace(settings) + "\nupstream:\n  base_url: " + upstream + "\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n"
	switch {
	case len(list) > 0:
		text += "callers:\n  list:\n"
		for _, caller := range list {
			text += caller.YAML
		}
	case !strings.Contains(settings, "callers:"):
		text += "callers: {anonymous: true}\n"
	}
	return text
}

// StartConfig serves a gateway.
func StartConfig(t testing.TB, c Config) *Gateway {
	t.Helper()
	c.Environ = append([]string{"PUBLIC=" + sim.PublicKey, "PRIVATE=" + sim.PrivateKey}, c.Environ...)
	if !strings.Contains(c.YAML, "drain:") {
		c.Environ = append(c.Environ, "ATLAS_GATEWAY_TIMEOUTS_DRAIN=1ms")
	}
	g := &Gateway{
		File:   WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), c.YAML),
		Log:    &Buffer{},
		config: c,
		hangup: make(chan os.Signal),
	}
	g.source = config.NewSource(g.File, c.Environ)
	var err error
	if g.parts, err = g.source.Load(); err != nil {
		t.Fatal(err)
	}
	keepConfigured(t, &g.parts.Config, c.Environ)
	g.serve(t, "127.0.0.1:0")
	t.Cleanup(func() {
		g.Stop()
		g.Wait(t)
		keepConfigured(t, &g.parts.Config, c.Environ) // the files may have changed
		FindSecrets(t, "the log", g.Log.String())
	})
	t.Cleanup(func() {
		select {
		case <-g.Ended(): // the test has stopped the gateway
		default:
			g.Metrics(t)
		}
	})
	return g
}

// serve serves a new gateway, whose callers reach it at an address.
func (g *Gateway) serve(t testing.TB, address string) {
	t.Helper()
	var to io.Writer = g.Log
	if g.config.Log != nil {
		to = g.config.Log
	}
	log := slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
	built, err := gateway.New(g.parts, log)
	if err != nil {
		t.Fatal(err)
	}
	end := func() {}
	if g.parts.Tracing != nil {
		tracer := tracing.New(*g.parts.Tracing, log)
		built.UseTracer(tracer)
		end = func() {
			limit, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			tracer.Close(limit)
		}
	}
	if g.config.Prepare != nil {
		g.config.Prepare(built)
	}
	callers, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	management := Listen(t)
	g.Address = callers.Addr().String()
	g.URL, g.Management = "http://"+g.Address, "http://"+management.Addr().String()
	if g.parts.Certificate != nil {
		g.URL = "https://" + g.Address
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{cancel: cancel, ended: make(chan struct{})}
	g.run = r
	go built.Watch(ctx, g.source, g.hangup)
	go func() {
		r.err = built.Serve(ctx, callers, management)
		end()
		close(r.ended)
	}()
}

// Stop tells the gateway to stop, as SIGTERM does, and returns at once.
func (g *Gateway) Stop() { g.run.cancel() }

// Ended is closed once the gateway has stopped.
func (g *Gateway) Ended() <-chan struct{} { return g.run.ended }

// Wait waits until the gateway has stopped, which must be in 10 s and without an error.
func (g *Gateway) Wait(t testing.TB) {
	t.Helper()
	select {
	case <-g.run.ended:
		if g.run.err != nil {
			t.Errorf("the gateway stopped with: %v", g.run.err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the gateway did not stop")
	}
}

// Restart serves another gateway at the address of one that has stopped, for the same
// configuration. The other gateway knows nothing of what the first one has learnt.
func (g *Gateway) Restart(t testing.TB) {
	t.Helper()
	g.serve(t, g.Address)
}
