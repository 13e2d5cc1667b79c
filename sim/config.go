package sim

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// Config says what a simulated Atlas knows and how it behaves. The zero Config behaves as
// Atlas does, with the default seed, in memory, on free loopback ports.
type Config struct {
	// Listen and ControlListen are the addresses of the API and of the control
	// listener. Empty means a free port of 127.0.0.1.
	Listen, ControlListen string
	// AllowRemote permits addresses that are not loopback.
	AllowRemote bool
	// TLS, if not nil, is the certificate that the API is served with, over HTTP/1.1.
	// The control listener has no TLS.
	TLS *tls.Certificate
	// PublicURL is the origin in the links of answers. Empty means the origin of the API
	// listener.
	PublicURL string

	// Seed is the world: groups, clusters, snapshots and keys. Nil means [DefaultSeed].
	Seed *Seed
	// StateFile, if not empty, keeps buckets, jobs, snapshots and schedules over restarts. A
	// file that does not exist is created. A damaged file, or one that can't be written, is an
	// error.
	StateFile string
	// ExportDir, if not empty, is an existing directory that stands for all object
	// storage: the files of a job go below ExportDir/<bucket>/<prefix>.
	ExportDir string

	// Now is the time of day. Nil means time.Now. See [Server.Advance] and
	// [Server.Settle].
	Now func() time.Time
	// Speed is how many times faster than at Atlas jobs run and snapshots are taken; 0 means 1.
	// At 150 an export of 12 minutes takes 5 seconds. Backup schedules follow the clock alone.
	Speed float64
	// QueueTime and RunTime are how long a job is Queued and InProgress at speed 1.
	// 0 means 30 s and 11 min 30 s: Atlas takes 12 to 15 minutes for an empty database.
	QueueTime, RunTime time.Duration
	// SnapshotQueueTime and SnapshotRunTime are how long a snapshot is queued and inProgress at
	// speed 1. 0 means 5 s and 8 min, which a small cluster of Atlas takes.
	SnapshotQueueTime, SnapshotRunTime time.Duration

	// LogRequests and LogBytes bound the log of requests, which drops the oldest first.
	// 0 means 10,000 requests and 64 MiB.
	LogRequests, LogBytes int

	// Settings are the first settings; the control listener can change them.
	Settings Settings
	// Faults are the first faults; the control listener can replace them.
	Faults []Fault

	// Logger receives what a tester should know and no client sees, such as an export
	// directory that can't be written. Nil means none.
	Logger *slog.Logger
}

// setDefaults puts the default in place of each zero value that has one.
func (cfg *Config) setDefaults() {
	if cfg.Seed == nil {
		cfg.Seed = DefaultSeed()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:0")
	cfg.ControlListen = cmp.Or(cfg.ControlListen, "127.0.0.1:0")
	cfg.Speed = cmp.Or(cfg.Speed, 1)
	cfg.QueueTime = cmp.Or(cfg.QueueTime, 30*time.Second)
	cfg.RunTime = cmp.Or(cfg.RunTime, 11*time.Minute+30*time.Second)
	cfg.SnapshotQueueTime = cmp.Or(cfg.SnapshotQueueTime, 5*time.Second)
	cfg.SnapshotRunTime = cmp.Or(cfg.SnapshotRunTime, 8*time.Minute)
	cfg.LogRequests = cmp.Or(cfg.LogRequests, 10_000)
	cfg.LogBytes = cmp.Or(cfg.LogBytes, 64<<20)
}

// check refuses numbers, addresses and a public URL that make no sense.
func (cfg *Config) check() error {
	return errors.Join(cfg.checkNumbers(), cfg.checkAddress(cfg.Listen), cfg.checkAddress(cfg.ControlListen), checkOrigin(cfg.PublicURL))
}

func (cfg *Config) checkNumbers() error {
	switch {
	case !(cfg.Speed > 0) || math.IsInf(cfg.Speed, 1): // NaN is not greater than 0 either
		return fmt.Errorf("Config.Speed is %v; it must be a finite number above 0", cfg.Speed)
	case cfg.QueueTime < 0:
		return fmt.Errorf("Config.QueueTime is %v; it must not be negative", cfg.QueueTime)
	case cfg.RunTime < 0:
		return fmt.Errorf("Config.RunTime is %v; it must not be negative", cfg.RunTime)
	case cfg.SnapshotQueueTime < 0:
		return fmt.Errorf("Config.SnapshotQueueTime is %v; it must not be negative", cfg.SnapshotQueueTime)
	case cfg.SnapshotRunTime < 0:
		return fmt.Errorf("Config.SnapshotRunTime is %v; it must not be negative", cfg.SnapshotRunTime)
	case cfg.LogRequests < 0:
		return fmt.Errorf("Config.LogRequests is %d; it must not be negative", cfg.LogRequests)
	case cfg.LogBytes < 0:
		return fmt.Errorf("Config.LogBytes is %d; it must not be negative", cfg.LogBytes)
	}
	return nil
}

// checkAddress refuses what is not an address. Unless AllowRemote is set, it also refuses
// addresses that are not loopback.
func (cfg *Config) checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the address is %q; expected host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the address is %q; its port is no number up to 65535", address)
	}
	if ip := net.ParseIP(host); !cfg.AllowRemote && host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("the address %q is not loopback; the simulation's keys are public", address)
	}
	return nil
}

func checkOrigin(origin string) error {
	if origin == "" {
		return nil
	}
	if _, err := outbound.ParseOrigin(origin); err != nil {
		return fmt.Errorf("the public URL %q is not an origin such as https://cloud.mongodb.com: %w", origin, err)
	}
	return nil
}
