package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// checkVersion refuses what is not a semantic version with a v, such as v1.2.3 or v1.2.3-rc.1.
// Build metadata has no place: a tag of an image can't have its plus sign.
func checkVersion(version string) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("the version %q is not one such as v1.2.3 or v1.2.3-rc.1", version)
	}
	return nil
}

// heading matches the heading of a section of a version: "## [1.2.3] - 2026-11-30".
var heading = regexp.MustCompile(`(?m)^## \[(.+?)\](?: - (\S+))?[ \t]*$`)

// section returns what a changelog says of a version, in the form of Keep a Changelog. The section
// must be there once, with a day, and say something.
func section(changelog, version string) (string, error) {
	bare := strings.TrimPrefix(version, "v")
	found, text := 0, ""
	headings := heading.FindAllStringSubmatchIndex(changelog, -1)
	for n, at := range headings {
		if changelog[at[2]:at[3]] != bare {
			continue
		}
		found++
		end := len(changelog)
		if n+1 < len(headings) {
			end = headings[n+1][0]
		}
		text = strings.TrimSpace(changelog[at[1]:end])
		if at[4] < 0 {
			return "", fmt.Errorf("CHANGELOG.md: the section of %s has no day; its heading is \"## [%s] - YYYY-MM-DD\"", version, bare)
		}
		if _, err := time.Parse(time.DateOnly, changelog[at[4]:at[5]]); err != nil {
			return "", fmt.Errorf("CHANGELOG.md: the day of %s: %w", version, err)
		}
	}
	switch {
	case found == 0:
		return "", fmt.Errorf("CHANGELOG.md has no section \"## [%s] - YYYY-MM-DD\"", bare)
	case found > 1:
		return "", fmt.Errorf("CHANGELOG.md has %d sections of %s", found, version)
	case text == "":
		return "", fmt.Errorf("CHANGELOG.md: the section of %s is empty", version)
	}
	return text + "\n", nil
}
