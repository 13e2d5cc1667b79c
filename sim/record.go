package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Request is a request that the API listener received.
type Request struct {
	// Seq numbers the requests from 1, across resets.
	Seq int64 `json:"seq"`
	// Time is that of the simulation's clock.
	Time time.Time `json:"time"`
	// Connection numbers the connections from 1; 0 for a foreign listener.
	Connection int64 `json:"connection"`
	// Operation is the operationId (v1.0's begin with v1), "token" or "revoke"; empty
	// for a path or method that is none.
	Operation string `json:"operation,omitempty"`
	// Method, Target and Header are as sent, the fields in their order.
	Method string  `json:"method"`
	Target string  `json:"target"`
	Header []Field `json:"header"`
	// Body is the content, without its framing. In JSON, what is not UTF-8 is replaced;
	// see Raw.
	Body string `json:"body"`
	// Status is that of the answer; 0 where there was none: the connection was reset on
	// purpose, or Malformed.
	Status int `json:"status"`
	// Caller is the public key or client id that was authenticated; empty for none.
	Caller string `json:"caller,omitempty"`
	// Challenged says that the answer was a challenge.
	Challenged bool `json:"challenged,omitempty"`
	// Fault is the kind of the fault that was made.
	Fault string `json:"fault,omitempty"`
	// Malformed is what a connection left over at its end: bytes that net/http refused,
	// or a request that was cut off.
	Malformed bool `json:"malformed,omitempty"`
	// Raw is the request byte for byte, framing included; base64 in JSON.
	Raw []byte `json:"raw"`
}

// Field is a header field as it was sent.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Counts are totals since the start or the last reset.
type Counts struct {
	Connections int64 `json:"connections"`
	// Requests counts all of them, also those that were challenged.
	Requests   int64 `json:"requests"`
	Challenges int64 `json:"challenges"`
	// Malformed counts what is not among Requests: see Request.Malformed.
	Malformed   int64            `json:"malformed"`
	ByStatus    map[int]int64    `json:"byStatus"`
	ByOperation map[string]int64 `json:"byOperation"`
	JobsCreated int64            `json:"jobsCreated"`
}

// record is what was received: a log that is bounded, and counts that are not.
type record struct {
	countsOnly  atomic.Bool
	connection  atomic.Int64 // the last one's number
	connections atomic.Int64
	challenges  atomic.Int64
	malformed   atomic.Int64
	jobs        atomic.Int64
	statuses    [600]atomic.Int64

	mu      sync.Mutex
	seq     int64
	entries []entry // a ring
	first   int     // index of the oldest
	count   int
	bytes   int
	maxSize int
	dropped int64
}

// entry is a Request before its fields are looked at, which waits until someone asks.
type entry struct {
	Request
	body []byte
}

func (e *entry) size() int { return len(e.Raw) + len(e.body) + minEntrySize }

// minEntrySize is what an entry without bytes counts for.
const minEntrySize = 256

func (rec *record) init(requests, size int) {
	rec.entries = make([]entry, min(requests, size/minEntrySize+1)) // more never fit
	rec.maxSize = size
}

// add counts an exchange, and logs it with the bytes of its request.
func (rec *record) add(x *exchange, raw []byte, now time.Time) {
	status := x.answer.status
	if x.fault != nil && x.fault.Kind.silent() {
		status = 0
	}
	rec.statuses[min(status, len(rec.statuses)-1)].Add(1)
	if x.challenged {
		rec.challenges.Add(1)
	}
	if rec.countsOnly.Load() {
		return
	}
	e := entry{
		Request: Request{
			Time:       now,
			Method:     x.request.Method,
			Target:     x.request.RequestURI,
			Status:     status,
			Challenged: x.challenged,
			Raw:        raw,
		},
		body: x.body,
	}
	if c := connOf(x.request.Context()); c != nil {
		e.Connection = c.number
	}
	if x.op != nil {
		e.Operation = x.op.id
	}
	if x.caller != nil {
		e.Caller = x.caller.id
	}
	if x.fault != nil {
		e.Fault = string(x.fault.Kind)
	}
	rec.push(e)
}

func (rec *record) push(e entry) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.seq++
	e.Seq = rec.seq
	for rec.count == len(rec.entries) || rec.count > 0 && rec.bytes+e.size() > rec.maxSize {
		oldest := &rec.entries[rec.first]
		rec.bytes -= oldest.size()
		*oldest = entry{}
		rec.first = (rec.first + 1) % len(rec.entries)
		rec.count--
		rec.dropped++
	}
	rec.entries[(rec.first+rec.count)%len(rec.entries)] = e
	rec.count++
	rec.bytes += e.size()
}

// Requests returns the logged requests with a Seq greater than since, oldest first.
func (s *Server) Requests(since int64) []Request {
	rec := &s.record
	rec.mu.Lock()
	entries := make([]entry, 0, rec.count)
	for i := range rec.count {
		if e := rec.entries[(rec.first+i)%len(rec.entries)]; e.Seq > since {
			entries = append(entries, e)
		}
	}
	rec.mu.Unlock()
	requests := make([]Request, len(entries))
	for i, e := range entries {
		requests[i] = e.Request
		requests[i].Header = fields(e.Raw)
		requests[i].Body = string(e.body)
	}
	return requests
}

// dropped returns how many requests the log had no room for.
func (s *Server) dropped() int64 {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.dropped
}

// Counts returns the totals.
func (s *Server) Counts() Counts {
	rec := &s.record
	counts := Counts{
		Connections: rec.connections.Load(),
		Challenges:  rec.challenges.Load(),
		Malformed:   rec.malformed.Load(),
		ByStatus:    map[int]int64{},
		ByOperation: map[string]int64{},
		JobsCreated: rec.jobs.Load(),
	}
	for status := range rec.statuses {
		if n := rec.statuses[status].Load(); n > 0 {
			counts.ByStatus[status] = n
			counts.Requests += n
		}
	}
	for _, op := range s.operations {
		if n := op.requests.Load(); n > 0 {
			counts.ByOperation[op.id] = n
		}
	}
	return counts
}

// Reset empties the log and sets the counts to 0. Open connections keep their numbers.
func (s *Server) Reset() {
	rec := &s.record
	rec.mu.Lock()
	clear(rec.entries)
	rec.first, rec.count, rec.bytes, rec.dropped = 0, 0, 0, 0
	rec.mu.Unlock()
	for _, counter := range []*atomic.Int64{&rec.connections, &rec.challenges, &rec.malformed, &rec.jobs} {
		counter.Store(0)
	}
	for i := range rec.statuses {
		rec.statuses[i].Store(0)
	}
	for _, op := range s.operations {
		op.requests.Store(0)
	}
}

// recordingListener makes conns of the connections that it accepts.
type recordingListener struct {
	net.Listener
	record *record
}

// Accept waits for the next connection.
func (l *recordingListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.record.connections.Add(1)
	return &conn{Conn: accepted, record: l.record, number: l.record.connection.Add(1)}, nil
}

// conn keeps what was read from a connection until a request claims it.
type conn struct {
	net.Conn
	record *record
	number int64

	mu   sync.Mutex
	read []byte
}

// Read reads, and keeps a copy.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.record.countsOnly.Load() {
		c.mu.Lock()
		c.read = append(c.read, p[:n]...)
		c.mu.Unlock()
	}
	return n, err
}

// Close logs what no request has claimed.
func (c *conn) Close() error {
	c.mu.Lock()
	rest := c.read
	c.read = nil
	c.mu.Unlock()
	if len(bytes.Trim(rest, "\r\n")) > 0 {
		c.record.malformed.Add(1)
		line, _, _ := strings.Cut(string(rest), "\n")
		method, target, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		target, _, _ = strings.Cut(target, " ")
		c.record.push(entry{Request: Request{Time: time.Now().UTC(), Connection: c.number, Method: method, Target: target, Malformed: true, Raw: rest}})
	}
	return c.Conn.Close()
}

// reset closes the connection with a TCP reset instead of an orderly end.
func (c *conn) reset() {
	inner := c.Conn
	if secured, ok := inner.(*tls.Conn); ok {
		inner = secured.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		tcp.SetLinger(0)
		tcp.Close()
	}
	c.Close()
}

type connKey struct{}

// withConn lets a handler find its connection. See http.Server.ConnContext.
func withConn(ctx context.Context, accepted net.Conn) context.Context {
	if c, ok := accepted.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// cutRequest claims the bytes of the request that is being handled, whose content was
// read to its end if whole. Nil on a foreign listener or when requests are only counted.
func cutRequest(r *http.Request, whole bool) []byte {
	c := connOf(r.Context())
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.read) == 0 {
		return nil
	}
	if !bytes.HasPrefix(bytes.TrimLeft(c.read, "\r\n"), []byte(r.Method+" ")) {
		c.read = nil // keeping began in the middle of this request
		return nil
	}
	end := len(c.read)
	if whole {
		end = requestEnd(c.read, r.ContentLength)
	}
	raw := bytes.Clone(c.read[:end])
	// What follows belongs to the next request: a client may send ahead, and net/http
	// itself reads a byte ahead.
	rest := c.read[end:]
	if cap(c.read) > 64<<10 {
		c.read = bytes.Clone(rest) // a large request is not worth its memory for ever
	} else {
		c.read = append(c.read[:0], rest...)
	}
	return raw
}

// requestEnd returns the length of the first request in data, of which net/http has
// read everything; contentLength is that of http.Request, -1 for chunked.
func requestEnd(data []byte, contentLength int64) int {
	// An empty line or two before a request are passed over (RFC 9112, section 2.2).
	at := len(data) - len(bytes.TrimLeft(data, "\r\n"))
	at = skipFields(data, at)
	if contentLength >= 0 {
		return min(at+int(contentLength), len(data))
	}
	for {
		line, next := nextLine(data, at)
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 32)
		if err != nil {
			return len(data)
		}
		if size == 0 {
			return skipFields(data, next) // trailers
		}
		if at = next + int(size); at >= len(data) {
			return len(data)
		}
		_, at = nextLine(data, at)
	}
}

// skipFields returns the index after the next empty line.
func skipFields(data []byte, at int) int {
	for {
		line, next := nextLine(data, at)
		if at = next; len(line) == 0 {
			return at
		}
	}
}

// nextLine returns the line at an index, without its end, and the index after it.
func nextLine(data []byte, at int) (line []byte, next int) {
	end := bytes.IndexByte(data[at:], '\n')
	if end < 0 {
		return nil, len(data)
	}
	return bytes.TrimSuffix(data[at:at+end], []byte("\r")), at + end + 1
}

// fields returns the header fields of a raw request, in their order.
func fields(raw []byte) []Field {
	fields := []Field{}
	raw = bytes.TrimLeft(raw, "\r\n")
	_, at := nextLine(raw, 0) // the request line
	for {
		line, next := nextLine(raw, at)
		if len(line) == 0 {
			return fields
		}
		name, value, _ := strings.Cut(string(line), ":")
		fields = append(fields, Field{name, strings.Trim(value, " \t")})
		at = next
	}
}

// operationIDs returns the ids of all operations, sorted.
func (s *Server) operationIDs() []string {
	ids := map[string]bool{}
	for _, op := range s.operations {
		ids[op.id] = true
	}
	return slices.Sorted(maps.Keys(ids))
}
