package sim

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// cutRequest takes the bytes of the request that is being handled from its connection.
// Whole says that the request's content was read to its end. The result is nil if another
// server than the simulation's own has the connection, or if requests are only counted.
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
		c.read = nil // the log was switched on in the middle of this request
		return nil
	}
	end := len(c.read)
	if whole {
		end = requestEnd(c.read, r.ContentLength)
	}
	raw := bytes.Clone(c.read[:end])
	// The rest belongs to the next request: a client may pipeline requests, and net/http
	// itself reads a byte ahead.
	rest := c.read[end:]
	if cap(c.read) > 64<<10 {
		c.read = bytes.Clone(rest) // does not keep the memory of a large request
	} else {
		c.read = append(c.read[:0], rest...)
	}
	return raw
}

// requestEnd returns the length of the first request in data. net/http has read all of that
// request. contentLength is that of http.Request, -1 for chunked.
func requestEnd(data []byte, contentLength int64) int {
	// Empty lines before a request are skipped (RFC 9112, section 2.2).
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
