package docs_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A model is what docs/scale.md computes with.
type model struct {
	request     time.Duration // of CPU for a GET by token
	busy        float64       // cores of a replica
	connections int
	freshness   time.Duration
	tokens      float64 // a minute, at the token endpoint of a replica
	nonces      float64 // that a replica remembers
	lifetime    time.Duration
	inFile      float64 // creates a second
	inPostgres  float64
	atlas       float64 // requests a second that Atlas allows a group
}

// newModel takes what it can from the configuration's defaults and from docs/costs.md.
func newModel(t *testing.T) model {
	parts, err := config.Load("", []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"})
	if err != nil {
		t.Fatal(err)
	}
	costs, err := os.ReadFile("costs.md")
	if err != nil {
		t.Fatal(err)
	}
	get := regexp.MustCompile(`(?m)^\| GET \|(?: [^|]+\|){3} (\d+), `).FindSubmatch(costs)
	if get == nil {
		t.Fatal("costs.md does not say what a GET by token costs")
	}
	microseconds, _ := strconv.Atoi(string(get[1]))
	return model{
		request: time.Duration(microseconds) * time.Microsecond, busy: 1,
		connections: parts.Config.Limits.Connections, freshness: parts.Config.Reads.Freshness,
		tokens: 300, nonces: 1 << 16, lifetime: 5 * time.Minute,
		inFile: 3000, inPostgres: 250, atlas: 500.0 / 60,
	}
}

// asked returns how often replicas ask Atlas within a time about one job that has not ended, and
// that all of them have watchers of: once at first, and then once in freshness.
func (m model) asked(replicas int, within time.Duration) int {
	return replicas * (1 + int(within/m.freshness))
}

// rows are the rows of the table for numbers of replicas.
func (m model) rows(replicas ...int) (rows []string) {
	row := func(what string, figure func(n float64) string) {
		text := "| " + what + " |"
		for _, n := range replicas {
			text += " " + figure(float64(n)) + " |"
		}
		rows = append(rows, text)
	}
	perSecond := float64(time.Second) / float64(m.freshness)
	row("requests a second, or watchers that ask once a second", func(n float64) string { return grouped(n * m.busy / m.request.Seconds()) })
	row("connections of callers", func(n float64) string { return grouped(n * float64(m.connections)) })
	row("service accounts that fetch a token an hour", func(n float64) string { return grouped(n * m.tokens * 60) })
	row("Digest requests a second on a new nonce each", func(n float64) string { return grouped(n * m.nonces / m.lifetime.Seconds()) })
	row("creates a second, journal in a file each", func(n float64) string {
		if n > 1 {
			return "not shared"
		}
		return grouped(m.inFile)
	})
	row("creates a second, journal in PostgreSQL", func(float64) string { return grouped(m.inPostgres) })
	row("groups that get creates as fast as Atlas takes them", func(float64) string { return grouped(m.inPostgres / m.atlas) })
	row("in one group: creates a minute", func(float64) string { return grouped(m.atlas * 60) })
	row("in one group: watched jobs, each answer at most a second old", func(n float64) string { return grouped(m.atlas / (n * perSecond)) })
	row("in one group: how old answers about 20 watched jobs are", func(n float64) string {
		return fmt.Sprintf("%.3g s", max(m.freshness.Seconds(), 20*n/m.atlas))
	})
	row("replays of a captured Digest request within `nonce_lifetime`", func(n float64) string { return grouped(n - 1) })
	return rows
}

// grouped writes a number, rounded down, with commas.
func grouped(f float64) string {
	text := strconv.Itoa(int(f + 1e-9))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// The table of docs/scale.md is what the model computes.
func TestScale(t *testing.T) {
	page, err := os.ReadFile("scale.md")
	if err != nil {
		t.Fatal(err)
	}
	want := "|---|---|---|---|\n" + strings.Join(newModel(t).rows(1, 3, 100), "\n") + "\n\n"
	if !strings.Contains(string(page), want) {
		t.Errorf("docs/scale.md lacks\n%s", want)
	}
}

// Watchers of one job cost Atlas what the model says, through one gateway and through three.
func TestScaleOfWatchers(t *testing.T) {
	m := newModel(t)
	m.freshness = 200 * time.Millisecond
	for _, replicas := range []int{1, 3} {
		atlas := sim.Start(t, sim.Config{})
		job := ""
		var urls []string
		for range replicas {
			g := gatewaytest.Start(t, gatewaytest.YAML(atlas.URL(), fmt.Sprintf("reads: {freshness: %s}", m.freshness)))
			urls = append(urls, g.URL)
			if job == "" {
				job = startJob(t, g)
			}
			watch(t, g.URL+job) // which leaves a nonce to sign with
		}
		before, began := atlas.Counts().ByOperation["getBackupExport"], time.Now()
		var answered atomic.Int64
		var group sync.WaitGroup
		for i := range 10 * replicas {
			group.Go(func() {
				for range 20 {
					if watch(t, urls[i%replicas]+job) == http.StatusOK {
						answered.Add(1)
					}
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		group.Wait()
		took := time.Since(began)
		asked := int(atlas.Counts().ByOperation["getBackupExport"] - before)
		if want := m.asked(replicas, took); asked < replicas || asked > want || answered.Load() != int64(200*replicas) {
			t.Errorf("%d replicas: %d answers within %s for %d requests to Atlas, want %d at most", replicas, answered.Load(), took, asked, want)
		}
		t.Logf("%d replicas: %d answers within %s cost %d requests to Atlas", replicas, answered.Load(), took.Round(time.Millisecond), asked)
	}
}

// accept is the version that the test asks for.
const accept = "application/vnd.atlas.2025-03-12+json"

// watch reads a job once.
func watch(t *testing.T, url string) (status int) {
	return gatewaytest.Send(t, "GET", url, map[string]string{"Accept": accept}, "").Status
}

// startJob starts an export through a gateway, and returns the path of the job.
func startJob(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	const group = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930"
	const exports = group + "/clusters/orders/backup/exports"
	create := func(path, body string) (id string) {
		t.Helper()
		got := g.Send(t, "POST", path, map[string]string{"Accept": accept, "Content-Type": accept}, body)
		id = regexp.MustCompile(`"_?id": ?"([0-9a-f]{24})"`).FindString(got.Body)
		if got.Status != http.StatusOK || id == "" {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		return id[len(id)-25 : len(id)-1]
	}
	bucket := create(group+"/backup/exportBuckets", `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"65a9d2f4f20b4c7788990001"}`)
	job := create(exports, `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"`+bucket+`"}`)
	return exports + "/" + job
}
