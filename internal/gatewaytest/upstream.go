package gatewaytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Challenge is the value of WWW-Authenticate that an [Upstream] answers with.
const Challenge = `Digest realm="MMS Public API", domain="", nonce="abcdefghijklmnopqrstuvwxyz012345", algorithm=MD5, qop="auth", stale=false`

// atlas401 is the content that Atlas answers an unsigned request with.
const atlas401 = `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource.","errorCode":"UNEXPECTED_ERROR"}`

// Upstream is an Atlas that speaks bytes. It answers a request without a credential with a
// challenge, and any other request as the test says.
type Upstream struct {
	// URL is the upstream's base URL.
	URL string
	// Total counts the requests, Signed those with a credential, and Creates those of them that
	// are a POST.
	Total, Signed, Creates atomic.Int64
	// Received has all bytes that arrived.
	Received Buffer

	listener  net.Listener
	challenge atomic.Pointer[string] // bytes
	last      atomic.Pointer[string] // Authorization field
}

// Answer writes the answer to a request with a credential, and reports whether the connection goes
// on behind it. The request's content was read already.
type Answer func(conn net.Conn, r *http.Request) (more bool)

// StartUpstream serves an upstream until the test ends.
func StartUpstream(t testing.TB, answer Answer) *Upstream {
	t.Helper()
	u := &Upstream{}
	u.Challenge(Message(http.StatusUnauthorized, atlas401, "WWW-Authenticate: "+Challenge, "Content-Type: application/json"))
	u.last.Store(new(string))
	u.listener = Serve(t, func(conn net.Conn) { u.serve(conn, answer) })
	u.URL = "http://" + u.listener.Addr().String()
	return u
}

func (u *Upstream) serve(conn net.Conn, answer Answer) {
	for reader := bufio.NewReader(io.TeeReader(conn, &u.Received)); ; {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		u.Total.Add(1)
		authorization := r.Header.Get("Authorization")
		if authorization == "" {
			io.WriteString(conn, *u.challenge.Load())
			continue
		}
		u.Signed.Add(1)
		if r.Method == http.MethodPost {
			u.Creates.Add(1)
		}
		u.last.Store(&authorization)
		if !answer(conn, r) {
			return
		}
	}
}

// Challenge sets the bytes that answer a request without a credential.
func (u *Upstream) Challenge(bytes string) { u.challenge.Store(&bytes) }

// Last returns the last Authorization field that arrived.
func (u *Upstream) Last() string { return *u.last.Load() }

// Close has no more connections accepted.
func (u *Upstream) Close() { u.listener.Close() }

// AnswerWith answers every request with the same bytes, and closes the connection.
func AnswerWith(bytes string) Answer {
	return func(conn net.Conn, _ *http.Request) bool {
		io.WriteString(conn, bytes)
		return false
	}
}

// AnswerBy answers with the bytes that a function returns for the request; no bytes are a reset.
// The connection goes on if the answer tells its length and does not close the connection.
func AnswerBy(text func(*http.Request) string) Answer {
	return func(conn net.Conn, r *http.Request) bool {
		bytes := text(r)
		if bytes == "" {
			return Reset(conn, r)
		}
		io.WriteString(conn, bytes)
		return strings.Contains(bytes, "\r\nContent-Length: ") && !strings.Contains(bytes, "close")
	}
}

// Reset is an [Answer] that resets the connection.
func Reset(conn net.Conn, _ *http.Request) bool {
	conn.(*net.TCPConn).SetLinger(0)
	return false
}

// JSON writes a response in JSON, with more fields.
func JSON(status int, body string, fields ...string) string {
	return Message(status, body, append([]string{"Content-Type: application/json"}, fields...)...)
}

// LastJSON is [JSON] for the last response on a connection.
func LastJSON(status int, body string, fields ...string) string {
	return JSON(status, body, append([]string{"Connection: close"}, fields...)...)
}

// Message writes a response of a length that it tells, with more fields.
func Message(status int, body string, fields ...string) string {
	fields = append(fields, fmt.Sprint("Content-Length: ", len(body)))
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n\r\n%s", status, http.StatusText(status), strings.Join(fields, "\r\n"), body)
}

// Refusing writes a 401 with fields.
func Refusing(fields ...string) string { return Message(http.StatusUnauthorized, "", fields...) }
