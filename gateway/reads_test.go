package gateway_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

const (
	v2Job = v2Exports + "/" + jobID
	done  = `{"id":"` + jobID + `","state":"Successful"}`

	// fresh is a setting with which an answer about a job stays for as long as a test takes.
	fresh = "reads: {freshness: 1m}\n"
)

// asked is a request that an upstream has received, and has not answered yet.
type asked struct {
	*http.Request
	answer chan<- string // bytes; none reset the connection
}

// askedUpstream starts an upstream that hands the test each signed request.
func askedUpstream(t testing.TB) (*gatewaytest.Upstream, <-chan asked) {
	t.Helper()
	requests, ended := make(chan asked, 16), make(chan struct{})
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		answer := make(chan string)
		requests <- asked{r, answer}
		select {
		case text := <-answer:
			return text
		case <-ended:
			return ""
		}
	}))
	t.Cleanup(func() { close(ended) })
	return upstream, requests
}

// next receives a value, which must come in 20 s.
func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	return gatewaytest.Receive(t, "a request or an answer", from)
}

// send sends a request, and returns where its answer comes.
func send(t testing.TB, g *gatewaytest.Gateway, method, target, body string) <-chan gatewaytest.Response {
	answer := make(chan gatewaytest.Response, 1)
	go func() { answer <- g.Send(t, method, target, createHeader, body) }()
	return answer
}

// poll has a number of callers read a target a number of times, all at a time, each on a
// connection of its own, and fails the test unless each gets the status and the text.
func poll(t testing.TB, callers, times int, target string, header map[string]string, gateways []*gatewaytest.Gateway, text string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var group sync.WaitGroup
	for n := range callers {
		group.Go(func() {
			for range times {
				request, _ := http.NewRequest("GET", gateways[n%len(gateways)].URL+target, nil)
				for name, value := range header {
					request.Header.Set(name, value)
				}
				response, err := client.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), text) {
					t.Errorf("%s %s %v", response.Status, body, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// createExport creates an export bucket and an export job, and returns the job's id.
func createExport(t testing.TB, g *gatewaytest.Gateway) string {
	t.Helper()
	var made struct {
		Bucket string `json:"_id"`
		Job    string `json:"id"`
	}
	for _, content := range []string{awsBucket, export} {
		target := v2Exports
		if content == awsBucket {
			target = v2Buckets
		}
		got := g.Send(t, "POST", target, createHeader, strings.Replace(content, bucketID, made.Bucket, 1))
		if err := json.Unmarshal([]byte(got.Body), &made); err != nil || got.Status != 200 {
			t.Fatal(got, err)
		}
	}
	return made.Job
}

// count returns how many signed requests of an operation Atlas has received.
func count(atlas *sim.Server, operation string) (n int) {
	for _, r := range atlas.Requests(0) {
		if r.Operation == operation && r.Caller != "" {
			n++
		}
	}
	return n
}

// All who watch a job cost one request as long as an answer is fresh, and one more once the job
// has ended.
func TestWatchers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), fresh)
	target := v2Exports + "/" + createExport(t, g)
	poll(t, 300, 2, target, readHeader, []*gatewaytest.Gateway{g}, `"state":"Queued"`)
	if n := count(atlas, "getBackupExport"); n != 1 {
		t.Errorf("%d requests to Atlas for a job that runs", n)
	}
	atlas.Advance(time.Hour) // by which every export has ended
	strict := map[string]string{"Accept": latest, "Cache-Control": "no-cache"}
	if got := g.Send(t, "GET", target, strict, ""); !strings.Contains(got.Body, `"state":"Successful"`) || got.Header["Age"] != nil {
		t.Errorf("a new answer: %+v", got)
	}
	poll(t, 300, 2, target, readHeader, []*gatewaytest.Gateway{g}, `"state":"Successful"`)
	if n := count(atlas, "getBackupExport"); n != 2 {
		t.Errorf("%d requests to Atlas in all", n)
	}
	metrics := g.Metrics(t)
	for _, want := range []string{"sent\"} 2\n", "stale\"} 0\n"} {
		if !strings.Contains(metrics, `atlas_gateway_reads_total{how="`+want) {
			t.Errorf("the metrics have no %q: %s", want, metrics)
		}
	}
	if strings.Contains(metrics, "\natlas_gateway_reads_kept_bytes 0\n") || !strings.Contains(g.Log.String(), `"read":"kept"`) {
		t.Error("neither metrics nor log tell of what is kept")
	}
}

// Reads of callers with different grants are mixed: each caller gets what it may read, and
// nothing else, whoever has it fetched. So it is with names of groups, where only the answer
// tells the group.
func TestSharedReadsAndGrants(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if strings.Contains(r.URL.Path, "/byName/") {
			return named(r)
		}
		return gatewaytest.JSON(200, `{"id":"`+jobID+`","state":"Queued","prefix":"`+r.URL.Path+`"}`)
	}))
	grant := func(cluster string) string {
		return `[{operations: [read], groups: ["` + group + `"], clusters: [` + cluster + `]}]`
	}
	callers := []*gatewaytest.Caller{gatewaytest.Issue(t, "a", grant("orders")), gatewaytest.Issue(t, "b", grant("events")), gatewaytest.Issue(t, "c", everything)}
	g := gatewaytest.StartFor(t, upstream.URL, "", callers...)
	targets := []struct {
		target string
		may    string // callers
	}{
		{v2Job, "ac"}, {strings.Replace(v2Job, "orders", "events", 1), "bc"}, {v2Exports, "ac"}, {strings.Replace(v2Exports, "orders", "events", 1), "bc"},
		{v2ByName + "mine", "abc"}, {v2ByName + "theirs", "c"},
	}
	var group sync.WaitGroup
	for _, caller := range callers {
		for _, test := range targets {
			for range 4 {
				group.Go(func() {
					want := 403
					if strings.Contains(test.may, caller.Name) {
						want = 200
					}
					for range 5 {
						got := g.Send(t, "GET", test.target, as(caller.Bearer()), "")
						if got.Status != want || want == 200 && !strings.Contains(test.target, "/byName/") && !strings.Contains(got.Body, `"`+test.target+`"`) {
							t.Errorf("%s: %s: %+v", caller.Name, test.target, got)
						}
					}
				})
			}
		}
	}
	group.Wait()
}

// The caller that began a read may leave: who waits for the same gets the answer. Once all have
// left, Atlas's answer is not waited for.
func TestLeaderLeaves(t *testing.T) {
	upstream, requests := askedUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, fresh)
	leave := func(conn net.Conn) {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	lead := func() net.Conn {
		conn, err := net.Dial("tcp", g.Address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request("GET "+v2Job, "", "Accept: "+latest))
		return conn
	}
	leader := lead()
	r := next(t, requests)
	second := lead()
	waits := send(t, g, "GET", v2Job, "")
	joined(t, 2)
	leave(leader)
	leave(second)
	gatewaytest.WaitFor(t, "the caller that joined and left", func() bool { return strings.Contains(g.Log.String(), `"read":"joined"`) })
	r.answer <- gatewaytest.JSON(200, job)
	if got := next(t, waits); got.Status != 200 || got.Body != job || upstream.Signed.Load() != 1 {
		t.Errorf("%+v, %d requests", got, upstream.Signed.Load())
	}

	leader = lead()
	if _, err := bufio.NewReader(leader).ReadString('\n'); err != nil { // from what is kept
		t.Error(err)
	}
	leader.Close()
	offset := g.Log.Len()
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, request("GET "+v2Job, "", "Accept: "+latest, "Cache-Control: max-age=0"))
	next(t, requests)
	leave(conn)
	if record := g.Await(t, offset, `"error":"caller_gone"`); !strings.Contains(record, `"read":"sent"`) {
		t.Error(record)
	}
}

// What is kept comes with its age and without what Atlas said of its rate limit, also as the
// answer to HEAD. Other forms of the answer are other targets, and links are the caller's.
func TestKeptAnswers(t *testing.T) {
	var origin string
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		return gatewaytest.JSON(200, `{"id":"`+jobID+`","state":"Successful","links":[{"href":"`+origin+`/x","rel":"self"}],"prefix":"`+r.URL.RawQuery+`"}`, "RateLimit-Remaining: 7", "RateLimit-Limit: 1200", "Sunset: Sat, 1 Jan 2028 00:00:00 GMT")
	}))
	origin = upstream.URL
	g := gatewaytest.StartFor(t, upstream.URL, "")
	for _, test := range []struct {
		method, query, control string
		kept                   bool
	}{
		{"GET", "", "", false}, {"GET", "", "", true}, {"HEAD", "", "", true}, {"GET", "", "no-cache", false}, {"HEAD", "", "max-age=60", true},
		{"HEAD", "?pretty=true", "", false}, {"GET", "?pretty=true", "", true}, {"GET", "?pretty=false", "", false}, {"GET", "", "no-store", false},
	} {
		sent := upstream.Signed.Load()
		header := map[string]string{"Accept": latest}
		if test.control != "" {
			header["Cache-Control"] = test.control
		}
		got := g.Send(t, test.method, v2Job+test.query, header, "")
		want := `"href":"` + g.URL + `/x"`
		if got.Status != 200 || (got.Header["Age"] != nil) != test.kept || (upstream.Signed.Load() == sent) != test.kept ||
			(got.Header["Ratelimit-Remaining"] == nil) != test.kept || (got.Header["Ratelimit-Limit"] == nil) != test.kept || got.Header.Get("Sunset") == "" ||
			(test.method == "GET") != strings.Contains(got.Body, want) {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// What an answer is refused for is not kept, and neither is one over the bound.
func TestNotKept(t *testing.T) {
	long := strings.Replace(done, "{", `{"prefix":"`+strings.Repeat("x", 1<<10)+`",`, 1)
	for name, test := range map[string]struct {
		settings, answer string
		status           int
	}{
		"over the bound":            {"reads: {kept_bytes: 4096}", gatewaytest.JSON(200, long), 200},
		"over limits.response_body": {"limits: {response_body: 1000}", gatewaytest.JSON(200, long), 502},
		"of another type":           {"", gatewaytest.Message(200, done, "Content-Type: text/html"), 502},
		"in an encoding":            {"", gatewaytest.JSON(200, done, "Content-Encoding: gzip"), 502},
		"against the contract":      {"responses: {check: enforce}", gatewaytest.JSON(200, `{"id":7,"state":"Successful"}`), 502},
		"not found":                 {"", gatewaytest.JSON(404, `{"error":404,"errorCode":"EXPORT_NOT_FOUND","state":"Successful"}`), 404},
		"with sharing off":          {eachSent, gatewaytest.JSON(200, done), 200},
	} {
		upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return test.answer }))
		g := gatewaytest.StartFor(t, upstream.URL, test.settings)
		for range 3 {
			if got := g.Send(t, "GET", v2Job, readHeader, ""); got.Status != test.status || got.Header["Age"] != nil {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if n := upstream.Signed.Load(); n != 3 || !strings.Contains(g.Metrics(t), "\natlas_gateway_reads_kept_bytes 0\n") {
			t.Errorf("%s: %d requests to Atlas", name, n)
		}
	}
}

// Another credential gets answers of its own.
func TestReadsOfAnotherCredential(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return gatewaytest.JSON(200, done) }))
	yaml := gatewaytest.YAML(upstream.URL, "")
	g := gatewaytest.Start(t, yaml, "OTHER=abcdefgh", "OTHERSECRET=c4na7y-the-other-half")
	read := func(kept bool) {
		t.Helper()
		if got := g.Send(t, "GET", v2Job, readHeader, ""); got.Status != 200 || (got.Header["Age"] != nil) != kept {
			t.Errorf("%+v", got)
		}
	}
	read(false)
	read(true)
	reloaded(t, g.Rewrite(t, yaml+"responses: {sample: 7}\n"))
	read(true) // the same credential
	offset := g.Log.Len()
	reloaded(t, g.Rewrite(t, strings.NewReplacer("PUBLIC", "OTHER", "PRIVATE", "OTHERSECRET").Replace(yaml)))
	g.Await(t, offset, inForce("abcdefgh"))
	read(false)
	read(true)
	reloaded(t, g.Rewrite(t, strings.NewReplacer("PUBLIC", "OTHER", "PRIVATE", "OTHERSECRET").Replace(yaml)+eachSent))
	read(false)
	if !strings.Contains(g.Metrics(t), "\natlas_gateway_reads_kept_bytes 0\n") {
		t.Error("something is kept although nothing is to be")
	}
}

// Where Atlas can't be reached, what is kept is given with its age, if the operator allows that.
func TestStaleReads(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "reads: {stale_if_error: 1m}")
	plain := gatewaytest.StartFor(t, atlas.URL(), "")
	for _, fault := range []sim.Fault{{Kind: sim.FaultUnavailable}, {Kind: sim.FaultReset, BeforeAuthentication: true}} {
		for _, gateway := range []*gatewaytest.Gateway{g, plain} {
			if got := gateway.Send(t, "GET", v2Buckets, readHeader, ""); got.Status != 200 || got.Header["Age"] != nil {
				t.Errorf("before: %+v", got)
			}
		}
		if err := atlas.SetFaults([]sim.Fault{fault}); err != nil {
			t.Fatal(err)
		}
		if got := g.Send(t, "GET", v2Buckets, readHeader, ""); got.Status != 200 || got.Header["Age"] == nil {
			t.Errorf("%s: %+v", fault.Kind, got)
		}
		if got := plain.Send(t, "GET", v2Buckets, readHeader, ""); got.Status != 502 && got.Status != 503 || got.Header["Age"] != nil {
			t.Errorf("%s, without the setting: %+v", fault.Kind, got)
		}
		if err := atlas.SetFaults(nil); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(g.Log.String(), `"read":"stale"`) || !strings.Contains(g.Metrics(t), "\natlas_gateway_reads_total{how=\"stale\"} 2\n") {
		t.Error("neither log nor metrics tell of stale answers")
	}
}

// Reads that wait for one answer take no place of limits.in_flight.
func TestWaitersTakeNoPlace(t *testing.T) {
	upstream, requests := askedUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, fresh+"limits: {in_flight: 2}")
	answers := []<-chan gatewaytest.Response{send(t, g, "GET", v2Job, "")}
	r := next(t, requests)
	for range 10 {
		answers = append(answers, send(t, g, "GET", v2Job, ""))
		joined(t, len(answers)-1)
	}
	other := send(t, g, "GET", v2Buckets, "")
	next(t, requests).answer <- gatewaytest.JSON(200, `{"results":[]}`)
	r.answer <- gatewaytest.JSON(200, job)
	for _, answer := range append(answers, other) {
		if got := next(t, answer); got.Status != 200 {
			t.Errorf("%+v", got)
		}
	}
}

// joined waits until a number of reads wait for what another one asks.
func joined(t testing.TB, number int) {
	t.Helper()
	waitIn(t, "gateway/reads.(*Reads).do(", number)
}

// waitIn waits until a number of goroutines wait in a function. No other test may run.
func waitIn(t testing.TB, function string, number int) {
	t.Helper()
	gatewaytest.WaitFor(t, "callers who have joined", func() bool {
		stacks := make([]byte, 1<<20)
		waiting := 0
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, " [select") && strings.Contains(stack, function) {
				waiting++
			}
		}
		return waiting == number
	})
}
