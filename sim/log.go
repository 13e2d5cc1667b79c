package sim

import (
	"sync"
	"sync/atomic"
	"time"
)

// Request is a request that the API listener received.
type Request struct {
	// Seq numbers the requests from 1. A reset does not restart it.
	Seq int64 `json:"seq"`
	// Time is the time of the simulation's clock.
	Time time.Time `json:"time"`
	// Connection numbers the connections from 1. It is 0 where another server than the
	// simulation's own served the request; see Server.API.
	Connection int64 `json:"connection"`
	// Operation is the operationId (in v1.0 it begins with v1), "token" or "revoke". It is
	// empty if no operation has the request's path and method.
	Operation string `json:"operation,omitempty"`
	// Method, Target and Header are as sent, with the fields in their order.
	Method string  `json:"method"`
	Target string  `json:"target"`
	Header []Field `json:"header"`
	// Body is the content, without its framing. In JSON, bytes that are not UTF-8 are
	// replaced; see Raw.
	Body string `json:"body"`
	// Status is the status of the answer. It is 0 if there was no answer: a fault reset the
	// connection, or the request is Malformed.
	Status int `json:"status"`
	// Caller is the public key or client id that was authenticated; empty for none.
	Caller string `json:"caller,omitempty"`
	// Challenged says that the answer was a challenge.
	Challenged bool `json:"challenged,omitempty"`
	// Fault is the kind of the fault that struck the request.
	Fault string `json:"fault,omitempty"`
	// Malformed marks bytes that were no request when their connection ended: net/http
	// refused them, or the request was cut off.
	Malformed bool `json:"malformed,omitempty"`
	// Raw is the request byte for byte, framing included; base64 in JSON.
	Raw []byte `json:"raw"`
}

// Field is a header field as it was sent.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// record is what the simulation remembers of the requests that it received.
type record struct {
	countsOnly     atomic.Bool
	lastConnection atomic.Int64 // number of the newest connection
	counters       counters
	log            requestLog
}

// add counts an exchange, and logs it with the bytes of its request.
func (rec *record) add(x *exchange, raw []byte, now time.Time) {
	status := x.answer.status
	if x.fault != nil && x.fault.Kind.silent() {
		status = 0
	}
	rec.counters.add(status, x.challenged)
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
	rec.log.push(e)
}

// requestLog is a bounded log of requests. It drops the oldest first.
type requestLog struct {
	mu      sync.Mutex
	seq     int64
	entries []entry // a ring
	first   int     // index of the oldest
	count   int
	bytes   int
	maxSize int
	dropped int64
}

// entry is a Request whose Header and Body are filled in when someone asks for them.
type entry struct {
	Request
	body []byte
}

func (e *entry) size() int { return len(e.Raw) + len(e.body) + minEntrySize }

// minEntrySize is what an entry without bytes counts for.
const minEntrySize = 256

func (l *requestLog) init(requests, size int) {
	l.entries = make([]entry, min(requests, size/minEntrySize+1)) // size has no room for more
	l.maxSize = size
}

func (l *requestLog) push(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	for l.count == len(l.entries) || l.count > 0 && l.bytes+e.size() > l.maxSize {
		oldest := &l.entries[l.first]
		l.bytes -= oldest.size()
		*oldest = entry{}
		l.first = (l.first + 1) % len(l.entries)
		l.count--
		l.dropped++
	}
	l.entries[(l.first+l.count)%len(l.entries)] = e
	l.count++
	l.bytes += e.size()
}

// after returns the entries with a Seq greater than since, oldest first.
func (l *requestLog) after(since int64) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := make([]entry, 0, l.count)
	for i := range l.count {
		if e := l.entries[(l.first+i)%len(l.entries)]; e.Seq > since {
			entries = append(entries, e)
		}
	}
	return entries
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.entries)
	l.first, l.count, l.bytes, l.dropped = 0, 0, 0, 0
}

// Requests returns the logged requests with a Seq greater than since, oldest first.
func (s *Server) Requests(since int64) []Request {
	entries := s.record.log.after(since)
	requests := make([]Request, len(entries))
	for i, e := range entries {
		requests[i] = e.Request
		requests[i].Header = fields(e.Raw)
		requests[i].Body = string(e.body)
	}
	return requests
}

// droppedRequests returns how many requests the log had no room for.
func (s *Server) droppedRequests() int64 {
	s.record.log.mu.Lock()
	defer s.record.log.mu.Unlock()
	return s.record.log.dropped
}
