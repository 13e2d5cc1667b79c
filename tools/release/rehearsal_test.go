package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The versions of the rehearsal, which are tags only of its clones.
const (
	candidate = "v0.0.1-rehearsal.1"
	final     = "v0.0.1"
)

// rehearsalTime is that of the rehearsal's commits.
var rehearsalTime = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// notes is what the rehearsal's changelog says first of its versions.
const notes = "### Added\n\n- a rehearsal\n"

// rehearsed is where the clones of the rehearsal are.
var rehearsed string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if rehearsed, err = os.MkdirTemp("", "atlas-rehearsal-"); err == nil {
			err = os.Chmod(rehearsed, 0o755)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(rehearsed)
		return m.Run()
	}())
}

// rehearsedTargets are what the rehearsal builds: RELEASE_TARGETS, or all.
func rehearsedTargets(t *testing.T) []target {
	t.Helper()
	targets, err := parseTargets(os.Getenv("RELEASE_TARGETS"))
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// clone clones the checkout, with its changes, into a folder below rehearsed. Its changelog has a
// section of each version, and each version is a tag of its last commit.
func clone(folder string, versions ...string) (string, error) {
	folder = filepath.Join(rehearsed, folder)
	changes, err := shell("../..", nil, `git diff --binary HEAD`)
	if err == nil {
		_, err = shell("../..", nil, `git clone --quiet --no-hardlinks . "$1"`, folder)
	}
	if err == nil && len(changes) > 0 {
		if err = os.WriteFile(folder+".patch", changes, 0o600); err == nil {
			_, err = shell(folder, nil, `git apply --index "$1"`, folder+".patch")
		}
	}
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "CHANGELOG.md")
	changelog, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	const unreleased = "## [Unreleased]\n"
	sections := ""
	for _, version := range versions {
		sections += "\n## [" + strings.TrimPrefix(version, "v") + "] - 2026-11-30\n\n" + notes
	}
	changelog = bytes.Replace(changelog, []byte(unreleased), []byte(unreleased+sections), 1)
	if err := os.WriteFile(file, changelog, 0o644); err != nil {
		return "", err
	}
	_, err = shell(folder, []string{"GIT_AUTHOR_DATE=" + rehearsalTime.Format(time.RFC3339), "GIT_COMMITTER_DATE=" + rehearsalTime.Format(time.RFC3339)},
		`git -c user.name=rehearsal -c user.email=rehearsal@localhost commit --quiet --all --message="changelog: a rehearsal"; for v; do git tag "$v"; done`, versions...)
	return folder, err
}

// shell runs commands in a folder, with further variables, and returns what they print. The
// commands see the arguments as $1 and so on.
func shell(folder string, variables []string, commands string, args ...string) ([]byte, error) {
	command := exec.CommandContext(context.Background(), "sh", append([]string{"-euc", commands, "sh"}, args...)...)
	command.Dir = folder
	command.Env = append(os.Environ(), variables...)
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", commands, told(err))
	}
	return output, nil
}

// released is the release of the rehearsal: the clone, whose folder dist/ has it.
var released = sync.OnceValues(func() (string, error) {
	folder, err := clone("release", candidate)
	if err != nil {
		return "", err
	}
	_, err = shell(folder, nil, `make release VERSION="$1" RELEASE_TARGETS="$RELEASE_TARGETS"`, candidate)
	return folder, err
})

func release(t *testing.T) (folder string) {
	t.Helper()
	folder, err := released()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// unpacked is where the archive of this machine's target is unpacked.
var unpacked = sync.OnceValues(func() (string, error) {
	folder, err := released()
	if err != nil {
		return "", err
	}
	return filepath.Join(rehearsed, "unpacked", artifact(host)), untar(filepath.Join(folder, "dist", artifact(host)+".tar.gz"), filepath.Join(rehearsed, "unpacked"))
})

// programOf returns a program of the rehearsal's archive for this machine.
func programOf(t *testing.T, name string) string {
	t.Helper()
	folder, err := unpacked()
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("RELEASE_TARGETS has not this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// artifact returns the name of what the candidate has for a target.
func artifact(t target) string {
	return project + "_" + strings.TrimPrefix(candidate, "v") + "_" + t.String()
}

// untar unpacks an archive, compressed or not, with owners where this is root.
func untar(archive, folder string) error {
	content, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer content.Close()
	var reader io.Reader = content
	if strings.HasSuffix(archive, ".gz") {
		if reader, err = gzip.NewReader(content); err != nil {
			return err
		}
	}
	return untarFrom(reader, folder)
}

func untarFrom(reader io.Reader, folder string) error {
	entries := tar.NewReader(reader)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Join(folder, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(name, 0o700); err != nil {
				return err
			}
		} else if file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return err
		} else if _, err := io.Copy(file, entries); errors.Join(err, file.Close()) != nil {
			return err
		}
		if os.Getuid() == 0 {
			if err := os.Chown(name, header.Uid, header.Gid); err != nil {
				return err
			}
		}
		if err := os.Chmod(name, header.FileInfo().Mode().Perm()); err != nil {
			return err
		}
	}
}
