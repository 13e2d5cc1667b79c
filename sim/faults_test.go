package sim_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

func setFaults(t testing.TB, atlas *sim.Server, faults ...sim.Fault) {
	t.Helper()
	if err := atlas.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

// faultTest is a fault, and what becomes of the create that it strikes.
type faultTest struct {
	fault    sim.Fault
	err      error // of the connection
	status   int
	fields   string // "Name: value", one a line
	contains string
	done     int64 // jobs that were created
}

func TestFaults(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, test := range []faultTest{
		{sim.Fault{Kind: sim.FaultReset}, syscall.ECONNRESET, 0, "", "", 0},
		{sim.Fault{Kind: sim.FaultResetAfter}, syscall.ECONNRESET, 0, "", "", 1},
		{sim.Fault{Kind: sim.FaultRateLimit}, nil, 429, "X-Error-Code: RATE_LIMITED_TOKEN_BUCKET\nRetry-After: ", "RATE_LIMITED", 0},
		{sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7}, nil, 429, "Retry-After: 7", "retry after 7 seconds", 0},
		{sim.Fault{Kind: sim.FaultRateLimit400, RetryAfter: 2}, nil, 400, "X-Error-Code: RATE_LIMITED_TOKEN_BUCKET\nRetry-After: 2", `"error":400`, 0},
		{sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: 3}, nil, 503, "Content-Type: text/html\nRetry-After: 3", "<html>", 0},
		{sim.Fault{Kind: sim.FaultUnavailableAfter}, nil, 503, "Content-Type: text/html", "<html>", 1},
		{sim.Fault{Kind: sim.FaultTruncate}, io.ErrUnexpectedEOF, 200, "", `{"createdAt"`, 1},
		{sim.Fault{Kind: sim.FaultOversize, Bytes: 3 << 20}, nil, 200, "Content-Length: ", `"state":"Queued"`, 1},
		{sim.Fault{Kind: sim.FaultRedirect, Location: "http://" + elsewhere.Addr().String() + "/"}, nil, 307, "Location: http://" + elsewhere.Addr().String() + v2 + orders, "", 0},
		{sim.Fault{Kind: sim.FaultNoChallenge}, nil, 401, "WWW-Authenticate: ", "You are not authorized", 0},
		{sim.Fault{Kind: sim.FaultLatency}, nil, 200, "", `"state":"Queued"`, 1},
	} {
		t.Run(string(test.fault.Kind), func(t *testing.T) {
			test.run(t, atlas, bucket)
			check(t, "the next call", c.do("POST", v2+orders, exportOf(sim.OrdersSnapshot, bucket)).status, 200)
		})
	}
}

func (test faultTest) run(t *testing.T, atlas *sim.Server, bucket string) {
	test.fault.Operation, test.fault.Latency, test.fault.Count = "createBackupExport", sim.Duration(20*time.Millisecond), 1
	setFaults(t, atlas, test.fault)
	atlas.Reset()
	begin := time.Now()
	uri := v2 + orders
	nonce := nonceOf(t, plainly(t, "POST", atlas.URL()+uri, "")) // a challenge, which the fault spares
	request, _ := http.NewRequest("POST", atlas.URL()+uri, io.MultiReader(strings.NewReader(exportOf(sim.OrdersSnapshot, bucket))))
	request.Header.Set("Accept", latest)
	request.Header.Set("Content-Type", "application/json")
	_, credential, _ := strings.Cut(sign(sim.PrivateKey, "POST", uri, nonce, 1), ": ")
	request.Header.Set("Authorization", credential)
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	if !errors.Is(err, test.err) {
		t.Errorf("error %v, want %v", err, test.err)
	}
	if time.Since(begin) < 20*time.Millisecond {
		t.Error("there was no latency")
	}
	if test.status != 0 {
		check(t, "status", response.StatusCode, test.status)
		for line := range strings.Lines(test.fields) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			check(t, name, response.Header.Get(name), value)
		}
		if !strings.Contains(string(body), test.contains) {
			t.Errorf("body %.300s", body)
		}
	}
	if test.fault.Kind == sim.FaultOversize && len(body) != 3<<20 {
		t.Errorf("the body has %d bytes", len(body))
	}
	check(t, "jobs", atlas.Counts().JobsCreated, test.done)
	requests := waitFor(t, atlas, 2)
	last := requests[len(requests)-1]
	check(t, "logged fault", last.Fault, string(test.fault.Kind))
	check(t, "logged status", last.Status, test.status)
	check(t, "struck", atlas.Faults()[0].Struck, 1)
}

func TestFaultSelection(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}, Faults: []sim.Fault{
		{Kind: sim.FaultUnavailable, Operation: "listBackupExports", After: 2, Count: 3},
	}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	var statuses []int
	for range 7 {
		statuses = append(statuses, c.do("GET", v2+orders, "").status)
		check(t, "another operation", c.do("GET", v2+buckets, "").status, 200)
	}
	check(t, "after and count", statuses, []int{200, 200, 503, 503, 503, 200, 200})

	setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailable, Share: 0.25})
	struck := 0
	for range 400 {
		if c.do("GET", v2+orders, "").status == 503 {
			struck++
		}
	}
	if struck < 60 || struck > 140 {
		t.Errorf("a quarter of 400 are %d", struck)
	}
	check(t, "struck", atlas.Faults()[0].Struck, struck)

	setFaults(t, atlas, sim.Fault{Kind: sim.FaultNoChallenge, BeforeAuthentication: true})
	a := plainly(t, "GET", atlas.URL()+v2+orders, "")
	check(t, "before authentication", a.status, 401)
	check(t, "challenge", a.header.Get("WWW-Authenticate"), "")
	setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailable, Operation: "token"})
	check(t, "token", basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, "grant_type=client_credentials", formType).status, 503)
	setFaults(t, atlas)
	check(t, "none", c.do("GET", v2+orders, "").status, 200)
	for _, wrong := range []sim.Fault{
		{}, {Kind: "explosion"}, {Kind: sim.FaultReset, Operation: "listEverything"}, {Kind: sim.FaultReset, Share: 1.5},
		{Kind: sim.FaultReset, Count: -1}, {Kind: sim.FaultRedirect}, {Kind: sim.FaultReset, Location: "http://x"},
	} {
		if atlas.SetFaults([]sim.Fault{wrong}) == nil {
			t.Errorf("%+v was accepted", wrong)
		}
	}
}
