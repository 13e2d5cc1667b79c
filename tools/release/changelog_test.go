package main

import (
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for _, good := range []string{"v0.1.0", "v1.2.3", "v10.20.30-rc.1", "v1.0.0-alpha"} {
		if err := checkVersion(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "1.2.3", "v1", "v1.2", "v1.2.3.4", "v01.2.3", "v1.2.3-", "v1.2.3-01", "v1.2.3+build", "v1.2.3 ", "latest", "v1.2.3/.."} {
		if err := checkVersion(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestSection(t *testing.T) {
	const changelog = "# Changelog\n\n## [Unreleased]\n\n- not yet\n\n" +
		"## [1.2.0] - 2026-11-30\n\n### Added\n\n- a [1.1.0] thing\n\n" +
		"## [1.2.0-rc.1] - 2026-11-29\n\n- an early thing\n" +
		"## [1.1.0] - 2026-11-31\n\n- a day that is none\n\n" +
		"## [1.0.2]\n\n- no day\n\n## [1.0.1] - 2026-01-01\n\n## [1.0.0] - 2025-01-01\n\n- first\n## [1.0.0] - 2025-01-01\n- again\n"
	for _, test := range []struct{ version, text, err string }{
		{"v1.2.0", "### Added\n\n- a [1.1.0] thing\n", ""},
		{"v1.2.0-rc.1", "- an early thing\n", ""},
		{"v1.1.0", "", "the day of v1.1.0"},
		{"v1.0.2", "", "has no day"},
		{"v1.0.1", "", "is empty"},
		{"v1.0.0", "", "2 sections"},
		{"v1.3.0", "", `has no section "## [1.3.0] - YYYY-MM-DD"`},
		{"v1.2", "", "has no section"},
		{"v1x2.0", "", "has no section"},
		{"Unreleased", "", "has no day"},
	} {
		text, err := section(changelog, test.version)
		if text != test.text || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v", test.version, text, err)
		}
	}
}

func TestParseTargets(t *testing.T) {
	if targets, err := parseTargets(""); err != nil || len(targets) != 4 {
		t.Errorf("%v, %v", targets, err)
	}
	if targets, err := parseTargets("linux/arm64 darwin/amd64"); err != nil || len(targets) != 2 || targets[0] != (target{"linux", "arm64"}) {
		t.Errorf("%v, %v", targets, err)
	}
	for _, bad := range []string{"linux", "plan9/amd64", "linux/amd64 linux/amd64", "linux/amd64,darwin/arm64"} {
		if _, err := parseTargets(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
