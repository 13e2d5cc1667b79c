package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/sim"
)

// With a journal, whatever is killed, nothing is created twice and nothing is lost. Without one,
// the same run makes duplicates. The audit streams have a record of each.
func TestCrash(t *testing.T) {
	program := gatewaytest.BuildProgram(t, filepath.Join("..", ".."))
	sizes := []string{"-gateway", program, "-creates", "300", "-kills", "12", "-workers", "24"}
	t.Run("group", func(t *testing.T) { // which the program outlives
		t.Run("file", func(t *testing.T) {
			t.Parallel()
			crash(t, 0, `^300 creates, 12 kills, 0 duplicates, 0 lost, 0 without a record\n$`, sizes...)
		})
		t.Run("off", func(t *testing.T) {
			t.Parallel()
			crash(t, 1, `^300 creates, 12 kills, [1-9][0-9]* duplicates, 0 lost, 0 without a record\n$`, append(sizes, "-journal", "off")...)
		})
		// It takes 15 s until another gateway may follow the creates of one that was killed.
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			postgrestest.Need(t)
			crash(t, 0, `^300 creates, 12 kills and 2 of the server, 0 duplicates, 0 lost, 0 without a record\n$`,
				append(sizes, "-journal", "postgres", "-gateways", "3", "-server-kills", "2")...)
		})
	})
}

// crash runs the program, and compares its exit status and its line.
func crash(t *testing.T, code int, line string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	got := run(ctx, args, &stdout, &stderr)
	t.Logf("%s%s", &stdout, &stderr)
	if got != code || !regexp.MustCompile(line).MatchString(stdout.String()) {
		t.Errorf("exit status %d, %q; want %d, %s", got, &stdout, code, line)
	}
}

// What Atlas has is compared with what callers were told.
func TestCount(t *testing.T) {
	job := func(id, number string) sim.Job {
		key, value := contentKey+number, "x"
		return sim.Job{ID: id, CustomData: []sim.CustomData{{Key: &key, Value: &value}}}
	}
	r := &trial{options: options{creates: 12}}
	r.killed.Store(7)
	r.answers.jobs = map[int][]string{0: {"a"}, 1: {"g"}, 2: {"b", "c"}, 3: {"x"}, 4: {"a"}, 6: {"h"}, 7: {"i"}, 8: {"j"}, 9: {"k"}, 10: {"l"}, 11: {"l"}}
	jobs := []sim.Job{job("a", "0"), job("g", "0"), job("b", "2"), job("c", "2"), job("d", "4"), job("e", "5"), job("f", "5"),
		job("h", "6"), job("i", "7"), job("j", "8"), job("k", "9"), job("l", "10"), {ID: "of nobody"}}
	var stderr bytes.Buffer
	got := r.count(jobs, &stderr)
	// 2 and 5 have two jobs, and one job belongs to no create; 0 has a second one, which 1 asked for.
	// The callers of 3, 4 and 11 were told of jobs that are not theirs, and those of 5 of none.
	if want := (result{creates: 12, kills: 7, duplicates: 3, lost: 4}); got != want {
		t.Errorf("got %+v, want %+v\n%s", got, want, &stderr)
	}
	if got, want := got.String(), "12 creates, 7 kills, 3 duplicates, 4 lost, 0 without a record"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "creates [4]: Atlas has [\"d\"], their callers were told of [[\"a\"]]\n"; !strings.Contains(stderr.String(), want) {
		t.Errorf("%s", &stderr)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-server-kills"},
		{[]string{"-kill", "1"}, 2, "flag provided but not defined: -kill"},
		{[]string{"x"}, 2, `"x" is not a flag`},
		{[]string{"-creates", "0"}, 2, "must be 1 or more"},
		{[]string{"-kills", "-1"}, 2, "must be 0 or more"},
		{[]string{"-journal", "redis"}, 2, `"redis" is none of`},
		{[]string{"-gateways", "2"}, 2, "a journal in a file is for one gateway"},
		{[]string{"-server-kills", "2"}, 2, "there is no server"},
		{[]string{"-gateway", "none/atlas-gateway"}, 1, "none/atlas-gateway: no such file"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), test.args, &stdout, &stderr); code != test.code || !strings.Contains(fmt.Sprint(&stderr), test.want) || stdout.Len() > 0 {
			t.Errorf("%q: exit status %d, want %d; %s%s", test.args, code, test.code, &stdout, &stderr)
		}
	}
}
