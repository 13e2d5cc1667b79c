package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	icholy "github.com/icholy/digest"
)

// The kinds of requests: a list that only one connection asks for, the same list for all, a job
// that all watch, a create, and a create that is not valid.
var kinds = []string{"GET", "shared", "watched", "POST", "rejected"}

// request is a request without a credential.
type request struct {
	method, uri, content string
}

// requestOf returns a request of a kind for one of the connections.
func requestOf(kind string, connection int) request {
	const valid = `{"customData":[{"key":"exported by","value":"nightly"},{"key":"ticket","value":"` + ticket + ` quarterly archive"}],"exportBucketId":"` + bucket + `","snapshotId":"6a01e0b45be2d84417c09f10"}`
	switch kind {
	case "GET":
		return request{"GET", fmt.Sprintf("%s?includeCount=true&itemsPerPage=100&pageNum=%d", target, connection+1), ""}
	case "shared":
		return request{"GET", target + "?includeCount=true&itemsPerPage=100&pageNum=1", ""}
	case "watched":
		return request{"GET", target + "/6a01f3c95be2d84417c0aa01", ""}
	case "POST":
		return request{"POST", target, valid}
	default: // an unknown member in place of a required one
		return request{"POST", target, strings.Replace(valid, "snapshotId", "snapshotID", 1)}
	}
}

// ticket stands in the content of each create for a number that no other has: two creates with the
// same content are the same for a gateway with a journal.
const ticket = "OPS-000000000"

var tickets atomic.Uint64

// numbered puts the next number into a create, and returns it.
func numbered(create []byte) []byte {
	if at := bytes.LastIndex(create, []byte(ticket[:4])); at >= 0 {
		copy(create[at:], fmt.Appendf(nil, "OPS-%09d", tickets.Add(1)))
	}
	return create
}

// bytes returns the request as it is sent. It has no Authorization field if authorization is
// empty.
func (r request) bytes(authorization string) []byte {
	lines := []string{
		r.method + " " + r.uri + " HTTP/1.1",
		"Host: gateway.example.com",
		"User-Agent: proxybench",
		"Accept: " + mediaType,
	}
	if authorization != "" {
		lines = append(lines, "Authorization: "+authorization)
	}
	if r.content != "" {
		// kin-openapi finds only this type in the contract.
		lines = append(lines, "Content-Type: "+mediaType, "Content-Length: "+strconv.Itoa(len(r.content)))
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + r.content)
}

// caller is one connection to a proxy.
type caller struct {
	connection net.Conn
	reader     *bufio.Reader
	next       func() ([]byte, error) // the next request
}

// timeout bounds one turn of a proxy.
const timeout = time.Minute

// dial connects and prepares the requests. They are always the same bytes, except for the number of a
// create, and with Digest.
func (p *proxyUnderTest) dial(ctx context.Context, r request) (*caller, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	connection.SetDeadline(time.Now().Add(timeout))
	c := &caller{connection: connection, reader: bufio.NewReader(connection)}
	if p.digest == nil {
		request := r.bytes(p.authorization)
		c.next = func() ([]byte, error) { return numbered(request), nil }
		return c, nil
	}
	c.next = func() ([]byte, error) { return r.bytes(""), nil }
	answer, err := c.send("401")
	if err != nil {
		c.connection.Close()
		return nil, err
	}
	challenge, err := icholy.ParseChallenge(answer.wwwAuthenticate)
	if err != nil {
		c.connection.Close()
		return nil, err
	}
	options := *p.digest
	options.Method, options.URI = r.method, r.uri
	c.next = func() ([]byte, error) {
		options.Count++
		credentials, err := icholy.Digest(challenge, options)
		if err != nil {
			return nil, err
		}
		return numbered(r.bytes(credentials.String())), nil
	}
	return c, nil
}

// send sends the next request and returns the response. Another status is an error.
func (c *caller) send(status string) (message, error) {
	request, err := c.next()
	if err != nil {
		return message{}, err
	}
	if _, err := c.connection.Write(request); err != nil {
		return message{}, err
	}
	m, err := readMessage(c.reader)
	if err == nil && !strings.HasPrefix(m.start, "HTTP/1.1 "+status+" ") {
		err = fmt.Errorf("answered %q, not %s", m.start, status)
	}
	return m, err
}

// load sends a kind of request to a proxy over a number of connections.
type load struct {
	proxy   *proxyUnderTest
	callers []*caller
	status  string // that every response must have
}

// newLoad connects to a proxy and sends it a few requests that are not measured. After them the
// proxy has connections to the upstream, nonces, and everything else that it keeps.
func newLoad(ctx context.Context, p *proxyUnderTest, kind string, connections int) (*load, error) {
	l := &load{proxy: p, status: "200"}
	if kind == "rejected" && p.validates {
		l.status = "400"
	}
	for n := range connections {
		c, err := p.dial(ctx, requestOf(kind, n))
		if err != nil {
			l.close()
			return nil, err
		}
		l.callers = append(l.callers, c)
	}
	if err := l.send(ctx, max(500, 10*connections)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.callers {
		c.connection.Close()
	}
}

// send sends a number of requests over all connections.
func (l *load) send(ctx context.Context, requests int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for _, c := range l.callers {
		c.connection.SetDeadline(time.Now().Add(timeout))
		group.Go(func() {
			for ctx.Err() == nil && next.Add(1) <= int64(requests) {
				if _, err := c.send(l.status); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// measure sends requests and returns the CPU time that the proxy used for each. A proxy that waits for
// the disk gets fewer of them.
func (l *load) measure(ctx context.Context, requests int) (time.Duration, error) {
	if l.proxy.journal {
		requests = max(requests/8, 1)
	}
	before, err := l.proxy.process.cpuTime()
	if err != nil {
		return 0, err
	}
	if err := l.send(ctx, requests); err != nil {
		return 0, err
	}
	after, err := l.proxy.process.cpuTime()
	return (after - before) / time.Duration(requests), err
}
