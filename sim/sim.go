// Package sim is a simulated MongoDB Atlas: the part of the Admin API that exports
// cloud-backup snapshots, from taking one to the finished export, in both its generations,
// close enough to the real service that a client cannot tell them apart. It is meant for
// tests, demonstrations and other people's integration tests.
//
// In a test, [Start] runs one on free loopback ports and stops it with the test:
//
//	atlas := sim.Start(t, sim.Config{Speed: 1000})
//	client := newClient(atlas.URL(), sim.PublicKey, sim.PrivateKey)
//
// Elsewhere, [New] builds a [Server] and [Server.Listen] opens its two listeners. The
// first is Atlas: digest challenges and service-account tokens, versions, errors,
// envelope, paging, rate limits, export buckets and jobs, snapshots, backup schedules with
// automatic exports, groups, clusters and cloud provider access roles. Jobs run and snapshots
// are taken on a clock that can be sped up, and jobs leave real files behind. The second is
// the control listener, which is only for the tester: it shows what was received, byte for
// byte, and has switches that make Atlas strict, hostile or faulty while it runs.
// [Server.Control] lists its endpoints; the methods of Server do the same.
//
// A comment says "inferred" where no recording of the real service shows how Atlas behaves.
//
// The package refuses to listen off loopback unless it is told to: its keys are public.
package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/digestauth"
)

// Server is a simulated Atlas. Its methods may be called from several goroutines.
type Server struct {
	cfg      Config
	log      *slog.Logger
	world    *world
	clock    *clock
	store    *store
	exports  *os.Root // the directory that exports are written below; nil if there is none
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
	saved    uint64     // the generation of the store that the state file holds
	wake     chan struct{}
	done     chan struct{}
	closing  sync.Once
	running  sync.WaitGroup

	mu         sync.Mutex // guards what follows
	servers    []*http.Server
	base       string
	controlURL string
}

// New builds a simulated Atlas and runs its jobs until Close is called. Listen opens the
// listeners. The error names what is wrong in the configuration, the seed or the state file.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
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
	s.record.log.init(cfg.LogRequests, cfg.LogBytes)
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
	if err := s.save(); err != nil { // a file that can't be written is an error of New
		return nil, err
	}
	if cfg.ExportDir != "" {
		if s.exports, err = os.OpenRoot(cfg.ExportDir); err != nil {
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

// Start runs a simulated Atlas until the test ends. The test fails if that is not possible.
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

// API is the simulated Atlas as a handler, for a server of the caller's own. The log has
// the bytes and header fields only of requests that came in through Listen.
func (s *Server) API() http.Handler { return s.api }

// Control is the handler of the control listener. Never serve it on the same port as the
// API. Its answers are JSON; an error is {"error": "..."}. A request body with an unknown
// member is refused.
//
//	GET    /requests        {"requests": [Request...], "dropped": n}; ?since=SEQ for those after SEQ
//	GET    /counts          Counts
//	POST   /reset           empties the log and sets the counts to 0
//	GET    /settings        Settings
//	PATCH  /settings        changes the members that are given, also within objects; answers Settings
//	PUT    /settings        changes all members, answers Settings
//	DELETE /nonces          makes every nonce unknown, as a restart of Atlas would
//	DELETE /keys/{id}       deletes an API key or a service account as DeleteKey does
//	GET    /faults          [FaultState...]
//	PUT    /faults          [Fault...], replaces all faults
//	DELETE /faults          ends all faults
//	GET    /clock           {"now": time}
//	POST   /clock/advance   {"by": "12m"}; answers like GET /clock once all that is due has happened
//	GET    /jobs            [Job...], oldest first
//	POST   /jobs/outcomes   Outcome, for the next job that fits; may be given several times
//	POST   /jobs/{id}/end   Outcome, ends the job now
//	GET    /snapshots       [Snapshot...], in the order in which they were added
//	POST   /snapshots       Snapshot, added as AddSnapshot does; answers it
//	POST   /snapshots/{id}/end
//	                        {"status": "completed"} or failed; ends the taking of a snapshot now
//	GET    /                {"api": URL, "endpoints": [...]}
func (s *Server) Control() http.Handler { return s.control }

// Close waits up to a second for requests that are being answered, stops the jobs where
// they are and writes the state file. Later calls do nothing.
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
		if s.exports != nil {
			err = errors.Join(err, s.exports.Close())
		}
	})
	return err
}

// ptr returns a pointer to v: in the generated types, nil means absent.
func ptr[T any](v T) *T { return &v }

// drain reads the content of a request. More than maxContent bytes are an error.
func drain(r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	return io.ReadAll(http.MaxBytesReader(nil, r.Body, maxContent))
}

// maxContent bounds the content of a request, in bytes. No honest request reaches it.
const maxContent = 16 << 20
