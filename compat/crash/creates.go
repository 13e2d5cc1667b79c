package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"
)

// caller is one who may create jobs.
type caller struct {
	name, token string
	yaml        string // in the configuration
}

func newCaller(name string) caller {
	issued := callers.NewToken(name)
	return caller{name, issued.Secret.Reveal(), fmt.Sprintf(
		"    - {name: %s, tokens: [{sha256: %s}], grants: [{operations: [export], groups: [\"*\"]}]}\n", name, issued.Entry.Tokens[0].SHA256)}
}

// createsFrom returns the creates that follow each other from one on. Every tenth is followed by one for
// a second job of the same content, which has a key of its own.
func (o options) createsFrom(number int) []int {
	switch {
	case number%10 == 1:
		return nil // it follows the one before
	case number%10 == 0 && number+1 < o.creates:
		return []int{number, number + 1}
	}
	return []int{number}
}

// contentOf returns the number in the custom data of a create.
func contentOf(number int) int {
	if number%10 == 1 {
		return number - 1
	}
	return number
}

// contentKey begins the key in the custom data of a create that has the number of its content.
const contentKey = "create "

// numberIn returns the number that one of the keys of custom data has; -1 where none has one.
func numberIn(keys []string) int {
	for _, key := range keys {
		if digits, ok := strings.CutPrefix(key, contentKey); ok {
			if number, err := strconv.Atoi(digits); err == nil {
				return number
			}
		}
	}
	return -1
}

// contentIn returns the number in the custom data of a request's content.
func contentIn(content []byte) int {
	var export struct{ CustomData []struct{ Key string } }
	json.Unmarshal(content, &export) // without keys where it is none
	var keys []string
	for _, pair := range export.CustomData {
		keys = append(keys, pair.Key)
	}
	return numberIn(keys)
}

// keyed reports whether a create has an Idempotency-Key.
func keyed(number int) bool { return number%10 < 2 || number%10 == 5 }

// request is one caller's request for a create.
type request struct {
	number int // of the create
	caller caller
	v2     bool
}

// build returns the request for a gateway. Both generations of the API ask for the same job, with
// the members in another order.
func (q request) build(ctx context.Context, gateway string) (*http.Request, error) {
	content := contentOf(q.number)
	data := []string{fmt.Sprintf(`{"key":"%s%d","value":"c4na7y"}`, contentKey, content), `{"key":"by","value":"crash"}`}
	version, accept := "v2", "application/vnd.atlas.2025-03-12+json"
	if !q.v2 {
		slices.Reverse(data)
		version, accept = "v1.0", "application/json"
	}
	body := fmt.Sprintf(`{"customData":[%s],"snapshotId":"%s","exportBucketId":"%s"}`, strings.Join(data, ","), snapshotOf(content), bucket)
	url := fmt.Sprintf("%s/api/atlas/%s/groups/%s/clusters/%s/backup/exports", gateway, version, sim.GroupID, clusterOf(content))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{"Accept": {accept}, "Content-Type": {"application/json"}, "Authorization": {"Bearer " + q.caller.token}}
	if keyed(q.number) {
		request.Header["Idempotency-Key"] = []string{fmt.Sprintf("create-%d", q.number)}
	}
	return request, nil
}

// requestsOf returns the requests for a create: those that are sent at the same time, and one that
// is sent once they were answered. Which they are depends on the number only.
func requestsOf(number int, callers [2]caller) (atOnce []request, later request) {
	first := request{number: number, caller: callers[0], v2: number%2 == 0}
	other := request{number: number, caller: callers[1], v2: !first.v2}
	if keyed(number) { // the scope of keys is the caller
		other.caller = first.caller
	}
	if number%3 == 0 {
		return []request{first, other}, other
	}
	return []request{first}, other
}

// answers are what callers were told.
type answers struct {
	mu    sync.Mutex
	jobs  map[int][]string // ids, by the number of the create
	kinds map[string]int   // how often each kind of answer came
	wrong []string         // answers that no caller should get
	all   []told
}

// told is an answer that a caller has got.
type told struct {
	gateway *gateway
	id      string // of the request
	status  int
	outcome string // Gateway-Outcome
	job     string // empty with another status than 200
}

// note counts an answer.
func (a *answers) note(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kinds[kind]++
}

// take keeps an answer.
func (a *answers) take(answer told) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, answer)
}

// told notes that a caller was told that a job is that of its create.
func (a *answers) told(number int, job string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.jobs[number], job) {
		a.jobs[number] = append(a.jobs[number], job)
	}
}

// refused notes an answer that says for good that there will be no job.
func (a *answers) refused(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wrong) < 5 {
		a.wrong = append(a.wrong, text)
	}
}

// create sends the requests for a create, and returns when all of them have been answered.
func (r *trial) create(ctx context.Context, number int) (later request) {
	atOnce, later := requestsOf(number, r.callers)
	var group sync.WaitGroup
	for _, q := range atOnce {
		group.Go(func() { r.insist(ctx, q) })
	}
	group.Wait()
	r.answered.Add(1)
	return later
}

// pause is how long a caller waits on average before it repeats a request.
const pause = 80 * time.Millisecond

// insist repeats a request until it is answered for good.
func (r *trial) insist(ctx context.Context, q request) {
	for ctx.Err() == nil {
		switch job, err := r.send(ctx, q); {
		case err != nil:
			r.answers.refused(fmt.Sprintf("create %d: %v", q.number, err))
			return
		case job != "":
			r.answers.told(q.number, job)
			return
		}
		time.Sleep(pause/2 + rand.N(pause))
	}
}

// One of leaveOneIn callers leaves, after patience at most.
const (
	leaveOneIn = 20
	patience   = 40 * time.Millisecond
)

// send sends a request once, and returns the id of the job; empty where the request has to be
// repeated. An answer that says that it need not be is an error.
func (r *trial) send(ctx context.Context, q request) (job string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if rand.IntN(leaveOneIn) == 0 {
		ctx, cancel = context.WithTimeout(ctx, rand.N(patience))
		defer cancel()
	}
	gateway := r.fleet[rand.IntN(len(r.fleet))]
	request, err := q.build(ctx, gateway.url)
	if err != nil {
		return "", err
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.answers.note(kindOf(ctx, err))
		return "", nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.answers.note(kindOf(ctx, err))
		return "", nil
	}
	kind := fmt.Sprint(response.StatusCode)
	if response.Header.Get("Idempotent-Replayed") != "" {
		kind += " replayed"
	}
	if reason := response.Header.Get("Gateway-Error"); reason != "" {
		kind += " " + reason
	}
	r.answers.note(kind)
	var content struct{ ID string }
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &content); err != nil || content.ID == "" {
			return "", fmt.Errorf("an answer without an id: %s", body)
		}
	}
	r.answers.take(told{gateway, response.Header.Get("Gateway-Request-Id"), response.StatusCode, response.Header.Get("Gateway-Outcome"), content.ID})
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		return content.ID, nil
	case status >= 500 || status == http.StatusTooManyRequests:
		return "", nil
	}
	return "", fmt.Errorf("%d %s", response.StatusCode, body)
}

// kindOf says why there was no answer.
func kindOf(ctx context.Context, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "left"
	case strings.Contains(err.Error(), "connection refused"):
		return "refused connection"
	default:
		return "lost connection"
	}
}
