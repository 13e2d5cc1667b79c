// Package postgrestest runs a real PostgreSQL server for tests, on a free loopback port and in a
// directory of its own.
package postgrestest

import (
	"context"
	"database/sql"
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
		return "", fmt.Errorf("PostgreSQL is not installed (Debian's package postgresql has it)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// Start starts a server, which ends with the test. Where PostgreSQL is missing, the test is
// skipped, or fails if the variable CI is set.
func Start(t *testing.T) *Server {
	t.Helper()
	bin, err := Find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{bin: bin, dir: dir}
	if os.Geteuid() == 0 { // which PostgreSQL refuses to run as
		s.becomeAnother(t)
	}
	s.run(t, "initdb", "--pgdata", s.data(), "--username", "gateway", "--auth", "trust", "--no-sync", "--no-locale", "--encoding", "UTF8")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	s.Restart(t)
	t.Cleanup(s.Kill)
	return s
}

// becomeAnother has the server run as a user that is not root.
func (s *Server) becomeAnother(t *testing.T) {
	for _, name := range []string{"postgres", "nobody"} {
		other, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(other.Uid)
		gid, _ := strconv.Atoi(other.Gid)
		s.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no user postgres or nobody to run PostgreSQL as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, arguments ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.bin, name), arguments...)
	command.Dir = s.dir
	// The server must not outlive a test that is killed.
	command.SysProcAttr = &syscall.SysProcAttr{Credential: s.user, Pdeathsig: syscall.SIGQUIT}
	return command
}

func (s *Server) run(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if out, err := s.command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Restart starts the server again, after Kill, on the same port. It returns when the server
// accepts connections.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ended := s.start(t)
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return
		}
		select {
		case <-ended: // the children of a killed server still have its memory
			ended = s.start(t)
		default:
		}
		if time.Now().After(until) {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("PostgreSQL does not answer: %v\n%s", err, text)
		}
	}
}

// start starts the process, and returns a channel that is closed at its end.
func (s *Server) start(t testing.TB) <-chan struct{} {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "log_min_messages=warning")
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		process.Wait()
		close(ended)
	}()
	s.process, s.ended = process, ended
	return ended
}

// Kill ends the server and its children with SIGKILL, as a crash of the machine would.
func (s *Server) Kill() {
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
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("journal%d", s.databases.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}
