package atlas

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// No name is at hand that resolves to a link-local address, so this looks at the check that
// the dialer calls once a name is resolved.
func TestRefuseLinkLocal(t *testing.T) {
	for _, address := range []string{"169.254.169.254:443", "[fe80::1]:443", "[fe80::1%eth0]:443", "[::ffff:169.254.169.254]:443", "0.0.0.0:443", "nonsense"} {
		if refuseLinkLocal("tcp", address, nil) == nil {
			t.Errorf("%s was accepted", address)
		}
	}
	for _, address := range []string{"203.0.113.7:443", "127.0.0.1:443", "[2001:db8::1]:443"} {
		if err := refuseLinkLocal("tcp", address, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The connections to Atlas ask that check. Nothing is sent: it is called before a connection is
// made.
func TestConnectionsRefuseLinkLocal(t *testing.T) {
	const address = "http://169.254.169.254"
	origin, err := outbound.ParseOrigin(address)
	if err != nil {
		t.Fatal(err)
	}
	way, err := NewPool(func(string, int, time.Duration) {}, func(CredentialState) {}).connect(Config{Origin: address, MaxConnections: 1}, origin)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := way.transport.RoundTrip(request); err == nil || !strings.Contains(err.Error(), "169.254.169.254:80 is a link-local address") {
		t.Errorf("got %v", err)
	}
}
