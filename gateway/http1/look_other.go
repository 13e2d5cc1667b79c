//go:build !unix

package http1

import "net"

// looker is for systems where a read of a socket always waits. There, each connection serves one
// request.
func looker(net.Conn) (func() bool, error) { return func() bool { return false }, nil }
