//go:build unix

package http1

import (
	"net"
	"syscall"
)

// looker returns a function that reports whether nothing can be read from a connection, not
// even its end, without waiting. If something can, the connection is of no use afterwards.
func looker(c net.Conn) (func() bool, error) {
	socket, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	nothing := false
	read := func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		nothing = err == syscall.EAGAIN
		return true
	}
	return func() bool { return socket.Read(read) == nil && nothing }, nil
}
