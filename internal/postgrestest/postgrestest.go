// Package postgrestest runs a real PostgreSQL server for tests, on a free loopback port and in a
// directory of its own.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// Server is a server of PostgreSQL.
type Server struct {
	bin, dir  string
	port      int
	user      *syscall.Credential
	process   *exec.Cmd
	ended     <-chan struct{}
	databases atomic.Int64
}

// Find returns the directory of PostgreSQL's programs, or why there is none.
func Find() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed (Debian's package postgresql has it)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// Start starts a server, which ends with the test. Where PostgreSQL is missing, the test is
// skipped, or fails if the variable CI is set.
func Start(t *testing.T) *Server {
	t.Helper()
	Need(t)
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Need skips the test where PostgreSQL is missing. If the variable CI is set, the test goes on, and
// fails.
func Need(t *testing.T) {
	t.Helper()
	if _, err := Find(); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
}

// New starts a server, which ends with Close, or with the process.
func New() (*Server, error) {
	bin, err := Find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir}
	if err := s.prepare(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := s.Resume(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the server, and removes its directory.
func (s *Server) Close() {
	s.Kill()
	os.RemoveAll(s.dir)
}

// prepare makes the server's files, and finds a port.
func (s *Server) prepare() error {
	if os.Geteuid() == 0 { // which PostgreSQL refuses to run as
		if err := s.becomeAnother(); err != nil {
			return err
		}
	}
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", "gateway", "--auth", "trust", "--no-sync", "--no-locale", "--encoding", "UTF8")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	return listener.Close()
}

// becomeAnother has the server run as a user that is not root.
func (s *Server) becomeAnother() error {
	for _, name := range []string{"postgres", "nobody"} {
		other, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(other.Uid)
		gid, _ := strconv.Atoi(other.Gid)
		s.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(s.dir, uid, gid)
	}
	return errors.New("there is no user postgres or nobody to run PostgreSQL as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, arguments ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.bin, name), arguments...)
	command.Dir = s.dir
	// The server must not outlive a test that is killed.
	command.SysProcAttr = &syscall.SysProcAttr{Credential: s.user, Pdeathsig: syscall.SIGQUIT}
	return command
}

// Restart starts the server again, after Kill, on the same port. It returns when the server
// accepts connections.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
}

// Resume is Restart outside a test.
func (s *Server) Resume() error {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := s.start(); err != nil {
		return err
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return nil
		}
		select {
		case <-s.ended: // the children of a killed server still have its memory
			if err := s.start(); err != nil {
				return err
			}
		default:
		}
		if time.Now().After(until) {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, text)
		}
	}
}

// start starts the process.
func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	process := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "log_min_messages=warning")
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		process.Wait()
		close(ended)
	}()
	s.process, s.ended = process, ended
	return nil
}

// Kill ends the server and its children with SIGKILL, as a crash of the machine would.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.Process.Signal(syscall.SIGSTOP) // no new children
	parent := strconv.Itoa(s.process.Process.Pid)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		_, after, _ := strings.Cut(string(text), ") ") // behind the name: state, then parent
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == parent {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	s.process.Process.Kill()
	<-s.ended
}

// URL returns the connection string of a database.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://gateway@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Database makes a new database and returns its connection string.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	url, err := s.NewDatabase()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// NewDatabase is Database outside a test.
func (s *Server) NewDatabase() (url string, err error) {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := fmt.Sprintf("journal%d", s.databases.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+name)
	return s.URL(name), err
}
