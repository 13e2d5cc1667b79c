package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// startTLS serves a gateway over TLS and returns its authority's pool.
func startTLS(t testing.TB, atlas *sim.Server, settings string, list ...issued) (*running, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca, caKey := certificate(t, nil, nil, time.Hour)
	leaf, key := certificate(t, ca, caKey, time.Hour, net.IPv4(127, 0, 0, 1))
	replace(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))
	replace(t, keyFile, pemKey(t, key))
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return startFor(t, atlas, "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}\n"+settings, list...), roots
}

// Over HTTP/2 a request is what it is over HTTP/1.1: authenticated, checked in its raw
// target, forwarded once.
func TestHTTP2(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g, roots := startTLS(t, atlas, "", nightly)
	connections := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(connections.CloseIdleConnections)
	client := &http.Client{Transport: connections, Timeout: 20 * time.Second}
	do := func(method, target, token, body string) (int, string) {
		var content io.Reader
		if body != "" {
			content = strings.NewReader(body)
		}
		request, err := http.NewRequest(method, "https://"+g.address, content)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		path, query, _ := strings.Cut(target, "?")
		request.URL = &url.URL{Scheme: "https", Host: g.address, Opaque: path, RawQuery: query} // as it is
		request.Header.Set("Accept", latest)
		request.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%s %s: %v", method, target, err)
			return 0, ""
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.ProtoMajor != 2 {
			t.Errorf("%s %s: %s %v", method, target, response.Proto, err)
		}
		return response.StatusCode, string(text)
	}
	token := nightly.token.Secret.Reveal()
	_, made := do("POST", v1Buckets+"/", token, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"`+role+`"}`)
	var bucket struct {
		ID string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(made), &bucket); err != nil {
		t.Fatalf("%v: %s", err, made)
	}
	create := `{"snapshotId":"` + snapshot + `","exportBucketId":"` + bucket.ID + `"}`
	for _, test := range []struct {
		method, target, token, body string
		status                      int
	}{
		{"GET", v2Exports + "?pageNum=1", token, "", 200},
		{"HEAD", v2Exports, token, "", 200},
		{"POST", v2Exports, token, create, 200},
		{"DELETE", v2Buckets + "/" + bucketID, "wrong", "", 401},
		{"GET", v2Exports + "?pageNum=01", token, "", 400},
		{"GET", strings.Replace(v2Exports, "orders", "%6frders", 1), token, "", 400},
		{"GET", strings.Replace(v2Exports, "orders", "..", 1), token, "", 400},
		{"GET", strings.Replace(v2Exports, "/v2/", "/v2//", 1), token, "", 400},
		{"POST", v2Exports, token, create + "x", 400},
		{"POST", v2Exports, token, `{"snapshotId":"` + strings.Repeat("a", 300<<10) + `"}`, 413},
		{"TRACE", v2Exports, token, "", 405},
		{"GET", "/nothing", token, "", 404},
	} {
		before := atlas.Counts().ByStatus[200]
		status, body := do(test.method, test.target, test.token, test.body)
		if n := atlas.Counts().ByStatus[200] - before; status != test.status || (n == 1) != (status == 200) {
			t.Errorf("%s %.120s: %d %.300s, and %d requests at Atlas; want %d", test.method, test.target, status, body, n, test.status)
		}
	}
	var group sync.WaitGroup
	for range 200 { // more than one connection's streams
		group.Go(func() {
			if status, body := do("GET", v2Exports, token, ""); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	group.Wait()
}
