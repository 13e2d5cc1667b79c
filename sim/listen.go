package sim

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Listen opens both listeners and serves on them until Close.
func (s *Server) Listen() error {
	scheme := "http://"
	apiListener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	controlListener, err := net.Listen("tcp", s.cfg.ControlListen)
	if err != nil {
		apiListener.Close()
		return err
	}
	base := apiListener.Addr().String()
	if s.cfg.TLS != nil {
		scheme = "https://"
		// HTTP/2 has no bytes of one request that a log could show.
		apiListener = tls.NewListener(apiListener, &tls.Config{
			Certificates: []tls.Certificate{*s.cfg.TLS},
			NextProtos:   []string{"http/1.1"},
		})
	}
	s.mu.Lock()
	s.base, s.controlURL = scheme+base, "http://"+controlListener.Addr().String()
	s.mu.Unlock()
	s.serve(&recordingListener{Listener: apiListener, record: &s.record}, s.api)
	s.serve(controlListener, s.control)
	return nil
}

func (s *Server) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ConnContext:       withConn,
	}
	s.mu.Lock()
	s.servers = append(s.servers, server)
	s.mu.Unlock()
	s.running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("a listener failed", "error", err)
		}
	})
}

// URL is the base URL of the API, such as "http://127.0.0.1:41234". Empty before Listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base
}

// ControlURL is the base URL of the control listener. Empty before Listen.
func (s *Server) ControlURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.controlURL
}
