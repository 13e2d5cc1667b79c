package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// health finds the gateway by a URL, a configuration or the environment, prints its checks, and
// ends with 0 where it is ready. A mistake elsewhere in the configuration does not matter.
func TestHealth(t *testing.T) {
	t.Parallel() // it waits most of the time
	p := serveFor(t, sim.Start(t, sim.Config{}).URL(), "", "ATLAS_GATEWAY_TIMEOUTS_DRAIN=3s")
	address := strings.TrimPrefix(p.Management, "http://")
	_, port, _ := strings.Cut(address, ":")
	dir := t.TempDir()
	n := 0
	file := func(content string) string {
		n++
		return gatewaytest.WriteFile(t, filepath.Join(dir, fmt.Sprint(n, ".yaml")), content)
	}
	refused := gatewaytest.Refused(t)
	elsewhere := gatewaytest.Serve(t, func(conn net.Conn) {
		conn.Read(make([]byte, 1024))
		io.WriteString(conn, "HTTP/1.1 302 Found\r\nLocation: "+p.Management+"/readyz\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	const checks = "[+]serving ok\n"
	for _, test := range []struct {
		name, argument, variable string
		status                   int
		prints                   string
	}{
		{"a URL", p.Management, "", exitOK, checks},
		{"a URL with a slash", p.Management + "/", "", exitOK, checks},
		{"a URL with a path", p.Management + "/healthz", "", exitOK, "ok\n"},
		{"a configuration", file("management: {address: '" + address + "'}\n"), "", exitOK, checks},
		{"a configuration with mistakes", file("listener: {adress: x}\nmanagement:\n  address: " + address + "\ncallers: 7\n"), "", exitOK, checks},
		{"an address that stands for all", file("management: {address: ':" + port + "'}\n"), "", exitOK, checks},
		{"the environment", "", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=0.0.0.0:" + port, exitOK, checks},
		{"the environment before a configuration", file("management: {address: '" + refused + "'}\n"), "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=" + address, exitOK, checks},
		{"a page that is not there", p.Management + "/other", "", exitFailed, "/other answers 403"},
		{"nobody", "http://" + refused, "", exitFailed, "connection refused"},
		{"nobody at the address of a configuration", file("management: {address: '" + refused + "'}\n"), "", exitFailed, "connection refused"},
		{"a redirect", "http://" + elsewhere.Addr().String(), "", exitFailed, "answers 302"},
		{"https", strings.Replace(p.Management, "http", "https", 1), "", exitUsage, "http://"},
		{"no address", file("management: {address: here}\n"), "", exitUsage, `management.address is "here"`},
	} {
		arguments := []string{"health"}
		if test.argument != "" {
			arguments = append(arguments, test.argument)
		}
		status, printed := runProgram(t, arguments, test.variable, "HTTP_PROXY=http://"+refused, "http_proxy=http://"+refused)
		if status != test.status || !strings.Contains(printed, test.prints) {
			t.Errorf("%s: exit status %d: %s", test.name, status, printed)
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.stop(t)
	}()
	gatewaytest.WaitFor(t, "the gateway to drain", func() bool {
		status, _ := get(t, p.Management+"/readyz")
		return status == http.StatusServiceUnavailable
	})
	if status, printed := runProgram(t, []string{"health", p.Management}); status != exitFailed || !strings.Contains(printed, "answers 503: [-]serving failed: draining") {
		t.Errorf("while it drains: exit status %d: %s", status, printed)
	}
	<-stopped
}

// health waits for an answer only so long. A configuration that can't be read is named where
// nobody answers at the default address.
func TestHealthEnds(t *testing.T) {
	t.Parallel()
	l := gatewaytest.Listen(t) // accepts, and does not answer
	defer l.Close()
	began := time.Now()
	if status, printed := runProgram(t, []string{"health", "http://" + l.Addr().String()}); status != exitFailed || time.Since(began) < healthTime {
		t.Errorf("exit status %d after %s: %s", status, time.Since(began), printed)
	}
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), "a: [")
	target, unread, err := healthURL(file, nil)
	if target != "http://127.0.0.1:27090"+readiness || unread == nil || err != nil {
		t.Errorf("%s %v %v", target, unread, err)
	}
}

// The image asks for the health of the gateway that it starts.
func TestHealthcheckOfTheImage(t *testing.T) {
	dockerfile := readFile(t, "../../deploy/Dockerfile")
	commands := func(instruction string) (list []string) {
		found := regexp.MustCompile(`(?m)^` + instruction + ` (\[.+\])$`).FindStringSubmatch(dockerfile)
		if found == nil || json.Unmarshal([]byte(found[1]), &list) != nil {
			t.Fatalf("the Dockerfile has no %s", instruction)
		}
		return list
	}
	check, serves := commands(`HEALTHCHECK --interval=15s --timeout=10s --start-period=30s CMD`), commands("CMD")
	if want := []string{"/atlas-gateway", "health", serves[1]}; !slices.Equal(check, want) {
		t.Errorf("%q, want %q", check, want)
	}
}
