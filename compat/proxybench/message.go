package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// message is what the upstream reads of a request and the load of a response. net/http
// would take as much CPU time for it as the proxies that are measured.
type message struct {
	start           string // the request line or status line
	authorization   []string
	wwwAuthenticate string
}

// readMessage reads an HTTP/1.1 message, and skips its content. It knows content of a
// stated length alone.
func readMessage(r *bufio.Reader) (m message, err error) {
	line, err := readLine(r)
	if err != nil {
		return m, err
	}
	m.start = string(line)
	length := 0
	for {
		line, err := readLine(r)
		if err != nil {
			return m, noEOF(err)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case is(name, "Content-Length"):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return m, err
			}
		case is(name, "Authorization"):
			m.authorization = append(m.authorization, string(value))
		case is(name, "WWW-Authenticate"):
			m.wwwAuthenticate = string(value)
		case is(name, "Transfer-Encoding"):
			return m, fmt.Errorf("%s: there is content of no stated length", m.start)
		}
	}
	_, err = r.Discard(length)
	return m, noEOF(err)
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// noEOF makes an end in the middle of a message an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
