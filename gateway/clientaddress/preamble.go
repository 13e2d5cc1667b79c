package clientaddress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ErrPreamble is the error of a connection that does not begin as the PROXY protocol has it. The
// errors that wrap it say why, and end with its text.
var ErrPreamble = errors.New("no preamble of the PROXY protocol")

func malformed(why string) error { return fmt.Errorf("%s: %w", why, ErrPreamble) }

// The bounds of a preamble. Version 1 has one of its own, with the end of the line. Version 2 may
// bear up to 64 KiB of what the gateway skips, such as a certificate: proxies send some hundred
// bytes.
const (
	maxLine  = 107
	maxBlock = 4 << 10
)

// signature begins version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// ReadPreamble reads the preamble that a connection begins with, of version 1 or 2 of the PROXY
// protocol, and nothing of what stands behind it. It returns the client's address, which is zero
// where the proxy has none to tell: then the connection is its own, as for a health check, or its
// client has no address of IP. The protocol then has the receiver take the connection's own
// address. The error is [ErrPreamble], or that of the connection: io.EOF where the connection
// ends before it begins.
//
// https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, sections 2.1 and 2.2
func ReadPreamble(connection io.Reader) (netip.AddrPort, error) {
	var begin [len(signature)]byte // shorter than all preambles of version 1
	switch _, err := io.ReadFull(connection, begin[:]); {
	case err == io.EOF:
		return netip.AddrPort{}, err
	case err != nil:
		return netip.AddrPort{}, early(err)
	case string(begin[:]) == signature:
		return readBlock(connection)
	case bytes.HasPrefix(begin[:], []byte("PROXY ")):
		return readLine(connection, begin[:])
	}
	return netip.AddrPort{}, malformed("the first bytes are others")
}

// readLine reads the rest of a preamble of version 1, byte by byte: its length is not known.
func readLine(connection io.Reader, begin []byte) (client netip.AddrPort, err error) {
	line := append(make([]byte, 0, maxLine), begin...)
	for line[len(line)-1] != '\n' {
		if len(line) == maxLine {
			return client, malformed("the line is too long")
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(connection, line[len(line)-1:]); err != nil {
			return client, early(err)
		}
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	fields := strings.Split(text, " ")
	switch {
	case !ok || len(fields) < 2:
		return client, malformed("the line is malformed")
	case fields[1] == "UNKNOWN": // whatever stands behind it
		return client, nil
	case len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6":
		return client, malformed("the line is malformed")
	}
	is4 := fields[1] == "TCP4"
	client, ok = parseEnd(fields[2], fields[4], is4)
	if _, good := parseEnd(fields[3], fields[5], is4); !ok || !good {
		return netip.AddrPort{}, malformed("an address is malformed")
	}
	return client, nil
}

// parseEnd returns one end of a connection, as version 1 writes it.
func parseEnd(host, port string, is4 bool) (netip.AddrPort, bool) {
	address, err := netip.ParseAddr(host)
	if err != nil || address.Is4() != is4 || address.Zone() != "" {
		return netip.AddrPort{}, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(number, 10) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), true
}

// readBlock reads the rest of a preamble of version 2: its version and command, the family and
// transport of the addresses, and the length of the addresses and of what follows them.
func readBlock(connection io.Reader) (client netip.AddrPort, err error) {
	var head [4]byte
	if _, err := io.ReadFull(connection, head[:]); err != nil {
		return client, early(err)
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if length > maxBlock {
		return client, malformed("it is too long")
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(connection, block); err != nil {
		return client, early(err)
	}
	const local, proxied = 0x20, 0x21
	switch {
	case head[0] == local: // the addresses are to be skipped, whatever they are
		return client, nil
	case head[0] != proxied:
		return client, malformed("the version or command is none that is defined")
	}
	const unspecified, tcp4, tcp6, unixStream = 0x00, 0x11, 0x21, 0x31
	size, needed := 0, 0 // of the client's address, and of both addresses with their ports
	switch head[1] {
	case unspecified:
	case unixStream:
		needed = 2 * 108
	case tcp4:
		size, needed = 4, 2*4+4
	case tcp6:
		size, needed = 16, 2*16+4
	default:
		return client, malformed("the client is not connected by a stream")
	}
	if length < needed {
		return client, malformed("it is too short for its addresses")
	}
	if address, ok := netip.AddrFromSlice(block[:size]); ok {
		client = netip.AddrPortFrom(address.Unmap(), binary.BigEndian.Uint16(block[2*size:]))
	}
	return client, nil
}

// early returns the error of a connection that ends, or pauses for too long, within a preamble.
func early(err error) error {
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return malformed("the connection ends too early")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return malformed("it did not arrive in time")
	}
	return err
}
