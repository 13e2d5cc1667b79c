package gateway

import "testing"

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
