package clientaddress_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"atlas-export-gateway/gateway/clientaddress"
)

// signature begins a preamble of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// The addresses of preambles of version 2: those of a client and of a gateway, and their ports.
const (
	block4    = "\xcb\x00\x71\x07\x0a\x00\x00\x01\xc8\x98\x20\xfb"
	block6    = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xc8\x98\x20\xfb"
	block4in6 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xcb\x00\x71\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01\xc8\x98\x20\xfb"
)

// version2 writes a preamble of version 2, with its right length.
func version2(command, family byte, block string) string {
	return signature + string([]byte{command, family, byte(len(block) >> 8), byte(len(block))}) + block
}

// preambles are what connections begin with, and the client's address; "refused" for what is no
// preamble.
var preambles = map[string]struct{ text, client string }{
	"version 1, IPv4":                      {"PROXY TCP4 203.0.113.7 10.0.0.1 51352 8443\r\n", "203.0.113.7:51352"},
	"version 1, IPv6":                      {"PROXY TCP6 2001:db8::7 2001:db8::1 51352 8443\r\n", "[2001:db8::7]:51352"},
	"version 1, IPv4 in IPv6":              {"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:10.0.0.1 51352 8443\r\n", "203.0.113.7:51352"},
	"version 1, the longest address":       {"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:0db8:0000:0000:0000:0000:0000:0001 65535 65535\r\n", "[2001:db8::7]:65535"},
	"version 1, unknown":                   {"PROXY UNKNOWN\r\n", ""},
	"version 1, unknown, with addresses":   {"PROXY UNKNOWN 203.0.113.7 10.0.0.1 51352 8443\r\n", ""},
	"version 1, unknown, the longest":      {"PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", ""},
	"version 1, too long":                  {"PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", "refused"},
	"version 1, without an end":            {"PROXY TCP4 " + strings.Repeat("1", 200), "refused"},
	"version 1, a line feed alone":         {"PROXY TCP4 203.0.113.7 10.0.0.1 51352 8443\n", "refused"},
	"version 1, cut off":                   {"PROXY TCP4 203.0.113.7 10.0.0.1 51352 84", "refused"},
	"version 1, another family":            {"PROXY UDP4 203.0.113.7 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, no family":                 {"PROXY         \r\n", "refused"},
	"version 1, in lower case":             {"proxy TCP4 203.0.113.7 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, an address of IPv4 as 6":   {"PROXY TCP6 203.0.113.7 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, an address of IPv6 as 4":   {"PROXY TCP4 2001:db8::7 2001:db8::1 51352 8443\r\n", "refused"},
	"version 1, an address with a zone":    {"PROXY TCP6 fe80::7%eth0 fe80::1 51352 8443\r\n", "refused"},
	"version 1, an octal address":          {"PROXY TCP4 203.0.113.007 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, a name":                    {"PROXY TCP4 localhost 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, a port beyond":             {"PROXY TCP4 203.0.113.7 10.0.0.1 65536 8443\r\n", "refused"},
	"version 1, a port with a zero":        {"PROXY TCP4 203.0.113.7 10.0.0.1 051352 8443\r\n", "refused"},
	"version 1, a port with a sign":        {"PROXY TCP4 203.0.113.7 10.0.0.1 +51352 8443\r\n", "refused"},
	"version 1, no port":                   {"PROXY TCP4 203.0.113.7 10.0.0.1\r\n", "refused"},
	"version 1, a bad address at our end":  {"PROXY TCP4 203.0.113.7 10.0.0.256 51352 8443\r\n", "refused"},
	"version 1, two spaces":                {"PROXY TCP4  203.0.113.7 10.0.0.1 51352 8443\r\n", "refused"},
	"version 1, another field":             {"PROXY TCP4 203.0.113.7 10.0.0.1 51352 8443 x\r\n", "refused"},
	"version 2, IPv4":                      {version2(0x21, 0x11, block4), "203.0.113.7:51352"},
	"version 2, IPv6":                      {version2(0x21, 0x21, block6), "[2001:db8::7]:51352"},
	"version 2, IPv4 in IPv6":              {version2(0x21, 0x21, block4in6), "203.0.113.7:51352"},
	"version 2, more behind the addresses": {version2(0x21, 0x11, block4+"\x01\x00\x02h2"), "203.0.113.7:51352"},
	"version 2, a Unix socket":             {version2(0x21, 0x31, strings.Repeat("\x00", 216)), ""},
	"version 2, no family":                 {version2(0x21, 0x00, ""), ""},
	"version 2, no family, and more":       {version2(0x21, 0x00, block4), ""},
	"version 2, local":                     {version2(0x20, 0x00, ""), ""},
	"version 2, local, with addresses":     {version2(0x20, 0x11, block4), ""},
	"version 2, the longest":               {version2(0x21, 0x11, block4+strings.Repeat("x", 4096-12)), "203.0.113.7:51352"},
	"version 2, too long":                  {version2(0x21, 0x11, block4+strings.Repeat("x", 4096-11)), "refused"},
	"version 2, local and too long":        {version2(0x20, 0x00, strings.Repeat("x", 4097)), "refused"},
	"version 2, cut off":                   {version2(0x21, 0x11, block4)[:27], "refused"},
	"version 2, cut off in its head":       {version2(0x21, 0x11, block4)[:14], "refused"},
	"version 2, too short for IPv4":        {version2(0x21, 0x11, block4[:11]), "refused"},
	"version 2, too short for IPv6":        {version2(0x21, 0x21, block4), "refused"},
	"version 2, too short for Unix":        {version2(0x21, 0x31, block4), "refused"},
	"version 2, datagrams":                 {version2(0x21, 0x12, block4), "refused"},
	"version 2, another family":            {version2(0x21, 0x41, block4), "refused"},
	"version 2, another command":           {version2(0x22, 0x11, block4), "refused"},
	"version 3":                            {version2(0x31, 0x11, block4), "refused"},
	"version 1 in that of 2":               {version2(0x11, 0x11, block4), "refused"},
	"a request":                            {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "refused"},
	"a handshake":                          {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00", "refused"},
	"a few bytes":                          {"PROX", "refused"},
}

// A preamble is read as the protocol has it, however it arrives, and nothing behind it.
func TestReadPreamble(t *testing.T) {
	for name, test := range preambles {
		t.Run(name, func(t *testing.T) {
			const behind = "GET / HTTP/1.1\r\n"
			for _, oneByte := range []bool{false, true} {
				rest := strings.NewReader(test.text + behind)
				if test.client == "refused" && strings.Contains(name, "cut off") || name == "a few bytes" {
					rest = strings.NewReader(test.text)
				}
				var connection io.Reader = rest
				if oneByte {
					connection = iotest.OneByteReader(rest)
				}
				client, err := clientaddress.ReadPreamble(connection)
				if test.client == "refused" {
					if !errors.Is(err, clientaddress.ErrPreamble) || client.IsValid() || !strings.HasSuffix(err.Error(), clientaddress.ErrPreamble.Error()) {
						t.Errorf("%v, %v", client, err)
					}
					continue
				}
				got := ""
				if client.IsValid() {
					got = client.String()
				}
				left, _ := io.ReadAll(rest)
				if err != nil || got != test.client || string(left) != behind {
					t.Errorf("%q, %v; behind it is %q", got, err, left)
				}
			}
		})
	}
}

// A connection that ends before it begins is none that breaks the protocol, and one that waits is.
func TestReadPreambleInTime(t *testing.T) {
	if _, err := clientaddress.ReadPreamble(strings.NewReader("")); err != io.EOF {
		t.Error(err)
	}
	for _, begun := range []string{"", "PROX", "PROXY TCP4 203.0.113.7 ", signature, signature + "\x21\x11\x00\x0c\xcb\x00"} {
		peer, connection := net.Pipe()
		go io.WriteString(peer, begun)
		connection.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := clientaddress.ReadPreamble(connection); !errors.Is(err, clientaddress.ErrPreamble) || !strings.HasPrefix(err.Error(), "it did not arrive in time") {
			t.Errorf("%q: %v", begun, err)
		}
		peer.Close()
	}
	// What else goes wrong is the connection's.
	peer, connection := net.Pipe()
	peer.Close()
	connection.Close()
	if _, err := clientaddress.ReadPreamble(connection); err != io.ErrClosedPipe || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// Whatever a connection begins with: what is read has a bound, is read the same in pieces, and is a
// preamble only if it says so.
func FuzzReadPreamble(f *testing.F) {
	for _, test := range preambles {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, pieces := bytes.NewReader(text), bytes.NewReader(text)
		client, err := clientaddress.ReadPreamble(whole)
		again, errAgain := clientaddress.ReadPreamble(iotest.HalfReader(pieces))
		if client != again || (err == nil) != (errAgain == nil) || whole.Len() != pieces.Len() {
			t.Errorf("%v %v, and in pieces %v %v", client, err, again, errAgain)
		}
		read := len(text) - whole.Len()
		if read > 16+4096 || err != nil && client.IsValid() {
			t.Errorf("%d bytes were read; %v %v", read, client, err)
		}
		if err == nil {
			isLine := bytes.HasPrefix(text, []byte("PROXY ")) && bytes.HasSuffix(text[:read], []byte("\r\n")) && read <= 107
			if !isLine && !bytes.HasPrefix(text, []byte(signature)) || client.Addr() == (netip.Addr{}) != !client.IsValid() || client.Addr().Is4In6() {
				t.Errorf("%q is one of %v", text[:read], client)
			}
		}
	})
}
