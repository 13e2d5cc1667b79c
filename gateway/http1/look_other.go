//go:build !unix

package http1

import "net"

// looker is for systems where a connection can't be looked at without waiting: there each
// serves one request.
func looker(net.Conn) (func() bool, error) { return func() bool { return false }, nil }
