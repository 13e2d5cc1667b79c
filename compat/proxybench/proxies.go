package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/store"

	"github.com/getkin/kin-openapi/openapi3filter"
	icholy "github.com/icholy/digest"
	middleware "github.com/oapi-codegen/nethttp-middleware"
)

// serve runs the program as one of the parts. It prints a line of JSON with the addresses of its
// listeners, as the gateway's program does, and serves until the context or its standard input
// ends.
func serve(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("proxybench serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	part := flags.String("part", "", "upstream, plain, pooled, chain or gateway")
	to := flags.String("to", "", "base URL of the upstream, or the gateway's configuration")
	profile := flags.String("profile", "", "file for a CPU profile")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	err := func() error {
		if *profile != "" {
			file, err := os.Create(*profile)
			if err != nil {
				return err
			}
			defer file.Close()
			if err := pprof.StartCPUProfile(file); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		switch *part {
		case "upstream":
			return serveUpstream(ctx, stdout)
		case "gateway":
			return serveGateway(ctx, *to, stdout, stderr)
		}
		handler, err := proxy(*part, *to)
		if err != nil {
			return err
		}
		return serveProxy(ctx, handler, stdout)
	}()
	if err != nil {
		fmt.Fprintf(stderr, "proxybench: %s: %v\n", *part, err)
		return 1
	}
	return 0
}

// announce prints the addresses of a part.
func announce(stdout io.Writer, addresses map[string]string) error {
	return json.NewEncoder(stdout).Encode(addresses)
}

func serveUpstream(ctx context.Context, stdout io.Writer) error {
	addresses := map[string]string{}
	failed := make(chan error, 3)
	for _, port := range []string{"signed", "open"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		addresses[port] = "http://" + listener.Addr().String()
		u := newUpstream(addresses[port])
		if port == "signed" {
			if err := u.askForCredential(); err != nil {
				return err
			}
		}
		go func() { failed <- u.serve(listener) }()
	}
	spans, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer spans.Close()
	addresses["spans"] = "http://" + spans.Addr().String()
	go func() { failed <- http.Serve(spans, http.HandlerFunc(takeSpans)) }()
	if err := announce(stdout, addresses); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// takeSpans is a receiver of spans, which looks at none.
func takeSpans(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func serveProxy(ctx context.Context, handler http.Handler, stdout io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := announce(stdout, map[string]string{"listener": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// proxy returns one of the proxies that the gateway is compared with.
func proxy(name, upstream string) (http.Handler, error) {
	base, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	connections := transport()
	reverse := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(base) },
		Transport: connections,
	}
	switch name {
	case "plain":
		return reverse, nil
	case "pooled":
		reverse.BufferPool = &buffers{}
		return reverse, nil
	case "chain":
		doc, err := api.Load()
		if err != nil {
			return nil, err
		}
		reverse.Transport = &icholy.Transport{Username: publicKey, Password: privateKey, Transport: connections}
		options := &middleware.Options{DoNotValidateServers: true}
		// Every caller is accepted: the middleware does not authenticate by itself.
		options.Options.AuthenticationFunc = openapi3filter.NoopAuthenticationFunc
		options.ErrorHandler = http.Error
		return middleware.OapiRequestValidatorWithOptions(doc, options)(reverse), nil
	}
	return nil, fmt.Errorf("there is no such part")
}

// transport has the bounds of the gateway's connections to the upstream.
func transport() *http.Transport {
	return &http.Transport{
		MaxConnsPerHost:     256,
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     30 * time.Second,
		ReadBufferSize:      16 << 10,
		DisableCompression:  true,
	}
}

// buffers is a BufferPool for ReverseProxy, with buffers of ReverseProxy's own size.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// serveGateway serves the gateway as its program does. The program itself can't write profiles.
func serveGateway(ctx context.Context, file string, stdout, stderr io.Writer) error {
	parts, err := config.Load(file, nil)
	if err != nil {
		return err
	}
	g, err := gateway.New(parts, slog.New(slog.NewJSONHandler(stderr, nil)))
	if err != nil {
		return err
	}
	if parts.Config.Creates.Journal == "file" {
		journal, err := store.OpenFile(ctx, parts.Config.Creates.File)
		if err != nil {
			return err
		}
		defer journal.Close()
		g.UseJournal(journal)
	}
	if parts.Tracing != nil {
		tracer := tracing.New(*parts.Tracing, slog.New(slog.NewJSONHandler(stderr, nil)))
		defer tracer.Close(ctx)
		g.UseTracer(tracer)
	}
	callers, err := net.Listen("tcp", parts.Config.Listener.Address)
	if err != nil {
		return err
	}
	management, err := net.Listen("tcp", parts.Config.Management.Address)
	if err != nil {
		return err
	}
	if err := announce(stdout, map[string]string{"listener": "http://" + callers.Addr().String(), "management": "http://" + management.Addr().String()}); err != nil {
		return err
	}
	return g.Serve(ctx, callers, management)
}
