package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Row 45: a configuration of 200 KB that nests, aliases or repeats without end is refused at once
// and costs little, by check and by a reload. The next SIGHUP is obeyed.
func TestCostlyConfigurations(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "callers: {anonymous: true}\n")
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"lists":        strings.Repeat("[", 200_000),
		"mappings":     strings.Repeat("{a: ", 50_000),
		"lists inline": strings.Repeat("- ", 100_000),
		"keys":         costlyKeys(25_000),
		"aliases":      "a: &a [x]\nb: [" + strings.Repeat("*a, ", 50_000) + "]\n",
		"a long text":  "a: " + strings.Repeat("x", 200_000),
	} {
		t.Run(name, func(t *testing.T) {
			file := p.file + ".costly"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr strings.Builder
			began := time.Now()
			if status := run(t.Context(), []string{"check", file}, nil, nil, &stdout, &stderr); status != exitConfig || len(stderr.String()) > 1000 {
				t.Errorf("check: exit status %d: %.300s", status, stderr.String())
			}
			t.Logf("check took %s", time.Since(began).Round(time.Millisecond))
			// Other than the time, memory does not depend on how busy the machine is.
			before := p.peak(t)
			refused := strings.Count(p.stderr.String(), "the configuration was refused")
			if err := os.Rename(file, p.file); err != nil {
				t.Fatal(err)
			}
			p.command.Process.Signal(syscall.SIGHUP)
			gatewaytest.WaitFor(t, "the refusal", func() bool { return strings.Count(p.stderr.String(), "the configuration was refused") > refused })
			if grown := p.peak(t) - before; grown > 24<<20 {
				t.Errorf("the reload took %d MiB", grown>>20)
			}
			loaded := strings.Count(p.stderr.String(), "the configuration was reloaded")
			if err := os.WriteFile(p.file, good, 0o600); err != nil {
				t.Fatal(err)
			}
			p.command.Process.Signal(syscall.SIGHUP)
			gatewaytest.WaitFor(t, "the reload", func() bool { return strings.Count(p.stderr.String(), "the configuration was reloaded") > loaded })
		})
	}
}

// costlyKeys returns a mapping of so many keys.
func costlyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}
