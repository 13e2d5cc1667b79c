//go:build unix

package http1

import (
	"net"
	"syscall"
)

// readableFunc returns a function that reports, without waiting, whether a connection has
// something to read, also its end. If it has, the connection must not be used afterwards: a byte
// may be lost.
func readableFunc(c net.Conn) (func() bool, error) {
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
	return func() bool { return socket.Read(read) != nil || !nothing }, nil
}
