package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// built is where TestMain builds the programs that the demonstration runs.
var built string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" { // a gateway that does not start
		fmt.Fprintln(os.Stderr, "one line of log")
		fmt.Fprintln(os.Stderr, "the configuration is not valid")
		os.Exit(3)
	}
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "demo-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(built)
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", built, "atlas-export-gateway/cmd/atlas-sim", "atlas-export-gateway/cmd/atlas-gateway")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// output collects what is written, and calls a function once it holds a text.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	await  string
	then   func()
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buffer.Write(p)
	if o.then != nil && strings.Contains(o.buffer.String(), o.await) {
		o.then()
		o.then = nil
	}
	return n, err
}

// demo runs the demonstration until its end, or until it has printed a text. It checks that no
// file is left behind.
func demo(t *testing.T, env []string, until string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, errors := &output{}, &output{}
	if until != "" {
		out.await, out.then = until, cancel
	}
	args = append([]string{"-sim", filepath.Join(built, "atlas-sim"), "-gateway", filepath.Join(built, "atlas-gateway")}, args...)
	status = run(ctx, args, env, strings.NewReader(""), out, errors)
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return status, out.buffer.String(), errors.buffer.String()
}

func TestDemo(t *testing.T) {
	status, stdout, stderr := demo(t, nil, "", "-speed", "2000")
	if status != exitOK || stderr != "" {
		t.Fatalf("exit status %d, %s", status, stderr)
	}
	for _, pattern := range []string{
		`POST /api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets\n`,
		`<- 200 OK  application/vnd.atlas.2024-05-30\+json`,
		`<- 200 OK  job [0-9a-f]{24}  Queued\n`,
		`1000 reads, all answered 200; Atlas has seen [1-9] of them\.\n`,
		`Successful +[0-9.]+ s  100 %  42 of 42 collections\n`,
		`"clusterName": "orders",\n(.*\n)*.*"customData": \[\{"key":"exported by","value":"make demo"\}\]\n`,
		`<- 400 Bad Request  VALIDATION_ERROR  Gateway-Error: invalid_request\n`,
		`/customdata +is not a known member; did you mean customData\?\n +/exportBucketId +is .*\n +/snapshotId +is .*\n`,
		`Atlas had seen (\d+) requests before, and has seen (\d+) now\.\n`,
		`<- 200 OK  application/json\n +[0-9a-f]{24}  Successful  42 of 42 collections\n`,
		`job ([0-9a-f]{24})  Idempotent-Replayed: true\n +found: .*\n(?:.*\n)*?.*job ([0-9a-f]{24})  Idempotent-Replayed: true\n +again: `,
		`Atlas had made 1 job before, and has made 2 now\.\n`,
		`calls +\d+ and the 1000 of the watchers: \d+ answered, 1 refused\n +Atlas saw +\d+ requests: \d+ signed, \d+ without`,
	} {
		match := regexp.MustCompile(pattern).FindStringSubmatch(stdout)
		if match == nil {
			t.Errorf("nothing matches %s", pattern)
		} else if len(match) == 3 && match[1] != match[2] {
			t.Errorf("%s and %s differ in %q", match[1], match[2], match[0])
		}
	}
	if strings.Contains(stdout, "\x1b") || strings.Contains(stdout, "\r") {
		t.Error("control characters outside a terminal")
	}
	if t.Failed() {
		t.Log(stdout)
	}
}

func TestKeepStaysUp(t *testing.T) {
	status, stdout, stderr := demo(t, []string{"KEEP=1"}, "# the exported files\n", "-speed", "2000")
	if status != exitOK || stderr != "" {
		t.Errorf("exit status %d, %s", status, stderr)
	}
	if n := strings.Count(stdout, "   curl -s "); n != 8 {
		t.Errorf("%d curl lines", n)
	}
}

func TestInterrupted(t *testing.T) {
	for _, until := range []string{"Register", "Follow the job"} {
		status, _, stderr := demo(t, nil, until, "-speed", "1")
		if status != exitInterrupted || stderr != "demo: interrupted\n" {
			t.Errorf("%s: exit status %d, %s", until, status, stderr)
		}
	}
}

func TestFailures(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"a program is missing", []string{"-sim", "nowhere/atlas-sim"}, exitFailed,
			"demo: exec: \"nowhere/atlas-sim\": stat nowhere/atlas-sim: no such file or directory; make build builds the programs\n"},
		{"a program does not start", []string{"-gateway", self}, exitFailed,
			"demo: atlas-gateway ended: exit status 3; its log ends in\none line of log\nthe configuration is not valid\n"},
		{"a program is no program", []string{"-gateway", "./demo_test.go"}, exitFailed,
			"demo: exec: \"./demo_test.go\": permission denied; make build builds the programs\n"},
		{"an argument", []string{"now"}, exitUsage,
			"demo: \"now\" is not a flag; -h lists them\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, stderr := demo(t, nil, "", test.args...)
			if status != test.status || stderr != test.stderr {
				t.Errorf("exit status %d, %q; expected %d, %q", status, stderr, test.status, test.stderr)
			}
		})
	}
}

func TestProgressOnATerminal(t *testing.T) {
	for _, test := range []struct {
		columns  int
		expected string
	}{
		{120, "\r\x1b[K      ##########.................... InProgress   2.0 s   33 %  14 of 42 collections\nnext\n"},
		{70, "\r\x1b[K      #####.......... InProgress   2.0 s   33 %  14 of 42 collections\nnext\n"},
		{30, "\r\x1b[K       InProgress   2.0 s   3\nnext\n"},
		{5, "\r\x1b[K       \nnext\n"},
	} {
		var out bytes.Buffer
		s := &screen{w: &out, terminal: true, columns: test.columns}
		s.progress("InProgress", 14, 42, 2*time.Second)
		s.line("next")
		if out.String() != test.expected {
			t.Errorf("%d columns: %q", test.columns, out.String())
		}
	}
}

func TestJSON(t *testing.T) {
	for content, expected := range map[string]string{
		``:                          "",
		`{"b":1,"a":[ {"c": "d"}]}`: "      {\n        \"b\": 1,\n        \"a\": [{\"c\":\"d\"}]\n      }\n",
		`[1]`:                       "      [1]\n",
		`no JSON`:                   "      no JSON\n",
	} {
		var out bytes.Buffer
		(&screen{w: &out}).json([]byte(content))
		if out.String() != expected {
			t.Errorf("%s: %q", content, out.String())
		}
	}
}
