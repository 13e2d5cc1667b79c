package gateway_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

const exporter = "spiffe://prod/ns/backups/sa/exporter"

// A rotating client shows the certificate that all of its kind show, on a new connection for each
// one, and now and then on a new connection for no reason.
type rotating struct {
	shown   *atomic.Pointer[gatewaytest.Certificate]
	done    atomic.Pointer[gatewaytest.Certificate] // the one that it was answered with last
	failure atomic.Pointer[string]
}

func (r *rotating) run(t *testing.T, g *certGateway, protocol string, stop <-chan struct{}) {
	var client *certClient
	var with *gatewaytest.Certificate
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if shown := r.shown.Load(); shown != with {
			with, client = shown, g.client(t, shown, protocol)
		}
		if n%8 == 7 {
			client.CloseIdleConnections()
		}
		if got, err := client.get(""); err != nil || got.status != 200 {
			text := fmt.Sprintf("%s: %+v %v", protocol, got, err)
			r.failure.CompareAndSwap(nil, &text)
		}
		r.done.Store(with)
	}
}

// The authority of client certificates is replaced while 64 clients run, and none of their
// requests and handshakes fails: both are trusted for a while. Then the old one is worth nothing,
// in new handshakes and on connections that are open.
func TestRotationOfTheClientCA(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, "", bound("exporter", `[{uri: "`+exporter+`"}]`, everything))
	next := gatewaytest.NewAuthority(t)
	before, after := g.clients.Workload(t, exporter), next.Workload(t, exporter)
	kept := map[string]*certClient{}
	for protocol := range protocols {
		kept[protocol] = g.client(t, before, protocol)
		if got, err := kept[protocol].get(""); err != nil || got.status != 200 {
			t.Fatalf("%s: %+v %v", protocol, got, err)
		}
	}
	var shown atomic.Pointer[gatewaytest.Certificate]
	shown.Store(before)
	stop := make(chan struct{})
	var group sync.WaitGroup
	clients := make([]*rotating, 64)
	for i := range clients {
		clients[i] = &rotating{shown: &shown}
		protocol := slices.Sorted(maps.Keys(protocols))[i%len(protocols)]
		group.Go(func() { clients[i].run(t, g, protocol, stop) })
	}
	all := func(c *gatewaytest.Certificate) {
		t.Helper()
		for _, client := range clients {
			client.done.Store(nil)
		}
		gatewaytest.WaitFor(t, "the clients", func() bool {
			return !slices.ContainsFunc(clients, func(r *rotating) bool { return r.done.Load() != c })
		})
	}
	all(before)
	offset := g.Log.Len()
	gatewaytest.ReplaceFile(t, g.caFile, g.clients.PEM+next.PEM)
	reloaded(t, g.AwaitReload(t, offset)) // by itself, since the file has changed
	all(before)
	shown.Store(after)
	all(after)
	gatewaytest.ReplaceFile(t, g.caFile, next.PEM)
	reloaded(t, g.Reload(t))
	all(after)
	close(stop)
	group.Wait()
	for _, client := range clients {
		if text := client.failure.Load(); text != nil {
			t.Error(*text)
		}
	}
	sent := g.upstream.Signed.Load()
	for protocol, client := range kept {
		if got, err := client.get(""); err != nil || got.status != 401 {
			t.Errorf("%s: on a connection that was open: %+v %v", protocol, got, err)
		}
		client.CloseIdleConnections()
		if got, err := client.get(""); err == nil {
			t.Errorf("%s: on a new connection: %+v", protocol, got)
		}
	}
	if n := g.upstream.Signed.Load() - sent; n != 0 {
		t.Errorf("%d requests at Atlas", n)
	}
}

// A session that is resumed is worth what the certificate is worth that began it: nothing after
// the authority was removed, or after no caller has the name any more.
func TestResumptionAfterTrustHasEnded(t *testing.T) {
	t.Parallel()
	list := bound("exporter", `[{uri: "`+exporter+`"}]`, everything)
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := startCertificates(t, "", list)
			client := g.client(t, g.clients.Workload(t, exporter), protocol)
			anew := func() (answered, error) {
				client.CloseIdleConnections()
				return client.get("")
			}
			good := func(resumed bool) {
				t.Helper()
				if got, err := anew(); err != nil || got.status != 200 || got.resumed != resumed {
					t.Errorf("%+v %v, want resumed %t", got, err, resumed)
				}
			}
			good(false)
			good(true)
			reloaded(t, g.Reload(t))
			good(true)
			// Without the entry.
			sent := g.upstream.Signed.Load()
			reloaded(t, g.Rewrite(t, g.yaml("", bound("exporter", `[{uri: "`+exporter+`2"}]`, everything))))
			if got, err := anew(); err != nil || got.status != 401 || !got.resumed {
				t.Errorf("without the entry: %+v %v", got, err)
			}
			reloaded(t, g.Rewrite(t, g.yaml("", list)))
			good(true)
			sent++
			// Without the authority: neither in the handshake, which begins anew, nor after it.
			gatewaytest.ReplaceFile(t, g.caFile, gatewaytest.NewAuthority(t).PEM)
			reloaded(t, g.Reload(t))
			if got, err := anew(); err == nil {
				t.Errorf("without the authority: %+v", got)
			}
			if n := g.upstream.Signed.Load() - sent; n != 0 {
				t.Errorf("%d requests at Atlas", n)
			}
			// Without any authority, no certificate counts: the session tells of one.
			gatewaytest.ReplaceFile(t, g.caFile, g.clients.PEM)
			reloaded(t, g.Reload(t))
			if got, err := anew(); err != nil || got.status != 200 {
				t.Errorf("with the authority again: %+v %v", got, err)
			}
			keyed := gatewaytest.Issue(t, "keyed", everything)
			g.listener = strings.Replace(g.listener, ", client_ca_file: ", "} #", 1)
			reloaded(t, g.Rewrite(t, g.yaml("", keyed)))
			if got, err := anew(); err != nil || got.status != 401 {
				t.Errorf("without any authority: %+v %v", got, err)
			}
		})
	}
}

// The certificate of each request is held against the configuration in force, also on a connection
// that is open, and where a mistake keeps the rest of the configuration from being reloaded.
func TestOpenConnectionsAfterTrustHasEnded(t *testing.T) {
	t.Parallel()
	list := bound("exporter", `[{uri: "`+exporter+`"}]`, everything)
	g := startCertificates(t, "", list)
	other := gatewaytest.NewAuthority(t)
	clients := map[string]*certClient{}
	for protocol := range protocols {
		clients[protocol] = g.client(t, g.clients.Workload(t, exporter), protocol)
	}
	check := func(when string, status int, reason string) {
		t.Helper()
		for protocol, client := range clients {
			sent, offset := g.upstream.Signed.Load(), g.Log.Len()
			got, err := client.get("")
			if record := g.Await(t, offset, `"msg":"request"`); err != nil || got.status != status || status == 401 && !strings.Contains(record, `"reason":"`+reason+`","tried":"`+exporter+`"`) {
				t.Errorf("%s, %s: %+v %v, %s", when, protocol, got, err, record)
			}
			if n := g.upstream.Signed.Load() - sent; (n > 0) != (status == 200) {
				t.Errorf("%s, %s: %d requests at Atlas", when, protocol, n)
			}
		}
	}
	check("at first", 200, "")
	metric := `atlas_gateway_connections{authenticated="true"} 4`
	if metrics := g.Metrics(t); !strings.Contains(metrics, metric) {
		t.Errorf("connections with a good certificate may be evicted: %s", metrics)
	}
	trust := func(authority *gatewaytest.Authority) {
		gatewaytest.ReplaceFile(t, g.caFile, authority.PEM)
		reloaded(t, g.Reload(t))
	}
	trust(other)
	check("without the authority", 401, "certificate_untrusted") // and the connection ends
	trust(g.clients)
	check("with the authority again", 200, "")
	reloaded(t, g.Rewrite(t, g.yaml("", bound("other", `[{dns: "a.example"}]`, everything))))
	check("without the entry", 401, "certificate_unknown")
	reloaded(t, g.Rewrite(t, g.yaml("", list)))
	check("with the entry again", 200, "")
	good, err := os.ReadFile(g.File)
	if err != nil {
		t.Fatal(err)
	}
	g.Rewrite(t, string(good)+"limit: {}\n")
	offset := g.Log.Len()
	gatewaytest.ReplaceFile(t, g.caFile, other.PEM)
	g.Await(t, offset, "the authorities of client certificates were renewed, and nothing else")
	check("without the authority, beside a mistake", 401, "certificate_untrusted")
}

// A caller is asked for another connection before its certificate ends, so that it shows the one
// that it has renewed meanwhile: no request fails. It is asked so, too, when its certificate is
// refused.
func TestCallersReconnectForANewCertificate(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, "", bound("exporter", `[{dns: "a.example"}]`, everything))
	ends := func(in time.Duration) *gatewaytest.Certificate {
		return g.clients.Client(t, func(c *x509.Certificate) { c.DNSNames, c.NotAfter = []string{"a.example"}, time.Now().Add(in) })
	}
	for protocol := range protocols {
		for _, test := range []struct {
			certificate *gatewaytest.Certificate
			reconnects  bool
		}{{ends(30 * time.Minute), false}, {ends(4 * time.Minute), true}} {
			client, anew := g.client(t, test.certificate, protocol), 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
				if !info.Reused {
					anew++
				}
			}})
			for n := 0; n < 8 || test.reconnects && anew < 2 && n < 500; n++ {
				request, err := http.NewRequestWithContext(ctx, "GET", g.URL+v2Exports+"/"+jobID, nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Accept", latest)
				response, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != 200 {
					t.Errorf("%s: %d", protocol, response.StatusCode)
				}
			}
			// Over HTTP/2 the client may send a request before it has read that it is asked.
			if (anew > 1) != test.reconnects {
				t.Errorf("%s: %d connections; the certificate ends %s", protocol, anew, test.certificate.Leaf.NotAfter)
			}
		}
	}
	// With a certificate that is refused on an open connection, the next request is on another one.
	certificate := ends(time.Hour)
	client := g.client(t, certificate, "TLS 1.3, HTTP/1.1")
	if got, err := client.get(""); err != nil || got.status != 200 {
		t.Fatalf("%+v %v", got, err)
	}
	next := gatewaytest.NewAuthority(t)
	gatewaytest.ReplaceFile(t, g.caFile, next.PEM)
	reloaded(t, g.Reload(t))
	if got, err := client.get(""); err != nil || got.status != 401 {
		t.Errorf("%+v %v", got, err)
	}
	*certificate = *next.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	if got, err := client.get(""); err != nil || got.status != 200 {
		t.Errorf("%+v %v", got, err)
	}
}

// A connection with a certificate that is nobody's can be evicted like any other.
func TestStrangersConnectionsAreEvicted(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, "", bound("exporter", `[{uri: "`+exporter+`"}]`, everything))
	if got, err := g.client(t, g.clients.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }), "TLS 1.3, HTTP/1.1").get(""); err != nil || got.status != 401 {
		t.Errorf("%+v %v", got, err)
	}
	if metrics := g.Metrics(t); !strings.Contains(metrics, `atlas_gateway_connections{authenticated="false"} 1`) {
		t.Error(metrics)
	}
}

// The metrics and the readiness checks tell when the first of the authorities expires, wherever
// it is in the file, and no longer once it was removed.
func TestExpirationOfTheClientCA(t *testing.T) {
	t.Parallel()
	g := startCertificates(t, "", bound("exporter", `[{uri: "`+exporter+`"}]`, everything))
	soon, gone := g.clients.Issue(t, time.Minute), g.clients.Issue(t, -time.Minute)
	other := "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" // is none
	for _, test := range []struct {
		file    string
		expires *gatewaytest.Certificate
		check   string
	}{
		{g.clients.PEM, g.clients.Own(), "[+]certificate/client_ca ok\n"},
		{g.clients.PEM + other + soon.CertPEM, soon, "[+]certificate/client_ca ok\n"},
		{gone.CertPEM + g.clients.PEM, gone, "[-]certificate/client_ca failed: it has expired\n"},
	} {
		gatewaytest.ReplaceFile(t, g.caFile, test.file)
		reloaded(t, g.Reload(t))
		want := fmt.Sprint("\natlas_gateway_certificate_expiration_timestamp_seconds{certificate=\"client_ca\"} ", float64(test.expires.Leaf.NotAfter.Unix()), "\n")
		if got := g.Metrics(t); !strings.Contains(got, want) {
			t.Errorf("the metrics lack %s", want)
		}
		if got := readiness(t, g.Gateway); !strings.Contains(got, test.check) {
			t.Errorf("%s, want %s", got, test.check)
		}
	}
}
