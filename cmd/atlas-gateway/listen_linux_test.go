package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Callers and operators reach the gateway by the sockets that were passed, in either order, and
// without names.
func TestPassedSockets(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	for _, names := range []string{"management:listener", ""} {
		first, second := gatewaytest.Listen(t).(*net.TCPListener), gatewaytest.Listen(t).(*net.TCPListener)
		p := newProcessFor(t, atlas.URL(), "")
		passing(t, p, names, first, second)
		p.start(t, p.command.Start)
		first.Close()
		second.Close()
		listener, management := first, second
		if names == "management:listener" {
			listener, management = second, first
		}
		if p.Listener != "http://"+listener.Addr().String() || p.Management != "http://"+management.Addr().String() {
			t.Errorf("%s: %s and %s", names, p.Listener, p.Management)
		}
		if status, body := get(t, p.Listener+buckets); status != 200 {
			t.Errorf("%s: %d %s", names, status, body)
		}
		if status, body := get(t, p.Management+"/readyz"); status != 200 {
			t.Errorf("%s: %d %s", names, status, body)
		}
		p.stop(t)
	}
}

// A socket that does not fit the configuration is refused: the configuration was checked for its
// own addresses.
func TestPassedSocketsAreChecked(t *testing.T) {
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	loopback := gatewaytest.Listen(t)
	defer loopback.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	type socket interface{ File() (*os.File, error) }
	for _, test := range []struct {
		names   string
		sockets []socket
		environ string
		want    string
	}{
		{"listener", []socket{everywhere.(socket)}, "", "listener.address: is 127.0.0.1:0, and the socket that was passed by LISTEN_FDS listens on 0.0.0.0:"},
		{"listener", []socket{loopback.(socket)}, "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.2:0", "listener.address: is 127.0.0.2:0, and the socket"},
		{"management", []socket{everywhere.(socket)}, "", "management.address: is 127.0.0.1:0, and the socket"},
		{"atlas-gateway.socket", []socket{loopback.(socket)}, "", `the socket "atlas-gateway.socket" that was passed by LISTEN_FDS: FileDescriptorName must be listener or management`},
		{"listener:listener", []socket{loopback.(socket), loopback.(socket)}, "", "there are two of that name"},
		{"listener", []socket{local.(socket)}, "", "it is no socket of TCP"},
	} {
		p := newProcessFor(t, "https://atlas.invalid", "", test.environ)
		passing(t, p, test.names)
		for i, env := range p.command.Env {
			if strings.HasPrefix(env, "LISTEN_FDS=") {
				p.command.Env[i] = "LISTEN_FDS=" + string('0'+rune(len(test.sockets)))
			}
		}
		for _, s := range test.sockets {
			file, err := s.File()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			p.command.ExtraFiles = append(p.command.ExtraFiles, file)
		}
		p.command.Stdout = io.Discard
		if err := p.command.Run(); err == nil || p.command.ProcessState.ExitCode() != exitConfig || !strings.Contains(p.stderr.String(), test.want) {
			t.Errorf("%s: %v\n%s", test.names, err, &p.stderr)
		}
	}
}
