package clientaddress_test

import (
	"errors"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/clientaddress"
)

// proxies believe three networks.
func proxies(how clientaddress.How) clientaddress.Config {
	return clientaddress.Config{How: how, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:aaaa::/48"), netip.MustParsePrefix("fe80::/64")}}
}

const (
	forwarded = "Forwarded"
	xff       = "X-Forwarded-For"
	proxy     = "10.0.0.7:40000" // a trusted peer
)

// fields are what a trusted proxy sends, and the client's address; "refused" for what names none.
var fields = []struct {
	name   string // of the field
	lines  []string
	client string
}{
	{xff, []string{"203.0.113.7"}, "203.0.113.7:0"},
	{xff, []string{"203.0.113.7:51352"}, "203.0.113.7:51352"},
	{xff, []string{"2001:db8::7"}, "[2001:db8::7]:0"},
	{xff, []string{"[2001:db8::7]"}, "[2001:db8::7]:0"},
	{xff, []string{"[2001:db8::7]:51352"}, "[2001:db8::7]:51352"},
	{xff, []string{"::ffff:203.0.113.7"}, "203.0.113.7:0"},
	{xff, []string{"127.0.0.1, 203.0.113.7"}, "203.0.113.7:0"}, // what a client claims
	{xff, []string{"127.0.0.1", "203.0.113.7"}, "203.0.113.7:0"},
	{xff, []string{"nonsense, 203.0.113.7"}, "203.0.113.7:0"},
	{xff, []string{"203.0.113.7,10.0.0.8 ,\t10.0.0.9"}, "203.0.113.7:0"}, // through two proxies more
	{xff, []string{"127.0.0.1, 203.0.113.7, 2001:db8:aaaa::1"}, "203.0.113.7:0"},
	{xff, []string{"10.0.0.9, 10.0.0.8"}, "10.0.0.9:0"}, // all are proxies
	{xff, []string{", 203.0.113.7,, "}, "203.0.113.7:0"},
	{xff, []string{"203.0.113.7", ""}, "203.0.113.7:0"},
	{xff, []string{"unknown"}, proxy},
	{xff, []string{"203.0.113.7, unknown"}, proxy},
	{xff, []string{"203.0.113.7, unknown, 10.0.0.8"}, proxy},
	{xff, []string{"203.0.113.7, _hidden"}, proxy},
	{xff, nil, "refused"},
	{xff, []string{"", " , "}, "refused"},
	{xff, []string{"203.0.113.7, nonsense"}, "refused"},
	{xff, []string{"203.0.113.7, 10.0.0.8, 203.0.113"}, "refused"},
	{xff, []string{"203.0.113.007"}, "refused"},
	{xff, []string{"203.0.113.7/32"}, "refused"},
	{xff, []string{"203.0.113.7 198.51.100.1"}, "refused"},
	{xff, []string{"203.0.113.7:"}, "refused"},
	{xff, []string{"203.0.113.7:65536"}, "refused"},
	{xff, []string{"203.0.113.7:000080"}, "refused"},
	{xff, []string{"[203.0.113.7]"}, "refused"},
	{xff, []string{"[2001:db8::7"}, "refused"},
	{xff, []string{"2001:db8::7]"}, "refused"},
	{xff, []string{"[2001:db8::7]51352"}, "refused"},
	{xff, []string{"fe80::1%eth0"}, "refused"},
	{xff, []string{"[fe80::1%25eth0]"}, "refused"},
	{xff, []string{"localhost"}, "refused"},
	{xff, []string{`"203.0.113.7"`}, "refused"},
	{xff, []string{"for=203.0.113.7"}, "refused"},
	{xff, []string{strings.Repeat("10.0.0.8, ", 31) + "10.0.0.9"}, "10.0.0.8:0"},
	{xff, []string{strings.Repeat("10.0.0.8, ", 32) + "203.0.113.7"}, "refused"},
	{xff, slices.Repeat([]string{"10.0.0.8"}, 33), "refused"},

	{forwarded, []string{"for=203.0.113.7"}, "203.0.113.7:0"},
	{forwarded, []string{"For=203.0.113.7;proto=https;by=10.0.0.7"}, "203.0.113.7:0"},
	{forwarded, []string{`proto=http;FOR="203.0.113.7:51352"`}, "203.0.113.7:51352"},
	{forwarded, []string{`for="203.0.113.7"`}, "203.0.113.7:0"},
	{forwarded, []string{`for="[2001:db8::7]:51352"`}, "[2001:db8::7]:51352"},
	{forwarded, []string{`for="[2001:db8::7]"`}, "[2001:db8::7]:0"},
	{forwarded, []string{`for="203.0.113.7:_port"`}, "203.0.113.7:0"},
	{forwarded, []string{`for="\203.0.113.7"`}, "203.0.113.7:0"},
	{forwarded, []string{"for=127.0.0.1, for=203.0.113.7"}, "203.0.113.7:0"},
	{forwarded, []string{"for=127.0.0.1", "for=203.0.113.7"}, "203.0.113.7:0"},
	{forwarded, []string{`for="a, for=b;\"", for=203.0.113.7 , for=10.0.0.8`}, "203.0.113.7:0"},
	{forwarded, []string{",for=203.0.113.7;,, ;,"}, "203.0.113.7:0"},
	{forwarded, []string{"for=10.0.0.9, for=10.0.0.8"}, "10.0.0.9:0"},
	{forwarded, []string{"for=unknown"}, proxy},
	{forwarded, []string{`for="unknown:80"`}, proxy},
	{forwarded, []string{"for=203.0.113.7, for=_hidden"}, proxy},
	{forwarded, []string{`for="_hidden:_port"`}, proxy},
	{forwarded, []string{"for=203.0.113.7, proto=https"}, proxy},
	{forwarded, nil, "refused"},
	{forwarded, []string{" ,;"}, "refused"},
	{forwarded, []string{"203.0.113.7"}, "refused"},
	{forwarded, []string{"for=203.0.113.7:51352"}, "refused"}, // a colon is quoted
	{forwarded, []string{"for=[2001:db8::7]"}, "refused"},
	{forwarded, []string{`for="2001:db8::7"`}, "refused"}, // without brackets
	{forwarded, []string{`for="[203.0.113.7]"`}, "refused"},
	{forwarded, []string{"for=_"}, "refused"},
	{forwarded, []string{"for=a.example"}, "refused"},
	{forwarded, []string{`for=""`}, "refused"},
	{forwarded, []string{"for="}, "refused"},
	{forwarded, []string{"for"}, "refused"},
	{forwarded, []string{"for =203.0.113.7"}, "refused"},
	{forwarded, []string{"for=203.0.113.7; proto=https"}, "refused"},
	{forwarded, []string{"for=198.51.100.1;for=203.0.113.7"}, "refused"},
	{forwarded, []string{"for=198.51.100.1;For=203.0.113.7"}, "refused"},
	{forwarded, []string{"for=203.0.113.7 for=198.51.100.1"}, "refused"},
	// A client leaves a quote open, so that what the proxy adds stands in quotes.
	{forwarded, []string{`for=198.51.100.1;x=", for=203.0.113.7`}, "refused"},
	{forwarded, []string{`for=198.51.100.1;x="`, `for="203.0.113.7"`}, "refused"},
	{forwarded, []string{`for=198.51.100.1;x=", for="203.0.113.7"`}, "refused"},
	{forwarded, []string{`for="a`, `b"`, "for=203.0.113.7"}, "refused"}, // each line ends its elements
	{forwarded, []string{`for=198.51.100.1;x="\`, "for=203.0.113.7"}, "refused"},
	{forwarded, []string{strings.Repeat("for=10.0.0.8,", 32) + "for=203.0.113.7"}, "refused"},
}

// how is the way that goes by a field.
func how(field string) clientaddress.How {
	if field == xff {
		return clientaddress.XForwardedFor
	}
	return clientaddress.Forwarded
}

// The client is the last address that is no proxy's. Only what trusted proxies add counts.
func TestClient(t *testing.T) {
	peer := netip.MustParseAddrPort(proxy)
	for _, test := range fields {
		header := http.Header{test.name: test.lines, xff + "-Not": {"203.0.113.9"}}
		client, err := proxies(how(test.name)).Client(peer, header)
		refused, _ := errors.AsType[*clientaddress.FieldError](err)
		if test.client == "refused" {
			if refused == nil || refused.Name != test.name || client != peer {
				t.Errorf("%s: %q is %s, %v", test.name, test.lines, client, err)
			}
		} else if err != nil || client.String() != test.client {
			t.Errorf("%s: %q is %s, %v; want %s", test.name, test.lines, client, err, test.client)
		}
	}
}

// Nobody believes a field of a peer that is no proxy, the other field, or any where none is to be
// believed.
func TestClientOfOthers(t *testing.T) {
	header := http.Header{xff: {"203.0.113.7"}, forwarded: {"for=203.0.113.7"}}
	broken := http.Header{xff: {"nonsense"}, forwarded: {"=", ";;"}}
	for _, test := range []struct {
		config clientaddress.Config
		peer   string
	}{
		{proxies(clientaddress.XForwardedFor), "10.0.1.7:1"},
		{proxies(clientaddress.Forwarded), "10.0.1.7:1"},
		{proxies(clientaddress.Forwarded), "[2001:db8:aaab::1]:1"},
		{proxies(clientaddress.ProxyProtocol), proxy},
		{proxies(""), proxy},
		{clientaddress.Config{}, proxy},
		{clientaddress.Config{How: clientaddress.Forwarded}, proxy},
	} {
		peer := netip.MustParseAddrPort(test.peer)
		for _, h := range []http.Header{header, broken, {}} {
			if client, err := test.config.Client(peer, h); err != nil || client != peer {
				t.Errorf("%v %s: %s, %v", test.config, peer, client, err)
			}
		}
	}
	for peer, trusted := range map[string]bool{"10.0.0.1": true, "::ffff:10.0.0.1": true, "fe80::1%eth0": true, "10.0.1.1": false, "::1": false} {
		header := http.Header{xff: {"203.0.113.7"}}
		client, err := proxies(clientaddress.XForwardedFor).Client(netip.AddrPortFrom(netip.MustParseAddr(peer), 1), header)
		expects := proxies(clientaddress.ProxyProtocol).Expects(netip.MustParseAddr(peer))
		if err != nil || (client.String() == "203.0.113.7:0") != trusted || expects != trusted {
			t.Errorf("%s: %s, %v, %t", peer, client, err, expects)
		}
	}
	if proxies(clientaddress.Forwarded).Expects(netip.MustParseAddr("10.0.0.1")) || proxies(clientaddress.ProxyProtocol).Expects(netip.Addr{}) {
		t.Error("a preamble is expected")
	}
}

// A client can fill a field with elements. It is read no further than to the first that is too many.
func TestClientOfManyElements(t *testing.T) {
	for name, element := range map[string]string{xff: "1,", forwarded: "by=1,"} {
		header := http.Header{name: {strings.Repeat(element, 10_000)}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := proxies(how(name)).Client(netip.MustParseAddrPort(proxy), header)
		runtime.ReadMemStats(&after)
		if bytes := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "more than 32 elements") || bytes > 64<<10 {
			t.Errorf("%s: %v, with %d bytes", name, err, bytes)
		}
	}
}

// Whatever a client puts before it: what the proxy adds is the client, or the field is refused. A
// proxy adds to the line, or adds a line.
func FuzzClient(f *testing.F) {
	for _, test := range fields {
		f.Add(strings.Join(test.lines, ","))
	}
	f.Fuzz(func(t *testing.T, claim string) {
		const want = "203.0.113.7"
		for _, ours := range []struct{ name, element, address string }{
			{xff, want, want + ":0"},
			{forwarded, "for=" + want, want + ":0"},
			{forwarded, `for="[2001:db8::7]:1";proto=https`, "[2001:db8::7]:1"},
		} {
			for _, lines := range [][]string{{claim + ", " + ours.element}, {claim + "," + ours.element}, {claim, ours.element}} {
				client, err := proxies(how(ours.name)).Client(netip.MustParseAddrPort(proxy), http.Header{ours.name: lines})
				if err == nil && client.String() != ours.address {
					t.Errorf("%q is %s", lines, client)
				}
			}
		}
	})
}
