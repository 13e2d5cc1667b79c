//go:build !unix

package http1

import "net"

// readableFunc is for systems that can't tell without waiting. There each connection serves one
// request.
func readableFunc(net.Conn) (func() bool, error) { return func() bool { return true }, nil }
