package gateway_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// limited returns what requests beyond a rate are refused with, and checks it.
func limited(t *testing.T, got gatewaytest.Response, kind string) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
	if got.Status != http.StatusTooManyRequests || got.Header.Get("Gateway-Error") != kind || got.Header.Get("X-Error-Code") != "RATE_LIMITED_TOKEN_BUCKET" || err != nil || seconds < 1 {
		t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
	}
	return time.Duration(seconds) * time.Second
}

// A caller with requests_per_minute has so many at once, also after the configuration was
// reloaded. Others have theirs, and nothing of what is refused reaches Atlas.
func TestRequestsPerMinute(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	modest, other := gatewaytest.Issue(t, "modest", everything), gatewaytest.Issue(t, "other", everything)
	modest.YAML += "    requests_per_minute: 3\n"
	g := gatewaytest.StartFor(t, atlas.URL(), "", modest, other)
	send := func(caller *gatewaytest.Caller, method string) gatewaytest.Response {
		header := as(caller.Bearer())
		return g.Send(t, method, v2Exports, header, map[string]string{"POST": export}[method])
	}
	for range 3 {
		if got := send(modest, "GET"); got.Status != http.StatusOK {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	before := atlas.Counts().Requests
	if after := limited(t, send(modest, "GET"), "caller_rate"); after > 20*time.Second {
		t.Errorf("told to wait for %s", after)
	}
	got := send(modest, "POST")
	limited(t, got, "caller_rate")
	if got.Header.Get("Gateway-Outcome") != "not_sent" || !strings.Contains(got.Body, "was not carried out") {
		t.Errorf("%v %s", got.Header, got.Body)
	}
	g.Reload(t)
	limited(t, send(modest, "GET"), "caller_rate")
	if n := atlas.Counts().Requests; n != before {
		t.Errorf("Atlas got %d requests", n-before)
	}
	if got := send(other, "GET"); got.Status != http.StatusOK {
		t.Errorf("another caller: %d %s", got.Status, got.Body)
	}
	modest.YAML = strings.Replace(modest.YAML, "requests_per_minute: 3", "requests_per_minute: 6000", 1)
	g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", modest, other))
	gatewaytest.WaitFor(t, "the larger bound", func() bool { return send(modest, "GET").Status == http.StatusOK })
}

// What Atlas allows is spent before Atlas has to refuse, and the metrics tell what is left.
func TestBudgetSpent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Capacity: 5, Refill: 1}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "budget: {per_minute: 1, wait: 1ms}")
	var got gatewaytest.Response
	for got = g.Send(t, "GET", v2Exports, readHeader, ""); got.Status == http.StatusOK; {
		got = g.Send(t, "GET", v2Exports, readHeader, "")
	}
	limited(t, got, "rate_budget")
	for got = g.Send(t, "POST", v2Exports, createHeader, export); got.Header.Get("Gateway-Outcome") == "answered"; {
		got = g.Send(t, "POST", v2Exports, createHeader, export)
	}
	limited(t, got, "rate_budget")
	if got.Header.Get("Gateway-Outcome") != "not_sent" || atlas.Counts().ByStatus[429] != 0 {
		t.Errorf("%v; Atlas answered %v", got.Header, atlas.Counts().ByStatus)
	}
	for _, want := range []string{
		`atlas_gateway_budget_remaining_requests{endpoints="backup",group="` + group + `"} 0`,
		`atlas_gateway_budget_pause_seconds{endpoints="backup",group="` + group + `"} 0`,
		`atlas_gateway_budget_waiting_requests{class="poll"} 0`,
		"atlas_gateway_budget_paused_buckets 0",
		"atlas_gateway_upstream_out_buckets 0",
		"atlas_gateway_upstream_repeats_total 0",
		`atlas_gateway_budget_wait_seconds_count{class="read"} `,
	} {
		if metrics := g.Metrics(t); !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// hangingAtlas starts an Atlas that answers reads of one job only once it may proceed. It gives
// each request that has no credential a nonce of its own.
func hangingAtlas(t *testing.T) (url string, proceed func()) {
	t.Helper()
	goes := make(chan struct{})
	proceed = sync.OnceFunc(func() { close(goes) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", digestauth.Challenge{Realm: "MMS Public API", Nonce: rand.Text()}.String())
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/exports/") {
			<-goes
		}
		io.WriteString(w, job)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(proceed)
	return server.URL, proceed
}

// Requests that hang can't take all places: those of one caller, to one group, or of one operation
// leave some to others. Anonymous callers can't be told apart, and are not one caller.
func TestPlacesAreShared(t *testing.T) {
	t.Parallel()
	const inFlight = 12
	for name, test := range map[string]struct {
		who, group func(n int) int // of the request n, which hangs
		places     int
		anonymous  bool
	}{
		"a caller":     {func(int) int { return 0 }, func(n int) int { return n % 4 }, 8, false},
		"a group":      {func(n int) int { return n % 4 }, func(int) int { return 0 }, 9, false},
		"an operation": {func(n int) int { return n % 4 }, func(n int) int { return n % 4 }, 10, false},
		"strangers":    {func(int) int { return 0 }, func(n int) int { return n % 4 }, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream, proceed := hangingAtlas(t)
			var list []*gatewaytest.Caller
			for n := 0; n < 5 && !test.anonymous; n++ {
				list = append(list, gatewaytest.Issue(t, fmt.Sprint("caller-", n), everything))
			}
			g := gatewaytest.StartFor(t, upstream, fmt.Sprintf("limits: {in_flight: %d}", inFlight), list...)
			header := func(n int) map[string]string {
				if test.anonymous {
					return as("")
				}
				return as(list[n].Bearer())
			}
			of := func(n int) string { return fmt.Sprintf("/api/atlas/v2/groups/%024x", n) }
			// Atlas accepts the key, so that nothing waits until it is known to be good.
			if got := g.Send(t, "GET", of(4)+"/backup/exportBuckets", header(4), ""); got.Status != http.StatusOK {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			statuses := make(chan int, inFlight)
			for n := range inFlight {
				target := of(test.group(n)) + fmt.Sprintf("/clusters/orders/backup/exports/%024x", n)
				who := header(test.who(n))
				go func() { statuses <- g.Send(t, "GET", target, who, "").Status }()
			}
			defer proceed() // before the gateway's end, which waits for what hangs
			refused := inFlight - test.places
			gatewaytest.WaitFor(t, fmt.Sprintf("%d of %d requests to be refused", refused, inFlight), func() bool { return len(statuses) >= refused })
			for range refused {
				if status := gatewaytest.Receive(t, "a refusal", statuses); status != http.StatusServiceUnavailable {
					t.Errorf("%d instead of 503", status)
				}
			}
			if got := g.Send(t, "GET", of(4)+"/backup/exportBuckets", header(4), ""); got.Status != http.StatusOK {
				t.Errorf("another request: %d %s", got.Status, got.Body)
			}
			proceed()
			for range test.places {
				if status := gatewaytest.Receive(t, "an answer", statuses); status != http.StatusOK {
					t.Errorf("%d instead of 200", status)
				}
			}
		})
	}
}

// Where Atlas's answers to a group have been missing for long, other requests are refused, and it
// is certain that they were not sent.
func TestAtlasOut(t *testing.T) {
	upstream, proceed := hangingAtlas(t)
	yaml := strings.Replace(gatewaytest.YAML(upstream, "budget: {wait: 1ms}"), "upstream:\n", "upstream:\n  max_connections: 1\n", 1)
	g := gatewaytest.Start(t, yaml)
	answers := make(chan gatewaytest.Response, 4)
	for n := range 4 { // one has the connection, and one waits for it
		go func() { answers <- g.Send(t, "GET", fmt.Sprintf("%s/%024x", v2Exports, n), readHeader, "") }()
	}
	for range 2 {
		got := gatewaytest.Receive(t, "a refusal", answers)
		if got.Status != http.StatusServiceUnavailable || got.Header.Get("Gateway-Error") != "upstream_out" || got.Header.Get("Retry-After") != "2" || got.Header.Get("X-Error-Code") != "SERVICE_UNAVAILABLE" {
			t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
		}
	}
	proceed()
	for range 2 {
		if got := gatewaytest.Receive(t, "an answer", answers); got.Status != http.StatusOK {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
}
