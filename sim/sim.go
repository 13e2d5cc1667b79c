// Package sim is a simulated MongoDB Atlas: the part of the Admin API that exports
// cloud-backup snapshots, in both its generations, close enough to the real service
// that a client cannot tell them apart. It is meant for tests, demonstrations and other
// people's integration tests.
//
// In a test, [Start] runs one on free loopback ports and stops it with the test:
//
//	atlas := sim.Start(t, sim.Config{Speed: 1000})
//	client := newClient(atlas.URL(), sim.PublicKey, sim.PrivateKey)
//
// Elsewhere, [New] builds a [Server] and [Server.Listen] opens its two listeners. The
// first is Atlas: digest challenges and service-account tokens, versions, errors,
// envelope, paging, rate limits, and export jobs that advance on a clock which can be
// sped up and which leave real files behind. The second is the control listener, for
// the tester alone: what was received, byte for byte, and switches that make Atlas
// strict, hostile or faulty while it runs. Everything that the control listener does,
// the methods of Server do as well; [Server.Control] lists its endpoints.
//
// Where no recording of the real service settles a question, the answer chosen here is
// marked "inferred" beside the code.
//
// The package refuses to listen off loopback unless it is told to: its keys are public.
package sim

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/digestauth"
)

// Config says what a simulated Atlas knows and how it behaves. The zero Config is the
// faithful one, with the default seed, in memory, on free loopback ports.
type Config struct {
	// Listen and ControlListen are the addresses of the API and of the control
	// listener. Empty means a free port of 127.0.0.1.
	Listen, ControlListen string
	// AllowRemote permits addresses that are not loopback.
	AllowRemote bool
	// TLS, if not nil, is the certificate that the API is served with, over HTTP/1.1.
	// The control listener stays plain.
	TLS *tls.Certificate
	// PublicURL is the origin that links in answers carry. Empty means that of the API
	// listener.
	PublicURL string

	// Seed is the world: groups, clusters, snapshots and keys. Nil means [DefaultSeed].
	Seed *Seed
	// StateFile, if not empty, keeps buckets and jobs over restarts. A file that is
	// missing is created; one that is damaged or can't be written is an error.
	StateFile string
	// ExportDir, if not empty, is the existing directory that stands for all object
	// storage: a job's files go below ExportDir/<bucket>/<prefix>.
	ExportDir string

	// Now is the time of day. Nil means time.Now. See [Server.Advance] and
	// [Server.Settle].
	Now func() time.Time
	// Speed is how many times faster than at Atlas jobs run; 0 means 1. At 150 an
	// export of 12 minutes takes 5 seconds.
	Speed float64
	// QueueTime and RunTime are how long a job is Queued and InProgress at speed 1.
	// 0 means 30 s and 11 min 30 s: Atlas takes 12 to 15 minutes for an empty database.
	QueueTime, RunTime time.Duration

	// LogRequests and LogBytes bound the log of requests; the oldest are dropped first.
	// 0 means 10,000 requests and 64 MiB.
	LogRequests, LogBytes int

	// Settings are what the control listener can change later.
	Settings Settings
	// Faults are made from the start; the control listener can replace them.
	Faults []Fault

	// Logger receives what a tester should know but no client sees, such as an export
	// directory that can't be written. Nil means none.
	Logger *slog.Logger
}

// Server is a simulated Atlas. Its methods may be called from several goroutines.
type Server struct {
	cfg      Config
	log      *slog.Logger
	world    *world
	clock    *clock
	store    *store
	bucket   *os.Root // below which exports are written; nil for nowhere
	nonces   *digestauth.Nonces
	tokens   *tokens
	limits   limits
	settings atomic.Pointer[Settings]
	changing sync.Mutex // serializes SetSettings
	faults   faults
	record   record
	outcomes outcomes

	api, control http.Handler
	operations   []*operation

	settling sync.Mutex // serializes Settle
	saving   sync.Mutex // serializes save
	saved    uint64     // the store's generation that the state file holds
	wake     chan struct{}
	done     chan struct{}
	closing  sync.Once
	running  sync.WaitGroup

	mu         sync.Mutex // guards what follows
	servers    []*http.Server
	base       string
	controlURL string
}

// New builds a simulated Atlas, which runs its jobs until Close is called. It listens
// only once Listen is called. The error names what in the configuration, the seed or
// the state file is wrong.
func New(cfg Config) (*Server, error) {
	if cfg.Seed == nil {
		cfg.Seed = DefaultSeed()
	}
	cfg.Speed = orDefault(cfg.Speed, 1)
	cfg.Listen, cfg.ControlListen = orDefault(cfg.Listen, "127.0.0.1:0"), orDefault(cfg.ControlListen, "127.0.0.1:0")
	cfg.QueueTime, cfg.RunTime = orDefault(cfg.QueueTime, 30*time.Second), orDefault(cfg.RunTime, 11*time.Minute+30*time.Second)
	cfg.LogRequests, cfg.LogBytes = orDefault(cfg.LogRequests, 10_000), orDefault(cfg.LogBytes, 64<<20)
	if err := errors.Join(cfg.checkNumbers(), cfg.checkAddress(cfg.Listen), cfg.checkAddress(cfg.ControlListen), checkOrigin(cfg.PublicURL)); err != nil {
		return nil, err
	}
	world, err := newWorld(cfg.Seed)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:   cfg,
		log:   cfg.Logger,
		world: world,
		clock: newClock(cfg.Now),
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.record.init(cfg.LogRequests, cfg.LogBytes)
	s.nonces = digestauth.NewNonces(digestauth.NoncePolicy{}, s.clock.now)
	s.tokens = newTokens(s.clock.now, rand.Text())
	if s.api, err = s.newAPI(); err != nil {
		return nil, err
	}
	s.control = s.newControl()
	if err := s.SetSettings(cfg.Settings); err != nil {
		return nil, err
	}
	if err := s.SetFaults(cfg.Faults); err != nil {
		return nil, err
	}
	if s.store, err = s.load(); err != nil {
		return nil, err
	}
	if err := s.save(); err != nil { // now rather than at the first create
		return nil, err
	}
	if cfg.ExportDir != "" {
		if s.bucket, err = os.OpenRoot(cfg.ExportDir); err != nil {
			return nil, fmt.Errorf("the export directory: %w", err)
		}
	}
	s.running.Go(s.runJobs)
	return s, nil
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start runs a simulated Atlas for the length of a test, which fails if it can't.
func Start(tb TB, cfg Config) *Server {
	tb.Helper()
	s, err := New(cfg)
	if err == nil {
		tb.Cleanup(func() { s.Close() })
		err = s.Listen()
	}
	if err != nil {
		tb.Fatalf("sim: %v", err)
	}
	return s
}

// API is the simulated Atlas as a handler, for a server of the caller's own. The log
// has a request's bytes, fields and content only when it came in by way of Listen.
func (s *Server) API() http.Handler { return s.api }

// Control is the handler of the control listener; never mount it beside the API. Its
// answers are JSON; an error is {"error": "..."}. A request body with an unknown member
// is refused.
//
//	GET    /requests        {"requests": [Request...], "dropped": n}; ?since=SEQ for those after SEQ
//	GET    /counts          Counts
//	POST   /reset           empties the log and sets the counts to 0
//	GET    /settings        Settings
//	PATCH  /settings        changes the members given, within objects as well; answers Settings
//	PUT    /settings        changes all members, answers Settings
//	DELETE /nonces          makes every nonce unknown, as a restart of Atlas would
//	GET    /faults          [FaultState...]
//	PUT    /faults          [Fault...], replaces all faults
//	DELETE /faults          ends all faults
//	GET    /clock           {"now": time}
//	POST   /clock/advance   {"by": "12m"}; answers like GET once what fell due is done
//	GET    /jobs            [Job...], oldest first
//	POST   /jobs/outcomes   Outcome, for the next job that fits; may be given several times
//	POST   /jobs/{id}/end   Outcome, ends the job now
//	GET    /                {"api": URL, "endpoints": [...]}
func (s *Server) Control() http.Handler { return s.control }

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
		// HTTP/2 has no bytes per request that a log could show.
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

// checkNumbers refuses what no speed, time or size can be.
func (cfg *Config) checkNumbers() error {
	switch {
	case !(cfg.Speed > 0) || math.IsInf(cfg.Speed, 1): // NaN is not greater either
		return fmt.Errorf("Config.Speed is %v; it must be a finite number above 0", cfg.Speed)
	case cfg.QueueTime < 0:
		return fmt.Errorf("Config.QueueTime is %v; it must not be negative", cfg.QueueTime)
	case cfg.RunTime < 0:
		return fmt.Errorf("Config.RunTime is %v; it must not be negative", cfg.RunTime)
	case cfg.LogRequests < 0:
		return fmt.Errorf("Config.LogRequests is %d; it must not be negative", cfg.LogRequests)
	case cfg.LogBytes < 0:
		return fmt.Errorf("Config.LogBytes is %d; it must not be negative", cfg.LogBytes)
	}
	return nil
}

// checkAddress refuses what is not an address, or not one of this machine alone.
func (cfg *Config) checkAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); !cfg.AllowRemote && host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("the address %q is not loopback; the simulation's keys are public", address)
	}
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

// Close lets requests that are being answered finish for up to a second, stops the jobs
// where they are and writes the state file. Later calls do nothing.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.done)
		s.mu.Lock()
		servers := s.servers
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, server := range servers {
			if server.Shutdown(ctx) != nil {
				server.Close()
			}
		}
		s.running.Wait()
		err = s.save()
		if s.bucket != nil {
			err = errors.Join(err, s.bucket.Close())
		}
	})
	return err
}

func checkOrigin(origin string) error {
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return fmt.Errorf("the public URL %q is not an origin such as https://cloud.mongodb.com", origin)
	}
	return nil
}

// orDefault returns v, or def where v is the zero value.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// ptr returns a pointer to v, which is how the generated types spell "present".
func ptr[T any](v T) *T { return &v }

// drain reads a request's content, up to a bound that no honest request reaches.
func drain(r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	return io.ReadAll(http.MaxBytesReader(nil, r.Body, maxContent))
}

// maxContent bounds the content of a request, in bytes.
const maxContent = 16 << 20
