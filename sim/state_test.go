package sim_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := sim.Config{Now: stopped, StateFile: filepath.Join(dir, "state.json"), ExportDir: t.TempDir()}
	first, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	c := newCaller(t, first.URL(), sim.PublicKey)
	bucket, gone := c.bucket(), c.bucket()
	check(t, "delete", c.do("DELETE", v2+buckets+"/"+gone, "").status, 204)
	check(t, "patch", c.do("PATCH", v2+buckets+"/"+bucket, `{"requirePrivateNetworking":true}`).status, 200)
	done := c.job(orders, sim.OrdersSnapshot, bucket)
	first.Advance(12 * time.Minute)
	running := c.job(events, sim.EventsSnapshot, bucket)
	wantDone, wantRunning := c.read(v2+orders, done), c.read(v2+events, running)
	wantBuckets := c.value(c.do("GET", v2+buckets, ""))["results"]
	at := first.Now()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}

	second := start(t, cfg)
	c = newCaller(t, second.URL(), sim.PublicKey)
	check(t, "the time", second.Now(), at)
	check(t, "the job that was done", c.read(v2+orders, done), wantDone)
	check(t, "the job that runs", c.read(v2+events, running), wantRunning)
	check(t, "the buckets", c.value(c.do("GET", v2+buckets, ""))["results"], wantBuckets)
	check(t, "still one at a time", c.do("POST", v2+events, exportOf(sim.EventsSnapshot, bucket)).status, 409)
	second.Advance(12 * time.Minute)
	check(t, "it ends", c.read(v2+events, running)["state"], any("Successful"))
	second.Advance(time.Hour) // no job ends
	at = second.Now()
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, "the time once more", start(t, cfg).Now(), at)

	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the state file there are %v, %v", entries, err)
	}
}

// The state file also keeps the clock, and is written even if nothing has happened.
func TestRestartOfAnEmptyOne(t *testing.T) {
	cfg := sim.Config{Now: stopped, StateFile: filepath.Join(t.TempDir(), "state.json")}
	for i := range 3 {
		atlas, err := sim.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "the time", atlas.Now(), now.Add(time.Duration(i)*time.Hour))
		if i > 0 {
			atlas.Advance(time.Hour)
		} else {
			cfg.Now = func() time.Time { return now.Add(time.Hour) }
		}
		if err := atlas.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(cfg.StateFile); err != nil {
			t.Error(err)
		}
	}
}

// Whatever was answered is in the file at once, before Close.
func TestStateIsSavedBeforeTheAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	atlas := start(t, sim.Config{StateFile: file})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	job := c.job(orders, sim.OrdersSnapshot, bucket)
	content, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(content), bucket) || !strings.Contains(string(content), job) {
		t.Errorf("%v: %s", err, content)
	}
}

func TestDamagedState(t *testing.T) {
	good := `{"format":1,"advance":"0s","buckets":[],"jobs":[]}`
	for name, test := range map[string]struct{ content, want string }{
		"empty":           {"", "is damaged: line 1, column 1: the JSON ends early"},
		"cut off":         {good[:20], "is damaged: line 1, column 21: the JSON ends early"},
		"more than one":   {good + good, "is damaged: line 1, column 51: not valid JSON"},
		"unknown member":  {strings.Replace(good, "format", "formats", 1), "is damaged: line 1, column 2: /formats: is not a known member; did you mean format?"},
		"another format":  {strings.Replace(good, "1", "2", 1), "has the format 2; this program reads 1"},
		"no JSON":         {"groups: []", "is damaged: line 1, column 1: not valid JSON: invalid character"},
		"unknown group":   {strings.Replace(good, `"buckets":[`, `"buckets":[{"id":"65a9d3e1f20b4c7788990011","groupId":"65a9d3e1f20b4c7788990012"}`, 1), "the seed has no group 65a9d3e1f20b4c7788990012, of the bucket"},
		"unknown cluster": {strings.Replace(good, `"jobs":[`, `"jobs":[{"id":"x","groupId":"`+sim.GroupID+`","clusterName":"unknown"}`, 1), "of unknown in " + sim.GroupID},
	} {
		file := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := sim.New(sim.Config{StateFile: file})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if content, _ := os.ReadFile(file); string(content) != test.content {
			t.Errorf("%s: the damaged file was changed", name)
		}
	}
	if _, err := sim.New(sim.Config{StateFile: t.TempDir()}); err == nil {
		t.Error("a directory was read as a state file")
	}
}

// Advance saves the clock, and even the longest does not make it go back.
func TestClockDoesNotGoBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	atlas := start(t, sim.Config{StateFile: file})
	atlas.Advance(90 * time.Minute)
	saved, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(saved), `"advance": "1h30m0s"`) {
		t.Errorf("%v: %s", err, saved)
	}
	before := atlas.Now()
	for range 3 {
		atlas.Advance(math.MaxInt64)
		if now := atlas.Now(); now.Before(before) {
			t.Fatalf("%v after %v", now, before)
		}
		before = atlas.Now()
	}
}
