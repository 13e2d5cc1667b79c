package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

// lineOf returns a line of a stream for a request for create 7, with further members.
func lineOf(event, id, members string) string {
	return fmt.Sprintf(`{"schema":1,"event":"%s","id":"%s","custom_data_keys":["by","create 7"]%s}`+"\n", event, id, members)
}

// Each way in which a stream may differ from what Atlas has and callers were told is counted.
func TestCountUnrecorded(t *testing.T) {
	const (
		started = `{"schema":1,"event":"configuration","outcome":"started"}` + "\n"
		made    = `,"outcome":"answered","status":200,"result":"a"`
		found   = made + `,"replayed":true`
		unknown = `,"outcome":"unknown","status":504`
		notSent = `,"outcome":"not_sent","status":503`
	)
	intent := func(id string) string { return lineOf("intent", id, "") }
	outcome := func(id, members string) string { return lineOf("outcome", id, members) }
	for _, test := range []struct {
		name, stream string
		answers      []told
		want         string // what is told; "" where nothing is wrong
	}{
		{"made", started + intent("1") + outcome("1", made), []told{{nil, "1", 200, "answered", "a"}}, ""},
		{"found by two", started + intent("1") + intent("2") + started + intent("3") + outcome("3", found) + intent("4") + outcome("4", found),
			[]told{{nil, "2", 504, "unknown", ""}, {nil, "3", 200, "answered", "a"}}, ""},
		{"killed", started + intent("1") + started + intent("2") + outcome("2", notSent), []told{{nil, "2", 503, "not_sent", ""}}, ""},
		{"unknown", started + intent("1") + outcome("1", unknown), nil, ""},
		{"cut", started + intent("1") + `{"schema":1,"ev` + "\n" + started, nil, ""},
		{"refused before", started + intent("1") + outcome("1", made) + outcome("2", notSent), []told{{nil, "2", 429, "not_sent", ""}}, ""},

		{"nothing", started, nil, "job a of create 7 has no record"},
		{"only what was not sent", started + intent("1") + outcome("1", notSent), nil, "job a of create 7 has no record"},
		{"of another create", started + strings.Replace(intent("1"), "create 7", "create 8", 1) + started, nil, "job a of create 7 has no record"},
		{"made twice", started + intent("1") + outcome("1", made) + intent("2") + outcome("2", made), nil, "2 records say that they made job a of create 7"},
		{"no outcome", started + intent("1") + outcome("1", made) + intent("2"), nil, "request 2 has no outcome, and its gateway was not killed"},
		{"no intent", started + outcome("1", made), nil, "request 1 has the outcome answered, and no intent"},
		{"intent twice", started + intent("1") + intent("1") + outcome("1", made), nil, "request 1 has one intent more than one"},
		{"outcome twice", started + intent("1") + outcome("1", made) + outcome("1", made), nil, "request 1 has one outcome more than one"},
		{"intent later", started + outcome("1", made) + intent("1"), nil, "request 1 has one intent more than one"},
		{"told, not recorded", started + intent("1") + outcome("1", made), []told{{nil, "2", 200, "answered", "a"}}, "no record has an intent for"},
		{"told otherwise", started + intent("1") + outcome("1", made), []told{{nil, "1", 200, "answered", "b"}}, "the caller was told"},
		{"cut too often", started + intent("1") + outcome("1", made) + "{\n{\n" + started, nil, "2 lines are cut, of 2 processes"},
		{"no line break", started + intent("1") + outcome("1", made) + "{", nil, "0 lines are cut, of 1 processes"},
		{"refusal", started + intent("1") + outcome("1", made) + lineOf("refusal", "2", ""), nil, "a record that no caller caused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := &gateway{audit: streamOf(t, test.stream)}
			r := &trial{fleet: []*gateway{g}}
			for _, answer := range test.answers {
				answer.gateway = g
				r.answers.all = append(r.answers.all, answer)
			}
			key := contentKey + "7"
			var stderr bytes.Buffer
			breaches := r.countUnrecorded([]sim.Job{{ID: "a", CustomData: []sim.CustomData{{Key: &key}}}}, &stderr)
			if breaches > 0 != (test.want != "") || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("%d, want %q: %s", breaches, test.want, &stderr)
			}
		})
	}
}

// A create that comes to Atlas must be in the stream already.
func TestAwait(t *testing.T) {
	s := streamOf(t, lineOf("intent", "1", ""))
	s.await(7)
	if s.breaches > 0 {
		t.Errorf("%q", s.explained)
	}
	s.await(8)
	file, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i, part := range strings.SplitAfter(lineOf("outcome", "1", `,"outcome":"unknown"`), ",") {
		if _, err := file.WriteString(part); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			s.await(7) // the line is not whole yet
		}
	}
	s.await(7)
	if s.breaches != 2 {
		t.Errorf("%d breaches: %q", s.breaches, s.explained)
	}
}

func streamOf(t *testing.T, text string) *stream {
	t.Helper()
	s := newStream(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}
