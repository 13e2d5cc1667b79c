package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"atlas-export-gateway/gateway/config"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen opens the listeners of callers and of operators. A socket that the parent passed by
// LISTEN_FDS, as systemd does, takes the place of one: the sockets are called listener and
// management, as FileDescriptorName says, or come in that order without names.
func listen(c *config.Config) (callers, management net.Listener, err error) {
	passed, err := passedListeners()
	if err == nil {
		callers, err = listener("listener", c.Listener.Address, passed)
	}
	if err == nil {
		management, err = listener("management", c.Management.Address, passed)
	}
	if err != nil {
		if callers != nil {
			callers.Close()
		}
		return nil, nil, err
	}
	return callers, management, nil
}

// passedError is what is wrong with a socket that was passed: the configuration of the parent, or
// the gateway's.
type passedError struct{ error }

// passedListeners returns the sockets that were passed, by their names.
func passedListeners() (map[string]net.Listener, error) {
	passed := map[string]net.Listener{}
	for i, file := range activation.Files(true) {
		name := file.Name()
		if strings.HasPrefix(name, "LISTEN_FD_") && i < 2 { // which package activation calls it
			name = []string{"listener", "management"}[i]
		}
		l, err := net.FileListener(file)
		file.Close()
		switch {
		case name != "listener" && name != "management":
			err = errors.New("FileDescriptorName must be listener or management")
		case err != nil:
			err = errors.New("it is no socket that listens")
		case l.Addr().Network() != "tcp":
			err = errors.New("it is no socket of TCP")
		case passed[name] != nil:
			err = errors.New("there are two of that name")
		}
		if err != nil {
			return nil, passedError{fmt.Errorf("the socket %q that was passed by LISTEN_FDS: %w", name, err)}
		}
		passed[name] = l
	}
	return passed, nil
}

// listener returns the listener of a section. A socket that was passed must be at the address of
// the configuration, since the configuration was checked for that address.
func listener(section, address string, passed map[string]net.Listener) (net.Listener, error) {
	l := passed[section]
	if l == nil {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s.address: %w", section, err)
		}
		return l, nil
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s.address: %w", section, err)
	}
	is := l.Addr().(*net.TCPAddr)
	everywhere := want.IP == nil || want.IP.IsUnspecified()
	if want.Port != 0 && want.Port != is.Port || everywhere != is.IP.IsUnspecified() || !everywhere && !want.IP.Equal(is.IP) {
		return nil, passedError{fmt.Errorf("%s.address: is %s, and the socket that was passed by LISTEN_FDS listens on %s; they must be the same", section, address, is)}
	}
	return l, nil
}
