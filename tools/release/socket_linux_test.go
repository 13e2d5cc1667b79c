package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// restarts has systemd hold the callers' socket, and restarts the service five times while callers
// send requests, on new connections and on those that they keep. None fails.
func (m machine) restarts(uid int, address, management, authority string) {
	m.t.Helper()
	m.run("systemctl stop atlas-gateway.service; mkdir /etc/systemd/system/atlas-gateway.socket.d; " +
		"printf '[Socket]\\nListenStream=\\nListenStream=" + address + "\\n' >/etc/systemd/system/atlas-gateway.socket.d/rehearsal.conf; " +
		"printf '[Service]\\nEnvironment=ATLAS_GATEWAY_TIMEOUTS_DRAIN=300ms\\n' >/etc/systemd/system/atlas-gateway.service.d/socket.conf; " +
		"systemctl daemon-reload; systemctl enable --now atlas-gateway.socket")
	m.expect("inactive\n", "systemctl is-active atlas-gateway.service")

	// The first connection starts the service, and waits for it.
	send := calls(m.t, address, authority)
	if err := send(false); err != nil {
		m.t.Fatalf("the first connection: %v", err)
	}
	before := m.serves(uid, management)

	stop, answered := make(chan struct{}), atomic.Int64{}
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := send(n%2 == 0); err != nil {
					m.t.Errorf("%d answers, then %v", answered.Load(), err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for range 5 {
		// Otherwise systemd starts nothing more often than five times in ten seconds.
		m.run("systemctl reset-failed atlas-gateway.service; systemctl restart atlas-gateway.service")
		after := m.serves(uid, management)
		if after == before {
			m.t.Error("systemd has not restarted the service")
		}
		before = after
		for more := answered.Load() + 100; answered.Load() < more && !m.t.Failed(); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	close(stop)
	callers.Wait()
	m.t.Logf("%d requests during 5 restarts behind systemd's socket", answered.Load())
}

// calls returns a function that sends a request without a key, on a connection that is kept or on
// one of its own. Its error says that the gateway has not answered.
func calls(t *testing.T, address, authority string) func(kept bool) error {
	pem, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	url := "https://" + address + "/api/atlas/v2/groups/" + strings.Repeat("0", 24) + "/backup/exportBuckets"
	return func(kept bool) error {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		request.Close = !kept
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("Gateway-Request-Id") == "" {
			return fmt.Errorf("answered %q", answer.Status)
		}
		return nil
	}
}
