package atlas_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// A request reaches Atlas as documented and signed, and its whole answer comes back.
func TestSend(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	var mu sync.Mutex
	var statuses []int
	pool := atlas.NewPool(func(_ string, status int, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		statuses = append(statuses, status)
	}, func(atlas.CredentialState) {})
	t.Cleanup(pool.CloseIdleConnections)
	u := use(t, pool, configure(server.URL()))
	created := must(t, u, create(t, nil))
	listing := read(t)
	listing.Query = "itemsPerPage=5&pageNum=1"
	listed := must(t, u, listing)
	for _, response := range []*atlas.Response{created, listed} {
		if response.Duration <= 0 || response.Duration > 20*time.Second || response.Header.Get("Content-Type") != of2024+";charset=utf-8" || !strings.Contains(string(response.Body), `"bucketName":"acme-exports"`) {
			t.Errorf("%v %v %s", response.Duration, response.Header, response.Body)
		}
	}
	type received struct{ Request, Caller, Body, Fields string }
	var got []received
	for _, r := range server.Requests(0) {
		var fields []string
		for _, field := range r.Header {
			if field.Name != "Authorization" && field.Name != "Host" {
				fields = append(fields, field.Name+": "+field.Value)
			}
		}
		slices.Sort(fields)
		got = append(got, received{r.Method + " " + r.Target, r.Caller, r.Body, strings.Join(fields, ", ")})
	}
	want := []received{
		{"POST " + buckets, "", "", "Accept: " + of2024 + ", Content-Length: 0, Content-Type: " + of2024 + ", User-Agent: atlas-export-gateway"},
		{"POST " + buckets, sim.PublicKey, bucket, "Accept: " + of2024 + ", Content-Length: " + fmt.Sprint(len(bucket)) + ", Content-Type: " + of2024 + ", User-Agent: atlas-export-gateway"},
		{"GET " + buckets + "?itemsPerPage=5&pageNum=1", sim.PublicKey, "", "Accept: " + of2024 + ", User-Agent: atlas-export-gateway"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(statuses, []int{401, 200, 200}) {
		t.Errorf("counted: %v", statuses)
	}
}

// A request without an answer is counted as 0.
func TestSendCountsErrors(t *testing.T) {
	counted := make(chan int, 9)
	pool := atlas.NewPool(func(_ string, status int, _ time.Duration) { counted <- status }, func(atlas.CredentialState) {})
	t.Cleanup(pool.CloseIdleConnections)
	fail(t, t.Context(), use(t, pool, configure("http://"+gatewaytest.Refused(t))), read(t))
	if len(counted) != 1 || <-counted != 0 {
		t.Errorf("counted %d requests", len(counted))
	}
}

// An answer with an error status is an answer, also a 503 to a read that was not signed yet.
func TestSendReturnsErrorStatuses(t *testing.T) {
	server := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultUnavailable, RetryAfter: 7, BeforeAuthentication: true, Count: 1}}})
	u := start(t, configure(server.URL()))
	missing := read(t)
	missing.Path += "/65a9d3e1f20b4c7788990011"
	for i, test := range []struct {
		request *atlas.Request
		status  int
	}{{read(t), 503}, {missing, 404}, {missing, 404}} {
		response, err := u.Send(t.Context(), test.request)
		if err != nil || response.Status != test.status {
			t.Errorf("request %d: %v, %v", i, response, err)
		}
	}
}

// A redirect is an answer, and is not followed.
func TestSendFollowsNoRedirect(t *testing.T) {
	other, reached := gatewaytest.Tap(t)
	u := start(t, configure(answering(t, gatewaytest.LastJSON(307, list, "Location: http://"+other+buckets)).URL))
	for _, r := range []*atlas.Request{read(t), create(t, nil)} {
		response, err := u.Send(t.Context(), r)
		if err != nil || response.Status != 307 {
			t.Errorf("%v, %v", response, err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the other host got %d connections", n)
	}
}

// A create goes out on a connection only once that was quiet, so that a response that nobody asked
// for is not taken for its answer. A read does not wait.
func TestCreatesGoOutOnQuietConnections(t *testing.T) {
	var answered atomic.Int64
	var gaps []time.Duration // from an answer to the next request
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		now := time.Now().UnixNano()
		if r.Method == http.MethodPost {
			gaps = append(gaps, time.Duration(now-answered.Load()))
		}
		answered.Store(now)
		return gatewaytest.JSON(http.StatusOK, made)
	}))
	c := configure(upstream.URL)
	c.MaxConnections = 1
	u := start(t, c)
	for range 20 {
		must(t, u, read(t))
		must(t, u, create(t, nil))
	}
	if least := slices.Min(gaps); len(gaps) != 20 || least < 5*time.Millisecond {
		t.Errorf("a create was sent %v after an answer", least)
	}
}

// The largest bound that a number can express bounds nothing, and refuses nothing.
func TestLargestBound(t *testing.T) {
	c := configure(answering(t, gatewaytest.JSON(http.StatusOK, list)).URL)
	c.MaxResponse = math.MaxInt
	u := start(t, c)
	if r := must(t, u, read(t)); string(r.Body) != list {
		t.Errorf("got %q", r.Body)
	}
}

// The first credential for the group signs, and a request without a group is signed by one for all
// groups.
func TestCredentialIsChosenByGroup(t *testing.T) {
	upstream := answering(t, gatewaytest.LastJSON(200, list))
	narrow, wide, never := apiKey("narrow", "c4na7y-narrow"), apiKey("wide", "c4na7y-wide"), apiKey("never", "c4na7y-never")
	narrow.Groups, narrow.Place, never.Place = []string{"000000000000000000000001", "65*"}, "other files", "more files"
	u := start(t, configure(upstream.URL, narrow, wide, never))
	for id, want := range map[string]string{"000000000000000000000001": "narrow", "65a9d3e1f20b4c7788990011": "narrow", group: "wide", "": "wide"} {
		r := read(t)
		r.Group = id
		must(t, u, r)
		if !strings.Contains(upstream.Last(), `username="`+want+`"`) {
			t.Errorf("group %q: %s, want %s", id, upstream.Last(), want)
		}
	}
}
