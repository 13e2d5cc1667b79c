package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"
)

// upstream answers as Atlas does: a GET with a query with a list of ten jobs, other requests with
// one job. With a verifier it requires a Digest credential. Its nonces are good for ever and with any
// count; digestreport compares digest transports with other nonces.
type upstream struct {
	verifier     *digestauth.Verifier
	list, single []byte // responses
	jobs         atomic.Uint64

	mu     sync.Mutex
	nonces map[string]bool // issued
}

// The credential that the upstream asks for.
const (
	realm      = callers.DefaultRealm
	publicKey  = "abcdefgh"
	privateKey = "01234567-89ab-cdef-0123-456789abcdef"
)

const (
	mediaType = "application/vnd.atlas.2023-01-01+json"
	group     = "64f0c1a2b3d4e5f607182930"
	cluster   = "orders"
	bucket    = "65a9d3e1f20b4c7788990011"
	target    = "/api/atlas/v2/groups/" + group + "/clusters/" + cluster + "/backup/exports"

	job = `{"components":[{"exportId":"6a01f3c95be2d84417c0aa02","replicaSetName":"atlas-1b2c3d-shard-0"},{"exportId":"6a01f3c95be2d84417c0aa03","replicaSetName":"atlas-1b2c3d-shard-1"}],` +
		`"createdAt":"2026-08-10T03:28:25Z","customData":[{"key":"exported by","value":"nightly"},{"key":"ticket","value":"OPS-1024"}],"exportBucketId":"` + bucket + `",` +
		`"id":"` + jobID + `","links":[],"prefix":"exported_snapshots/5f0a1b2c3d4e5f6071829304/` + group + `/` + cluster + `/2026-08-10T0327/1786332505",` +
		`"snapshotId":"6a01e0b45be2d84417c09f10","state":"Queued"}`
	jobID        = "6a01f3c95be2d84417c0aa01"
	unauthorized = `{"detail":"You are not authorized for this resource.","error":401,"errorCode":"UNEXPECTED_ERROR","reason":"Unauthorized"}`
)

// newUpstream returns an upstream whose links begin with an origin.
func newUpstream(origin string) *upstream {
	list := `{"links":[{"href":"` + origin + target + `?includeCount=true&pageNum=1&itemsPerPage=100","rel":"self"}],"results":[` + strings.Repeat(job+",", 9) + job + `],"totalCount":10}`
	return &upstream{single: response("200 OK", job), list: response("200 OK", list), nonces: map[string]bool{}}
}

// askForCredential makes the upstream require its key pair.
func (u *upstream) askForCredential() error {
	ha1, err := digestauth.HA1(digestauth.MD5, publicKey, realm, secret.New(privateKey))
	u.verifier = &digestauth.Verifier{
		Realm:      realm,
		HA1:        func(username, _ string) (secret.Secret, bool) { return ha1, username == publicKey },
		CheckNonce: u.checkNonce,
	}
	return err
}

func (u *upstream) checkNonce(nonce string, _ uint32) digestauth.NonceVerdict {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.nonces[nonce] {
		return digestauth.NonceUnknown
	}
	return digestauth.NonceGood
}

// serve answers on every connection until the listener is closed.
func (u *upstream) serve(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			reader := bufio.NewReader(connection)
			for {
				request, err := readMessage(reader)
				if err != nil {
					return
				}
				if _, err := connection.Write(u.answer(request)); err != nil {
					return
				}
			}
		}()
	}
}

func (u *upstream) answer(request message) []byte {
	method, rest, _ := strings.Cut(request.start, " ")
	uri, _, _ := strings.Cut(rest, " ")
	if u.verifier != nil {
		_, err := u.verifier.Verify(&http.Request{Method: method, RequestURI: uri, Header: http.Header{"Authorization": request.authorization}})
		if err != nil {
			return u.challenge()
		}
	}
	if method == http.MethodGet && strings.Contains(uri, "?") {
		return u.list
	}
	return u.newJob()
}

// newJob returns a response with a job whose id no other has: a gateway with a journal takes two
// creates with the same result for an error.
func (u *upstream) newJob() []byte {
	answer := slices.Clone(u.single)
	at := bytes.Index(answer, []byte(jobID))
	copy(answer[at:], fmt.Appendf(nil, "%0*x", len(jobID), u.jobs.Add(1)))
	return answer
}

// challenge returns a challenge with a new nonce.
func (u *upstream) challenge() []byte {
	c := digestauth.Challenge{Realm: realm, Nonce: rand.Text()}
	u.mu.Lock()
	u.nonces[c.Nonce] = true
	u.mu.Unlock()
	return response("401 Unauthorized", unauthorized, "WWW-Authenticate: "+c.String())
}

// response returns a response with the fields of Atlas's responses.
func response(status, content string, more ...string) []byte {
	lines := append([]string{
		"HTTP/1.1 " + status,
		"Date: Mon, 10 Aug 2026 03:28:25 GMT",
		"Content-Type: " + mediaType + ";charset=utf-8",
		"Content-Length: " + strconv.Itoa(len(content)),
		"RateLimit-Limit: 1200",
		"RateLimit-Remaining: 1199",
		"X-MongoDB-Service-Version: gitHash=0000000000000000000000000000000000000000; versionString=v20260805",
	}, more...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + content)
}
