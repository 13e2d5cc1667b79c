package main

import (
	"fmt"
	"io"
	"slices"

	"atlas-export-gateway/sim"
)

// result is what became of the creates.
type result struct {
	creates, kills, serverKills, duplicates, lost int
	withoutRecord                                 int // in the audit streams
}

func (r result) String() string {
	kills := fmt.Sprintf("%d kills", r.kills)
	if r.serverKills > 0 {
		kills += fmt.Sprintf(" and %d of the server", r.serverKills)
	}
	return fmt.Sprintf("%d creates, %s, %d duplicates, %d lost, %d without a record", r.creates, kills, r.duplicates, r.lost, r.withoutRecord)
}

// contentOfJob returns the number in the custom data of a job; -1 of one that is of no create.
func contentOfJob(job sim.Job) int {
	var keys []string
	for _, pair := range job.CustomData {
		if pair.Key != nil {
			keys = append(keys, *pair.Key)
		}
	}
	return numberIn(keys)
}

// count compares the jobs that Atlas has with what callers were told. The first few that are wrong
// are told to stderr.
func (r *trial) count(all []sim.Job, stderr io.Writer) result {
	jobs := map[int][]string{}
	for _, job := range all {
		number := contentOfJob(job)
		jobs[number] = append(jobs[number], job.ID)
	}
	counted := result{creates: r.creates, kills: int(r.killed.Load()), serverKills: int(r.serverKilled.Load())}
	counted.duplicates = len(jobs[-1])
	r.answers.mu.Lock()
	defer r.answers.mu.Unlock()
	for _, text := range r.answers.wrong {
		fmt.Fprintln(stderr, "refused:", text)
	}
	shown := 0
	for first := range r.creates {
		numbers := r.createsFrom(first)
		if len(numbers) == 0 {
			continue
		}
		has, named := jobs[first], map[string]bool{}
		more, lost := max(0, len(has)-len(numbers)), 0
		var told [][]string
		for _, number := range numbers {
			its := r.answers.jobs[number]
			told = append(told, its)
			if len(its) == 0 || slices.ContainsFunc(its, func(id string) bool { return !slices.Contains(has, id) || named[id] }) {
				lost++
			}
			for _, id := range its {
				named[id] = true // no other create has it
			}
		}
		counted.duplicates += more
		counted.lost += lost
		if more+lost > 0 && shown < 5 {
			shown++
			fmt.Fprintf(stderr, "creates %v: Atlas has %q, their callers were told of %q\n", numbers, has, told)
		}
	}
	return counted
}
