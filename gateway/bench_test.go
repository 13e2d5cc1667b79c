package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// BenchmarkProxy compares what a request costs through the gateway with what it costs through
// httputil.ReverseProxy. The gateway validates, signs, logs and counts the request, and
// ReverseProxy does none of that. All connections are TCP, 16 on each side. Client, proxy and
// upstream are one process: cpu-ns/op is what all of them take, and proxy-cpu-ns/op is that
// without what the same request takes without a proxy, which is measured first. Compare ratios
// within one run.
func BenchmarkProxy(b *testing.B) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		h := w.Header()
		// The gateway asks for a challenge: it has its User-Agent and no credential.
		if r.Header.Get("User-Agent") == "atlas-export-gateway" && r.Header.Get("Authorization") == "" {
			h["Www-Authenticate"] = []string{gatewaytest.Challenge}
			h["Content-Type"] = []string{"application/json"}
			w.WriteHeader(401)
			return
		}
		h["Content-Type"] = []string{"application/vnd.atlas.2023-01-01+json;charset=utf-8"}
		h["Ratelimit-Limit"] = []string{"1000000"}
		io.WriteString(w, listAnswer)
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		b.Fatal(err)
	}
	connections := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	defer connections.CloseIdleConnections()

	plain := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: connections})
	defer plain.Close()
	pooled := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: connections, BufferPool: new(buffers)})
	defer pooled.Close()
	validating := gatewaytest.StartConfig(b, gatewaytest.Config{YAML: gatewaytest.YAML(upstream.URL, "budget: {requests: 1000000, per_minute: 1000000}"), Log: io.Discard}).URL

	for _, request := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"GET", "GET", v2Exports + "?includeCount=true&itemsPerPage=100&pageNum=", "", 200},
		{"POST", "POST", v2Exports, export[:len(export)-1] + `,"customData":[{"key":"exported by","value":"nightly"},{"key":"ticket","value":"OPS-1024 quarterly archive"}]}`, 200},
		{"rejected POST", "POST", v2Exports, strings.Replace(export, "snapshotId", "snapshotID", 1), 400},
	} {
		var direct float64
		for _, proxy := range []struct{ name, url string }{
			{"none", upstream.URL}, {"ReverseProxy", plain.URL}, {"ReverseProxy with BufferPool", pooled.URL}, {"gateway", validating},
		} {
			b.Run(request.name+"/"+proxy.name, func(b *testing.B) {
				status := request.status
				if proxy.name != "gateway" {
					status = 200 // the others reject nothing
				}
				cpu := load(b, request.method, proxy.url+request.path, request.body, status)
				b.ReportMetric(cpu, "cpu-ns/op")
				if proxy.name == "none" {
					direct = cpu
				} else {
					b.ReportMetric(cpu-direct, "proxy-cpu-ns/op")
				}
			})
		}
	}
}

var listAnswer = `{"links":[{"href":"https://elsewhere.example/api","rel":"self"}],"results":[` + strings.Repeat(`{"id":"6a01f3c95be2d84417c0aa01","snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011","state":"Successful","createdAt":"2026-08-10T03:28:25Z"},`, 3) +
	`{"id":"6a01f3c95be2d84417c0aa01","state":"Queued"}],"totalCount":4}`

// load sends b.N requests over 16 connections. It returns the CPU time that the process took for
// each request, in nanoseconds.
func load(b *testing.B, method, url, body string, status int) float64 {
	const connections = 16
	transport := &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	var sent atomic.Int64
	send := func() int {
		target, content := url, io.Reader(nil)
		if body != "" {
			content = strings.NewReader(body)
		} else {
			target += strconv.FormatInt(sent.Add(1), 10) // that of no other read
		}
		r, err := http.NewRequest(method, target, content)
		if err != nil {
			b.Error(err)
			return 0
		}
		r.Header["Accept"] = []string{latest}
		r.Header["Content-Type"] = []string{"application/json"}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			b.Error(err)
			return 0
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	for range 2 * connections { // so that there are connections and nonces
		send()
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	var next atomic.Int64
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if got := send(); got != status {
					b.Errorf("status %d, want %d", got, status)
					return
				}
			}
		})
	}
	group.Wait()
	return float64(cpuTime(b)-before) / float64(b.N)
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// buffers is a BufferPool for ReverseProxy.
type buffers struct{ pool sync.Pool }

func (p *buffers) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *buffers) Put(b []byte) { p.pool.Put(&b) }
