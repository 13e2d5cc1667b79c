package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind, on either side of the gateway.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections() // the generated client's
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The ids of the simulation's default seed, which are those of the contract's examples, and what a
// caller asks for with them.
const (
	group    = "64f0c1a2b3d4e5f607182930"
	snapshot = "6a01e0b45be2d84417c09f10"
	bucketID = "65a9d3e1f20b4c7788990011"
	jobID    = "6a01f3c95be2d84417c0aa01"
	role     = "65a9d2f4f20b4c7788990001"

	v1Exports  = "/api/atlas/v1.0/groups/" + group + "/clusters/orders/backup/exports"
	v2Exports  = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"
	v1Buckets  = "/api/atlas/v1.0/groups/" + group + "/backup/exportBuckets"
	v2Buckets  = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"
	v2Clusters = v2Group + "/clusters"
	v2Group    = "/api/atlas/v2/groups/" + group

	v2Snapshots = v2Clusters + "/orders/backup/snapshots"

	// export makes a job, and job is an answer of Atlas's to it.
	export = `{"snapshotId":"` + snapshot + `","exportBucketId":"` + bucketID + `"}`
	job    = `{"id":"` + jobID + `","state":"Queued"}`
	// eachSent is the setting of tests that look at what every single read does.
	eachSent = `reads: {share: "off"}`
	// awsBucket makes an export bucket.
	awsBucket = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + role + `"}`
)

// The media types that callers ask for, and that operations answer with and, without the charset,
// are forwarded as.
const (
	plain  = "application/json"
	of2023 = "application/vnd.atlas.2023-01-01+json"
	of2024 = "application/vnd.atlas.2024-05-30+json"
	latest = "application/vnd.atlas.2025-03-12+json"
)

// everything is the grants of a caller who may do everything.
const everything = `[{operations: [manage], groups: ["*"]}]`

// The header fields of requests without and with content.
var (
	readHeader   = map[string]string{"Accept": latest}
	createHeader = map[string]string{"Accept": latest, "Content-Type": plain}
)

// as returns the header fields of a request with an Authorization field; none if it is empty.
func as(authorization string) map[string]string {
	header := map[string]string{"Accept": latest, "Content-Type": plain}
	if authorization != "" {
		header["Authorization"] = authorization
	}
	return header
}

// request writes a request as bytes; the connection is closed after the answer.
func request(line, body string, fields ...string) string {
	head := line + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	for _, field := range fields {
		head += field + "\r\n"
	}
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// holdingUpstream starts an upstream that answers with a job once the test closes proceed. arrived
// gets a value for each signed request.
func holdingUpstream(t testing.TB) (upstream *gatewaytest.Upstream, arrived <-chan struct{}, proceed chan<- struct{}) {
	t.Helper()
	arrives, goes := make(chan struct{}, 2), make(chan struct{})
	upstream = gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		arrives <- struct{}{}
		<-goes
		return gatewaytest.LastJSON(200, job)
	}))
	return upstream, arrives, goes
}
