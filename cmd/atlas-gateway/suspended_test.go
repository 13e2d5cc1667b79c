package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// suspension is the load on a process that is suspended: callers who list buckets, and create some.
type suspension struct {
	client *http.Client
	p      *process

	answered, created, unknown, unsent atomic.Int64
	kinds                              sync.Map // Gateway-Error of what was refused
}

// call sends one request and waits for its end.
func (s *suspension) call(create bool) {
	method, target, content := "GET", buckets, ""
	if create {
		method, target, content = "POST", buckets, bucket
	}
	request, err := http.NewRequest(method, s.p.Listener+target, strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	if create {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.kinds.Store(err.Error(), true)
		s.unknown.Add(1)
		return
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	switch {
	case response.StatusCode == http.StatusOK && create:
		s.created.Add(1)
	case response.StatusCode == http.StatusOK:
		s.answered.Add(1)
	default:
		s.kinds.Store(response.Header.Get("Gateway-Error"), true)
		if create && response.Header.Get("Gateway-Outcome") != "not_sent" {
			s.unknown.Add(1)
		} else {
			s.unsent.Add(1)
		}
	}
}

// load has callers call without end until stop is closed.
func (s *suspension) load(callers int, stop <-chan struct{}) *sync.WaitGroup {
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
					s.call(n%4 == 0)
				}
			}
		})
	}
	return &group
}

// goroutines returns how many goroutines the process has.
func (p *process) goroutines(t *testing.T) (n int) {
	t.Helper()
	_, metrics := get(t, p.Management+"/metrics")
	found := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindStringSubmatch(metrics)
	if found == nil {
		t.Fatal("go_goroutines is not among the metrics")
	}
	fmt.Sscan(found[1], &n)
	return n
}

// settles fails the test unless the process soon has as many goroutines as before.
func (p *process) settles(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		after := p.goroutines(t)
		if after <= before+4 { // a connection may have a few
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines before, %d afterwards", before, after)
			return
		}
	}
}

// checkUnderWay checks the requests that were under way. After a short suspension none of them may
// have been refused. After a long one timeouts may have ended them.
func (s *suspension) checkUnderWay(t *testing.T, suspended time.Duration) {
	t.Helper()
	s.kinds.Range(func(kind, _ any) bool {
		t.Logf("refused: %v", kind)
		if suspended < 10*time.Second || strings.Contains(fmt.Sprint(kind), "credential") {
			t.Errorf("a request that was under way: %v", kind)
		}
		return true
	})
}

// checkCreates checks that each create was carried out once, and returns how many were.
func (s *suspension) checkCreates(t *testing.T) int64 {
	t.Helper()
	_, list := get(t, s.p.Listener+buckets+"?itemsPerPage=1")
	var made struct {
		Count int64 `json:"totalCount"`
	}
	if err := json.Unmarshal([]byte(list), &made); err != nil {
		t.Fatal(err)
	}
	if created := s.created.Load(); made.Count < created || made.Count > created+s.unknown.Load() {
		t.Errorf("%d buckets for %d creates and %d requests of unknown outcome", made.Count, created, s.unknown.Load())
	}
	return made.Count
}

// A process that is suspended under load, as when its machine sleeps, goes on when it is continued:
// each request that was under way ends, later ones succeed, each create is counted once, no
// credential is refused, and nothing stays behind. SUSPEND sets for how long it is suspended, such
// as 1m.
func TestSuspended(t *testing.T) {
	suspended, err := time.ParseDuration(cmp.Or(os.Getenv("SUSPEND"), "5s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, credential := range []string{"{public_key_env: PUBLIC, private_key_env: PRIVATE}", "{client_id_env: CLIENT, client_secret_env: SECRET}"} {
		t.Run(credential[1:7], func(t *testing.T) {
			t.Parallel()
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
			p := serveProcess(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: ["+credential+"]\n",
				"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "CLIENT="+sim.ClientID, "SECRET="+sim.ClientSecret)
			const callers = 32
			s := &suspension{p: p, client: &http.Client{
				Transport: &http.Transport{MaxIdleConnsPerHost: callers},
				Timeout:   suspended + 30*time.Second,
			}}
			s.call(false)
			before := p.goroutines(t)

			stop := make(chan struct{})
			group := s.load(callers, stop)
			time.Sleep(500 * time.Millisecond)
			if err := p.command.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			time.Sleep(suspended)
			atStop := s.answered.Load() + s.created.Load()
			if err := p.command.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			close(stop)
			ended := time.Now()
			group.Wait()
			if took := time.Since(ended); took > 5*time.Second {
				t.Errorf("the last request ended %v after the load", took)
			}
			s.checkUnderWay(t, suspended)
			if s.answered.Load()+s.created.Load() < atStop+callers {
				t.Error("the process did not go on")
			}
			// Later requests succeed.
			refused := s.unknown.Load() + s.unsent.Load()
			for n := range 40 {
				s.call(n%4 == 0)
			}
			if n := s.unknown.Load() + s.unsent.Load() - refused; n > 0 {
				t.Errorf("%d of 40 later requests failed", n)
			}
			made := s.checkCreates(t)
			t.Logf("suspended for %v: %d answers, %d creates, %d buckets, %d unknown, %d refused; %d goroutines before",
				suspended, s.answered.Load(), s.created.Load(), made, s.unknown.Load(), s.unsent.Load(), before)
			s.client.CloseIdleConnections()
			p.settles(t, before)
			p.stop(t)
			if logs := p.stderr.String(); strings.Contains(logs, `"error":"upstream_credential"`) {
				t.Error("a credential was refused")
			}
		})
	}
}
