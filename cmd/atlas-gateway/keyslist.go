package main

import (
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
)

// listKeys lists the keys of a configuration, and says which are good. When they were last used,
// only a gateway that runs can tell.
func listKeys(args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("keys list", flag.ContinueOnError)
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	parts, err := config.Load(flags.Arg(0), env)
	if err != nil {
		return refused(stderr, err)
	}
	now := time.Now()
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CALLER\tFORM\tKEY\tNOT AFTER\tSTATE\tSETTING")
	for _, caller := range parts.Callers.List() {
		for _, key := range caller.Keys {
			end := "-"
			if !key.NotAfter.IsZero() {
				end = key.NotAfter.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\tcallers.%s\n", caller.Name, key.Form, key.Key, end, keyState(&caller, &key, now), key.Path)
		}
	}
	table.Flush()
	return exitOK
}

// keyState says in a word or two whether a key may be used.
func keyState(caller *callers.Listed, key *callers.KeyState, now time.Time) string {
	switch {
	case caller.Disabled:
		return "caller disabled"
	case key.Disabled:
		return "disabled"
	case key.Expired(now):
		return "expired"
	}
	return "good"
}

// explainKeys tells where no key of a caller may be used, whatever its grants allow.
func explainKeys(parts *config.Parts, name string, stdout io.Writer) {
	for _, caller := range parts.Callers.List() {
		if caller.Name == name && caller.Out(time.Now()) {
			fmt.Fprintf(stdout, "no key of %s may be used: each is disabled or has expired\n", name)
		}
	}
}
