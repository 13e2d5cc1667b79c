package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/sim"
)

// stream is what one gateway, in all its processes, has recorded in its audit stream. It is read
// while the gateway writes it.
type stream struct {
	path string

	mu        sync.Mutex
	file      *os.File // nil until it is read for the first time
	rest      []byte   // what was read of a line
	process   int      // how many have started
	requests  map[string]*trace
	open      map[int]int // how many intents have no outcome, by the number of the content
	cut       int         // lines that are no records
	breaches  int
	explained []string // the first breaches
}

// trace is what a stream has of one request.
type trace struct {
	process  int
	content  int // the number in the custom data
	intended bool
	outcome  *audit.Record // nil without one
}

func newStream(path string) *stream {
	return &stream{path: path, requests: map[string]*trace{}, open: map[int]int{}}
}

// breach counts something that a stream lacks, or that must not be in it.
func (s *stream) breach(format string, args ...any) {
	s.breaches++
	if s.breaches <= 5 {
		s.explained = append(s.explained, fmt.Sprintf(format, args...))
	}
}

// await has Atlas look into the stream when a create arrives: its intent must be there before
// anything of it is carried out.
func (s *stream) await(content int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		s.breach("the stream can't be read: %v", err)
	} else if s.open[content] == 0 {
		s.breach("Atlas got create %d before its intent was recorded", content)
	}
}

// read reads what the gateway has written since the last call.
func (s *stream) read() (err error) {
	if s.file == nil {
		if s.file, err = os.Open(s.path); err != nil {
			return err
		}
	}
	more, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	s.rest = append(s.rest, more...)
	for {
		line, rest, whole := bytes.Cut(s.rest, []byte("\n"))
		if !whole {
			return nil
		}
		s.rest = rest
		var record audit.Record
		if json.Unmarshal(line, &record) != nil {
			s.cut++
			continue
		}
		s.take(&record)
	}
}

// take adds a record. A request has one intent and then one outcome; only what was refused before
// it was sent may lack the intent.
func (s *stream) take(r *audit.Record) {
	switch {
	case r.Event == audit.Configuration && r.Outcome == "started":
		s.process++
		return
	case r.Event != audit.Intent && r.Event != audit.Outcome:
		s.breach("a record that no caller caused: %+v", *r)
		return
	}
	t := s.requests[r.ID]
	if t == nil {
		t = &trace{process: s.process, content: numberIn(r.CustomDataKeys)}
		s.requests[r.ID] = t
	}
	switch {
	case t.outcome != nil || r.Event == audit.Intent && t.intended:
		s.breach("request %s has one %s more than one", r.ID, r.Event)
	case r.Event == audit.Intent:
		t.intended = true
		s.open[t.content]++
	default:
		t.outcome = r
		if t.intended {
			s.open[t.content]--
		} else if r.Outcome != string(atlas.NotSent) {
			s.breach("request %s has the outcome %s, and no intent", r.ID, r.Outcome)
		}
	}
}

// finish reads the rest once the last process has ended by itself. That one leaves no intent
// without an outcome; each of the others, which were killed, may leave a line that is cut.
func (s *stream) finish() {
	if err := s.read(); err != nil {
		s.breach("the stream can't be read: %v", err)
		return
	}
	s.file.Close()
	for id, t := range s.requests {
		if t.process == s.process && t.outcome == nil {
			s.breach("request %s has no outcome, and its gateway was not killed", id)
		}
	}
	if len(s.rest) > 0 || s.cut > 0 && s.cut >= s.process {
		s.breach("%d lines are cut, of %d processes", s.cut, s.process)
	}
}

// compare compares an answer that a caller has got. Where its record is missing, the gateway was
// killed before it was written.
func (s *stream) compare(answer told) {
	t := s.requests[answer.id]
	if t == nil || !t.intended {
		if answer.outcome != string(atlas.NotSent) {
			s.breach("no record has an intent for %+v", answer)
		}
		return
	}
	if r := t.outcome; r != nil && (r.Status != answer.status || r.Outcome != answer.outcome || r.Result != answer.job) {
		s.breach("the caller was told %+v, and the record is %+v", answer, *r)
	}
}

// countUnrecorded compares the audit streams with the jobs that Atlas has and with what callers
// were told, and returns how often they differ. The first few differences are told to stderr.
func (r *trial) countUnrecorded(jobs []sim.Job, stderr io.Writer) (breaches int) {
	records := recordsOf{made: map[string]int{}, found: map[string]bool{}, open: map[int]int{}}
	for _, g := range r.fleet {
		g.audit.finish()
		records.add(g.audit)
	}
	for _, answer := range r.answers.all {
		answer.gateway.audit.compare(answer)
	}
	var explained []string
	for _, job := range jobs {
		if fault := records.account(job.ID, contentOfJob(job)); fault != "" {
			breaches++
			explained = append(explained, fault)
		}
	}
	cut := 0
	for _, g := range r.fleet {
		breaches += g.audit.breaches
		explained = append(explained, g.audit.explained...)
		cut += g.audit.cut
	}
	fmt.Fprintf(stderr, "Audit: %d requests; %d have no outcome; %d lines are cut.\n", records.requests, records.unended, cut)
	for _, text := range explained[:min(5, len(explained))] {
		fmt.Fprintln(stderr, "audit:", text)
	}
	return breaches
}

// recordsOf are what the streams of all gateways have about jobs.
type recordsOf struct {
	requests, unended int
	made              map[string]int  // records that say that their request made a job, by its id
	found             map[string]bool // jobs that records name which were found later
	open              map[int]int     // records that do not know their job, by the number of the content
}

func (a *recordsOf) add(s *stream) {
	for _, t := range s.requests {
		a.requests++
		switch o := t.outcome; {
		case o == nil:
			a.unended++
			a.open[t.content]++
		case o.Result != "" && o.Replayed:
			a.found[o.Result] = true
		case o.Result != "":
			a.made[o.Result]++
		case o.Outcome != string(atlas.NotSent):
			a.open[t.content]++
		}
	}
}

// account finds the record of a job, and says what is wrong with it. One record says that its
// request made the job. Or there are records by whose requests it was found later. Or else a
// request of its own has no outcome, or one that tells no job.
func (a *recordsOf) account(job string, content int) (fault string) {
	switch {
	case a.made[job] > 1:
		return fmt.Sprintf("%d records say that they made job %s of create %d", a.made[job], job, content)
	case a.made[job] == 1 || a.found[job]:
		return ""
	case a.open[content] > 0:
		a.open[content]--
		return ""
	}
	return fmt.Sprintf("job %s of create %d has no record", job, content)
}
