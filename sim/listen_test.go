package sim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
)

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]sim.Config{
		`the address "0.0.0.0:0" is not loopback`:                  {Listen: "0.0.0.0:0"},
		`the address ":0" is not loopback`:                         {ControlListen: ":0"},
		`the address "example.com:80" is not loopback`:             {Listen: "example.com:80"},
		`the address is "27080"`:                                   {Listen: "27080"},
		"Config.Speed is -1; it must be a finite number above 0":   {Speed: -1},
		"Config.Speed is NaN; it must be a finite number above 0":  {Speed: math.NaN()},
		"Config.Speed is +Inf; it must be a finite number above 0": {Speed: math.Inf(1)},
		"Config.Speed is -Inf; it must be a finite number above 0": {Speed: math.Inf(-1)},
		"Config.QueueTime is -1s; it must not be negative":         {QueueTime: -time.Second},
		"Config.RunTime is -1s; it must not be negative":           {RunTime: -time.Second},
		"Config.LogRequests is -1; it must not be negative":        {LogRequests: -1},
		"Config.LogBytes is -1; it must not be negative":           {LogBytes: -1},
		`the public URL "cloud" is not an origin`:                  {PublicURL: "cloud"},
		`the public URL "http://x/y" is not an origin`:             {PublicURL: "http://x/y"},
		"testdata/none/state can't be written: no such file":       {StateFile: "testdata/none/state"},
		"the export directory":                                     {ExportDir: "testdata/none"},
		"refuse must be a share":                                   {Settings: sim.Settings{Nonces: sim.Nonces{Refuse: -1}}},
		"faults[0]: the kind":                                      {Faults: []sim.Fault{{}}},
	} {
		if _, err := sim.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	remote, err := sim.New(sim.Config{Listen: "0.0.0.0:0", AllowRemote: true}) // Listen is not called
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Close(); err != nil {
		t.Error(err)
	}
	taken := start(t, sim.Config{})
	atlas, err := sim.New(sim.Config{ControlListen: strings.TrimPrefix(taken.ControlURL(), "http://")})
	if err != nil {
		t.Fatal(err)
	}
	if atlas.Listen() == nil {
		t.Error("it listens on a port that is taken")
	}
	if err := atlas.Close(); err != nil {
		t.Error(err)
	}
}

// failing is a testing.TB that records its failure and does nothing else.
type failing struct {
	testing.TB
	failed string
}

func (f *failing) Fatalf(format string, args ...any) { f.failed = fmt.Sprintf(format, args...) }

func TestStartFails(t *testing.T) {
	f := &failing{TB: t}
	sim.Start(f, sim.Config{Speed: -1})
	check(t, "failure", f.failed, "sim: Config.Speed is -1; it must be a finite number above 0")
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	atlas := start(t, sim.Config{TLS: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}})
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: &digest.Transport{Username: sim.PublicKey, Password: sim.PrivateKey, Transport: transport}}
	response, err := client.Get(atlas.URL() + v1 + buckets)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	check(t, "protocol", response.Proto, "HTTP/1.1")
	if !strings.Contains(string(body), `"href":"https://127.0.0.1:`) {
		t.Errorf("links: %s", body)
	}
	request := atlas.Requests(0)[1]
	if !strings.HasPrefix(string(request.Raw), "GET "+v1+buckets+" HTTP/1.1\r\n") {
		t.Errorf("raw: %q", request.Raw)
	}
	// A fault resets the TCP connection below TLS.
	setFaults(t, atlas, sim.Fault{Kind: sim.FaultReset, BeforeAuthentication: true})
	if _, err := client.Get(atlas.URL() + v1 + buckets); err == nil {
		t.Error("the connection was not reset")
	}
}

// The names of the fields have the spelling of Atlas on the wire.
func TestFieldNames(t *testing.T) {
	atlas := start(t, sim.Config{})
	nonce := nonceOf(t, plainly(t, "GET", atlas.URL()+v1+buckets, ""))
	conn, err := net.Dial("tcp", strings.TrimPrefix(atlas.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n",
		v1+buckets, sign(sim.PrivateKey, "GET", v1+buckets, nonce, 1))
	answers, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"WWW-Authenticate", "X-MongoDB-Service-Version", "RateLimit-Limit", "RateLimit-Remaining", "X-Error-Code"} {
		if !strings.Contains(string(answers), "\r\n"+name+": ") {
			t.Errorf("there is no %s in %s", name, answers)
		}
	}
}

// Callers, jobs that end and the tester run at the same time, for the race detector.
func TestConcurrency(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Speed: 100_000, ExportDir: t.TempDir(), StateFile: t.TempDir() + "/state.json", LogRequests: 50,
		Settings: sim.Settings{ParallelExports: true, RateLimit: sim.RateLimit{Off: true}}})
	bucket := newCaller(t, atlas.URL(), sim.PublicKey).bucket()
	var wait sync.WaitGroup
	const callers, rounds = 6, 4
	for i := range callers {
		c := newCaller(t, atlas.URL(), sim.PublicKey)
		path, snapshot := events, sim.EventsSnapshot
		wait.Go(func() {
			for j := range rounds {
				a := c.do("POST", v2+path, exportOf(snapshot, bucket))
				if a.status != 200 {
					t.Errorf("create: %d: %s", a.status, a.body)
					return
				}
				c.do("GET", v2+path, "")
				if mine := c.do("POST", v1+buckets, `{"cloudProvider":"AWS","bucketName":"acme-more","iamRoleId":"`+sim.AWSRole+`"}`); mine.status != 200 {
					t.Errorf("bucket: %d", mine.status)
				}
				switch (i + j) % 4 {
				case 0:
					atlas.Advance(time.Millisecond)
				case 1:
					atlas.Requests(0)
					atlas.Counts()
				case 2:
					settings := atlas.Settings()
					settings.CountsOnly = j%2 == 0
					atlas.SetSettings(settings)
				case 3:
					atlas.Jobs()
				}
			}
		})
	}
	wait.Wait()
	atlas.Advance(time.Hour)
	for _, job := range atlas.Jobs() {
		check(t, job.ID, job.State, "Successful")
	}
	check(t, "jobs", len(atlas.Jobs()), callers*rounds)
}

// Only one of several creates of the same export at the same time succeeds.
func TestConcurrentCreates(t *testing.T) {
	atlas := start(t, sim.Config{})
	bucket := newCaller(t, atlas.URL(), sim.PublicKey).bucket()
	var wait sync.WaitGroup
	statuses := make([]int, 16)
	for i := range statuses {
		c := newCaller(t, atlas.URL(), sim.PublicKey)
		wait.Go(func() { statuses[i] = c.do("POST", v2+orders, exportOf(sim.OrdersSnapshot, bucket)).status })
	}
	wait.Wait()
	won := 0
	for _, status := range statuses {
		if status == 200 {
			won++
		} else {
			check(t, "status", status, 409)
		}
	}
	check(t, "won", won, 1)
	check(t, "jobs created", atlas.Counts().JobsCreated, int64(1))
}

// Close ends the latency of a request.
func TestCloseEndsLatency(t *testing.T) {
	atlas := start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, BeforeAuthentication: true, Latency: sim.Duration(time.Hour)}}})
	answered := make(chan int)
	go func() { answered <- plainly(t, "GET", atlas.URL()+v1+buckets, "").status }()
	for atlas.Counts().ByOperation["v1ListExportBuckets"] == 0 {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := atlas.Close(); err != nil {
		t.Error(err)
	}
	check(t, "status", <-answered, 401)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func BenchmarkDigest(b *testing.B) {
	for name, countsOnly := range map[string]bool{"logged": false, "counted": true} {
		b.Run(name, func(b *testing.B) {
			atlas := sim.Start(b, sim.Config{Settings: sim.Settings{CountsOnly: countsOnly, RateLimit: sim.RateLimit{Off: true}}})
			c := newCaller(b, atlas.URL(), sim.PublicKey)
			bucket := c.bucket()
			b.ReportAllocs()
			for b.Loop() {
				if a := c.do("GET", v2+buckets+"/"+bucket, ""); a.status != 200 {
					b.Fatal(a.status)
				}
			}
		})
	}
}
