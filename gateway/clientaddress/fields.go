package clientaddress

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// node is who sent something to a proxy, as the proxy writes it (RFC 7239, section 6): an
// address, maybe with a port, "unknown", or a name that the proxy made up. It is empty where the
// proxy does not say.
type node string

var errNode = errors.New("has an element that names no client")

// obfuscated is a name or a port that a proxy made up (RFC 7239, section 6.3).
var obfuscated = regexp.MustCompile(`^_[A-Za-z0-9._-]+$`)

// parse returns the address of a node, and whether it has one. Port 0 is not known. An address of
// IPv6 stands in brackets, unless it is bare and has no port, as X-Forwarded-For may have it.
func (n node) parse(bare bool) (address netip.AddrPort, known bool, err error) {
	host, port := string(n), "0"
	if ip, err := netip.ParseAddr(host); err == nil && bare && ip.Is6() {
		host = "[" + host + "]"
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case (err != nil || len(port) > 5) && !obfuscated.MatchString(port):
		return address, false, errNode
	case n == "" || strings.EqualFold(host, "unknown") || obfuscated.MatchString(host):
		return address, false, nil
	}
	inside, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		inside, bracketed = strings.CutSuffix(inside, "]")
	}
	ip, err := netip.ParseAddr(inside)
	if err != nil || ip.Zone() != "" || ip.Is6() != bracketed {
		return address, false, errNode
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), true, nil
}

// splitXForwardedFor returns the elements of a line of X-Forwarded-For. Empty ones are left out
// (RFC 9110, section 5.6.1). It ends with the first element that is one too many.
func splitXForwardedFor(line string) (nodes []node, err error) {
	for element := range strings.SplitSeq(line, ",") {
		if element = strings.Trim(element, " \t"); element != "" {
			nodes = append(nodes, node(element))
		}
		if len(nodes) > maxHops {
			break
		}
	}
	return nodes, nil
}

var errForwarded = errors.New("is not written as RFC 7239 has it")

// splitForwarded returns the node of each element of a line of Forwarded, which is its parameter
// for, and empty where there is none. Empty elements are left out. It ends with the first element
// that is one too many.
func splitForwarded(line string) (nodes []node, err error) {
	for rest := line; ; rest = rest[1:] { // behind a comma
		rest = strings.TrimLeft(rest, " \t")
		var element element
		for {
			if rest, err = element.takePair(rest); err != nil {
				return nil, err
			}
			if !strings.HasPrefix(rest, ";") {
				break
			}
			rest = rest[1:]
		}
		if element.names != nil {
			nodes = append(nodes, element.node)
		}
		if rest = strings.TrimLeft(rest, " \t"); rest == "" || len(nodes) > maxHops {
			return nodes, nil
		}
		if rest[0] != ',' {
			return nil, errForwarded
		}
	}
}

// element is one element of Forwarded: parameters with a semicolon between them. None may be there
// twice.
type element struct {
	names map[string]bool
	node  node
}

// takePair takes the parameter that a text begins with, if it begins with one, and returns the
// rest.
func (e *element) takePair(text string) (rest string, err error) {
	name, rest := token(text)
	if name == "" {
		return text, nil
	}
	name = strings.ToLower(name)
	if e.names[name] || !strings.HasPrefix(rest, "=") {
		return "", errForwarded
	}
	if e.names == nil {
		e.names = map[string]bool{}
	}
	e.names[name] = true
	rest = rest[1:]
	value := ""
	if strings.HasPrefix(rest, `"`) {
		value, rest, err = quoted(rest[1:])
	} else if value, rest = token(rest); value == "" {
		err = errForwarded
	}
	if err == nil && name == "for" {
		// An empty text in quotes is no node, and what is left out is none that the proxy knows.
		if e.node = node(value); value == "" {
			err = errNode
		}
	}
	return rest, err
}

// token returns the token that a text begins with, and the rest.
func token(text string) (first, rest string) {
	end := 0
	for end < len(text) && httpguts.IsTokenRune(rune(text[end])) {
		end++
	}
	return text[:end], text[end:]
}

// quoted returns the value of a quoted string, behind its first quote, and what stands behind its
// last one (RFC 9110, section 5.6.4).
func quoted(text string) (value, rest string, err error) {
	var unquoted strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return unquoted.String(), text[i+1:], nil
		case '\\':
			if i++; i == len(text) {
				return "", "", errForwarded
			}
		}
		unquoted.WriteByte(text[i])
	}
	return "", "", errForwarded
}
