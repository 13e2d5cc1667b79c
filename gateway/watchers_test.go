package gateway_test

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A thousand watchers of one job, each of whom reads it once a second through one of the
// gateways, cost Atlas one request a second for each gateway, and one once the job has ended.
// WATCHERS is how many there are, SECONDS how long they watch, and REPLICAS how many gateways
// there are: see make watchers.
func TestManyWatchers(t *testing.T) {
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name))
		return n
	}
	watchers, seconds, replicas := number("WATCHERS"), number("SECONDS"), max(1, number("REPLICAS"))
	if watchers == 0 || seconds == 0 {
		t.Skip("without WATCHERS and SECONDS")
	}
	atlas := sim.Start(t, sim.Config{})
	var gateways []*gatewaytest.Gateway
	for range replicas {
		gateways = append(gateways, gatewaytest.StartFor(t, atlas.URL(), "log: {level: warn}"))
	}
	target := v2Exports + "/" + createExport(t, gateways[0])
	for _, state := range []string{"", "Successful"} {
		if state != "" {
			atlas.Advance(time.Hour)            // by which every export has ended
			time.Sleep(1500 * time.Millisecond) // by which no answer from before is fresh
		}
		last := atlas.Counts().ByOperation["getBackupExport"]
		reads := watch(t, watchers, seconds, target, state, gateways)
		got := atlas.Counts().ByOperation["getBackupExport"] - last
		most, what := replicas, "ended"
		if state == "" {
			most, what = replicas*(seconds+2), "running"
		}
		t.Logf("%d gateways, a job that is %s: %d reads by %d watchers in %d s, of which Atlas has seen %d", replicas, what, reads, watchers, seconds, got)
		if got > int64(most) {
			t.Errorf("more than %d", most)
		}
	}
	perSecond := map[int64]int{}
	for _, r := range atlas.Requests(0) {
		if r.Operation == "getBackupExport" && r.Caller != "" {
			perSecond[r.Time.Unix()]++
		}
	}
	most := 0
	for _, n := range perSecond {
		most = max(most, n)
	}
	t.Logf("at most %d requests to Atlas in one second of the clock", most)
}

// watch has watchers read a target once a second each, and returns how many reads that were. Each
// answer must show the state, or any if that is empty.
func watch(t *testing.T, watchers, seconds int, target, state string, gateways []*gatewaytest.Gateway) int64 {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: watchers}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var reads atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for n := range watchers {
		group.Go(func() {
			for second := range seconds {
				at := began.Add(time.Duration(second)*time.Second + time.Second*time.Duration(n)/time.Duration(watchers))
				time.Sleep(time.Until(at))
				request, _ := http.NewRequest("GET", gateways[n%len(gateways)].URL+target, nil)
				request.Header.Set("Accept", latest)
				response, err := client.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || !strings.Contains(string(body), `"state":"`+state) {
					t.Errorf("%s %s %v", response.Status, body, err)
				}
				reads.Add(1)
			}
		})
	}
	group.Wait()
	return reads.Load()
}
