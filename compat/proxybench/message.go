package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// message is what the upstream reads of a request, and what the load reads of a response.
// net/http would use as much CPU time for that as the measured proxies.
type message struct {
	start           string // the request line or status line
	authorization   []string
	wwwAuthenticate string
}

// readMessage reads an HTTP/1.1 message and skips its content. It only knows content with a
// Content-Length.
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
		case equalFold(name, "Content-Length"):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return m, err
			}
		case equalFold(name, "Authorization"):
			m.authorization = append(m.authorization, string(value))
		case equalFold(name, "WWW-Authenticate"):
			m.wwwAuthenticate = string(value)
		case equalFold(name, "Transfer-Encoding"):
			return m, fmt.Errorf("%s: the content has no Content-Length", m.start)
		}
	}
	_, err = r.Discard(length)
	return m, noEOF(err)
}

func equalFold(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// noEOF turns EOF in the middle of a message into an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
