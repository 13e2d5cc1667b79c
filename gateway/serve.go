package gateway

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/gateway/inbound"
	"atlas-export-gateway/internal/build"
)

// maxOperatorConnections bounds the connections of the operators' listener.
const maxOperatorConnections = 256

// Serve answers callers on one listener and operators on another until the context ends. Then it
// drains: for timeouts.drain it reports itself not ready and asks callers to close their
// connections, goes on serving, and after that answers what it has accepted within
// timeouts.shutdown, whether it was read already or not. Both listeners are closed when it
// returns. The error is nil after a shutdown in which every request ended.
func (g *Gateway) Serve(ctx context.Context, callers, management net.Listener) error {
	stop, err := g.followRevocations(ctx)
	defer stop()
	stopLooking := g.followKeyUses(ctx)
	defer stopLooking()
	if err = errors.Join(err, g.listensAt(callers.Addr())); err != nil {
		return errors.Join(err, callers.Close(), management.Close(), g.Close(ctx))
	}
	defer g.lasting.pool.CloseIdleConnections()
	config := g.settings.Load().parts.Config
	t := config.Timeouts
	evicted, refused, bad := g.newEvictions(), g.newHandshakes(), g.newBadPreambles()
	defer evicted.flush()
	defer refused.flush()
	defer bad.flush()
	accepting := inbound.Config{Limit: config.Limits.Connections, Counted: g.metrics.Connections, Evicted: evicted.add}
	if config.Listener.ClientAddress == string(clientaddress.ProxyProtocol) {
		accepting.Client = g.readPreamble(bad)
	}
	connections := inbound.NewTable(accepting)
	serverLog := log.New(logWriter{g.log, refused.add}, "", 0)
	public := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: t.Header,
		ReadTimeout:       t.Request,
		WriteTimeout:      t.Request + t.Upstream + config.Creates.Wait + 10*time.Second,
		IdleTimeout:       t.Idle,
		MaxHeaderBytes:    config.Limits.RequestHeader,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return withCallerConn(connections.ConnContext(ctx, conn), conn)
		},
		ConnState: connections.ConnState,
		ErrorLog:  serverLog,
		// OPTIONS * is not an operation of the contract.
		DisableGeneralOptionsHandler: true,
		// These bound what one connection of HTTP/2 holds: its requests, the unread content of each,
		// and a frame. WriteByteTimeout is net/http's only time limit for a peer that stops reading.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 16, MaxReceiveBufferPerStream: 64 << 10, MaxReadFrameSize: 16 << 10, WriteByteTimeout: t.Request},
	}
	// Nobody needs a key there. More connections would take the file descriptors of callers.
	operatorConnections := inbound.NewTable(inbound.Config{Limit: maxOperatorConnections, Counted: func(int, int) {}, Evicted: func(netip.Prefix) {}})
	operators := &http.Server{
		Handler:           refuseOtherSites(management.Addr(), g.Management()),
		ReadHeaderTimeout: t.Header,
		ReadTimeout:       t.Request,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       t.Idle,
		MaxHeaderBytes:    config.Limits.RequestHeader,
		ErrorLog:          serverLog,
		ConnState:         operatorConnections.ConnState,
		ConnContext:       operatorConnections.ConnContext,
	}
	failed := make(chan error, 2)
	callers = connections.Listener(callerListener{callers, unusedBytes(config.Limits)})
	serve, framed := public.Serve, leaveHTTP2(public)
	if config.Listener.TLSCertFile != "" {
		public.TLSConfig = g.serverTLS()
		serve = func(l net.Listener) error { return public.ServeTLS(l, "", "") } // with HTTP/2
	}
	go func() { failed <- serve(callers) }()
	go func() { failed <- operators.Serve(operatorConnections.Listener(management)) }()
	g.log.Info("serving", "version", build.Version(), "address", callers.Addr().String(), "management", management.Addr().String(), "upstream", config.Upstream.BaseURL, "proxy", config.Upstream.ProxyURL, "public_url", g.settings.Load().public)

	select {
	case err := <-failed:
		return errors.Join(err, public.Close(), operators.Close(), g.Close(ctx))
	case <-ctx.Done():
	}
	return errors.Join(g.drain(ctx, callers, connections, public, framed), operators.Close())
}

// leaveHTTP2 has a server leave HTTP/2 to another one, which has no connections of its own. The
// Shutdown of the other one tells callers over HTTP/2 to send nothing more (GOAWAY), and does
// nothing else. That of the first also closes connections that are idle, before their callers can
// hear of it.
func leaveHTTP2(server *http.Server) (framed *http.Server) {
	framed = &http.Server{IdleTimeout: server.IdleTimeout}
	framed.ServeTLS(nil, "", "") // sets HTTP/2 up, and fails for want of a certificate
	server.TLSNextProto = framed.TLSNextProto
	return framed
}

// drain ends the server of callers.
func (g *Gateway) drain(ctx context.Context, callers net.Listener, connections *inbound.Table, public, framed *http.Server) error {
	t := g.settings.Load().parts.Config.Timeouts
	g.log.Info("draining", "seconds", t.Drain.Seconds())
	g.draining.Store(true) // each response asks its caller to close
	time.Sleep(t.Drain)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Shutdown)
	defer cancel()
	creates := make(chan error, 1)
	go func() { creates <- g.Close(limit) }()
	err := errors.Join(callers.Close(), framed.Shutdown(limit), connections.End(limit))
	if err == nil {
		err = public.Shutdown(limit)
	}
	if err == nil {
		err = g.ended(limit)
	}
	if err != nil {
		err = errors.Join(err, public.Close())
	}
	return errors.Join(err, <-creates)
}

// ended waits for the requests whose callers are gone: a change goes on without its caller.
// Shutdown waits for connections only, and over HTTP/2 such a request no longer has one.
func (g *Gateway) ended(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		g.working.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listensAt notes the address that callers reach the gateway at, which is the public URL where
// none is configured.
func (g *Gateway) listensAt(address net.Addr) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	s := *g.settings.Load()
	g.ownURL = "http://" + address.String()
	if s.certificate != nil {
		g.ownURL = "https://" + address.String()
	}
	if s.public == "" {
		if err := s.publish(g.ownURL); err != nil {
			return err
		}
	}
	g.settings.Store(&s)
	return nil
}
