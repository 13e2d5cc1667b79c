package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// The load of the tests of restarts: how many requests, at least, and how many restarts. make
// restarts sets RESTARTS_REQUESTS.
func restartLoad() (requests int64, restarts int, full bool) {
	if n, err := strconv.ParseInt(os.Getenv("RESTARTS_REQUESTS"), 10, 64); err == nil {
		return n, 5, true
	}
	return 500, 2, false
}

// passing has a process of the gateway get sockets, as systemd passes them, by their names.
func passing(t *testing.T, p *process, names string, sockets ...*net.TCPListener) {
	t.Helper()
	self := p.command.Args
	p.command.Path = "/bin/sh"
	p.command.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, self...)
	p.command.Env = append(p.command.Env, fmt.Sprint("LISTEN_FDS=", len(sockets)), "LISTEN_FDNAMES="+names)
	for _, socket := range sockets {
		file, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		p.command.ExtraFiles = append(p.command.ExtraFiles, file)
	}
}

// clients send requests, each once, and count those that are not answered with 200.
type clients struct {
	address string
	tls     *tls.Config // nil means plain HTTP
	stop    chan struct{}
	group   sync.WaitGroup

	answered, failed atomic.Int64
	errors           gatewaytest.Buffer
}

// A habit is how a client sends its requests.
type habit struct {
	request string
	keeps   bool          // the connection, until it is asked to close it
	thinks  time.Duration // between two requests
	waits   time.Duration // between a connection and its first request
}

// startClients starts clients of all habits: several of each, so that some requests are on their way
// at any moment.
func startClients(address string, config *tls.Config, thinks time.Duration) *clients {
	c := &clients{address: address, tls: config, stop: make(chan struct{})}
	keeping := func(request string) string { return strings.Replace(request, "Connection: close\r\n", "", 1) }
	for _, h := range []habit{
		{keeping(aGet), true, thinks, 0},
		{keeping(aPost), true, thinks, 0},
		{keeping(aGet), true, 20*time.Millisecond + thinks, 0},
		{aGet, false, thinks, 0},
		{aPost, false, thinks, 5 * time.Millisecond},
		{keeping(aGet), false, thinks, 0},
	} {
		for range 3 {
			c.group.Go(func() { c.call(h) })
		}
	}
	return c
}

// call sends requests until the clients are stopped.
func (c *clients) call(h habit) {
	var conn net.Conn
	var reader *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(h.thinks):
		}
		err := func() (err error) {
			if conn == nil {
				if conn, err = c.dial(); err != nil {
					return err
				}
				reader = bufio.NewReader(conn)
				time.Sleep(h.waits)
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(conn, h.request); err != nil {
				return err
			}
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				return err
			}
			content, err := io.ReadAll(response.Body)
			if err == nil && response.StatusCode != 200 {
				err = fmt.Errorf("%d %s", response.StatusCode, content)
			}
			if response.Close || !h.keeps {
				conn.Close()
				conn = nil
			}
			return err
		}()
		if err == nil {
			c.answered.Add(1)
			continue
		}
		c.failed.Add(1)
		fmt.Fprintf(&c.errors, "%+v: %v\n", h, err)
		if conn != nil {
			conn.Close()
			conn = nil
		}
	}
}

func (c *clients) dial() (net.Conn, error) {
	if c.tls != nil {
		return tls.Dial("tcp", c.address, c.tls)
	}
	return net.Dial("tcp", c.address)
}

// await waits until clients have had a number of answers, and fails the test if none come.
func (c *clients) await(t *testing.T, answers int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for n := c.answered.Load(); n < answers; n = c.answered.Load() {
		if n != last {
			last, since = n, time.Now()
		} else if time.Since(since) > time.Minute {
			t.Fatalf("%d answers, and then none for a minute\n%s", n, &c.errors)
		}
		time.Sleep(time.Millisecond)
	}
}

// end stops the clients, and fails the test if a request has failed.
func (c *clients) end(t *testing.T) {
	t.Helper()
	close(c.stop)
	c.group.Wait()
	if n := c.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed:\n%.2000s", n, n+c.answered.Load(), &c.errors)
	}
	t.Logf("%d requests, %d failed", c.answered.Load()+c.failed.Load(), c.failed.Load())
}

// ofRestarts starts an Atlas that answers at once, and returns its URL and settings of a gateway.
func ofRestarts(t *testing.T) (atlas string, environ []string) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if r.Method == http.MethodPost {
			return gatewaytest.JSON(200, `{"_id":"65a9d3e1f20b4c7788990011","cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"65a9d2f4f20b4c7788990001"}`)
		}
		return gatewaytest.JSON(200, list)
	}))
	return upstream.URL, []string{"ATLAS_GATEWAY_TIMEOUTS_DRAIN=300ms", "ATLAS_GATEWAY_LOG_LEVEL=warn", "ATLAS_GATEWAY_RESPONSES_CHECK=off"}
}

// No request fails while one gateway after the other serves on a socket that all of them get from
// their parent. Each ends before the next begins, and connections wait meanwhile.
func TestRestartsBehindASocket(t *testing.T) {
	requests, restarts, full := restartLoad()
	authority := gatewaytest.NewAuthority(t)
	certificate := authority.Loopback(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority.PEM))
	for name, config := range map[string]*tls.Config{"plain HTTP": nil, "TLS": {RootCAs: roots}} {
		if !full && config != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			atlas, environ := ofRestarts(t)
			if config != nil {
				environ = append(environ, certificate.Environ(t)...)
			}
			socket := gatewaytest.Listen(t).(*net.TCPListener)
			defer socket.Close()
			start := func() *process {
				p := newProcessFor(t, atlas, "", environ...)
				p.patience = 10 * time.Minute
				passing(t, p, "listener", socket)
				p.start(t, p.command.Start)
				return p
			}
			thinks, requests := time.Duration(0), requests
			if !full {
				thinks = 2 * time.Millisecond
			} else if config != nil {
				requests /= 10 // a handshake takes more time than ten requests
			}
			p := start()
			c := startClients(socket.Addr().String(), config, thinks)
			for n := range restarts {
				c.await(t, requests*int64(n+1)/int64(restarts+1))
				p.stop(t)
				p = start()
			}
			c.await(t, requests)
			c.end(t)
			p.stop(t)
		})
	}
}

// No request fails while three gateways behind a balancer of TCP, which asks /readyz, are restarted
// in turn.
func TestRestartsBehindABalancer(t *testing.T) {
	requests, restarts, full := restartLoad()
	if !full {
		t.Skip("make restarts runs it")
	}
	needHAProxy(t)
	atlas, environ := ofRestarts(t)
	environ = append(environ, "ATLAS_GATEWAY_TIMEOUTS_DRAIN=2s")
	start := func(listener, management string) *process {
		p := newProcessFor(t, atlas, "", append(environ, "ATLAS_GATEWAY_LISTENER_ADDRESS="+listener, "ATLAS_GATEWAY_MANAGEMENT_ADDRESS="+management)...)
		p.patience = 10 * time.Minute
		p.start(t, p.command.Start)
		return p
	}
	hostOf := func(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }
	var replicas [3]*process
	servers := ""
	for i := range replicas {
		p := start("127.0.0.1:0", "127.0.0.1:0")
		replicas[i] = p
		_, port, _ := net.SplitHostPort(hostOf(p.Management))
		servers += fmt.Sprintf("  server r%d %s check port %s inter 100ms fall 1 rise 1\n", i, hostOf(p.Listener), port)
	}
	balancer := startHAProxy(t, "  option httpchk GET /readyz\n"+servers)
	c := startClients(balancer, nil, 0)
	for n := range restarts {
		c.await(t, requests*int64(n+1)/int64(restarts+1))
		for i, p := range replicas {
			p.stop(t)
			replicas[i] = start(hostOf(p.Listener), hostOf(p.Management))
			// The balancer sends to it again.
			gatewaytest.WaitFor(t, "a request at the replica", func() bool {
				_, metrics := get(t, replicas[i].Management+"/metrics")
				return strings.Contains(metrics, `atlas_gateway_requests_total{`)
			})
		}
	}
	c.await(t, requests)
	c.end(t)
	for _, p := range replicas {
		p.stop(t)
	}
}

// needHAProxy skips the test where haproxy is missing, except in CI.
func needHAProxy(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("haproxy is missing")
		}
		t.Skip("haproxy is missing")
	}
}

// startHAProxy starts a balancer with settings of its own, of TCP unless they say otherwise, and
// returns its address.
func startHAProxy(t *testing.T, settings string) string {
	t.Helper()
	socket := gatewaytest.Listen(t).(*net.TCPListener)
	defer socket.Close()
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	config := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "haproxy.cfg"), `
global
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  option redispatch
listen gateway
  bind fd@3
`+settings)
	command := exec.Command("haproxy", "-db", "-q", "-f", config)
	command.ExtraFiles = []*os.File{file}
	var warnings gatewaytest.Buffer // that servers come and go
	command.Stderr = &warnings
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(warnings.String())
		}
		command.Process.Kill()
		command.Wait()
	})
	return socket.Addr().String()
}
