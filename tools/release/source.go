package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A source is the commit that is built.
type source struct {
	root     string    // the top folder of the clone
	version  string    // what the programs print
	revision string    // the commit
	dirty    bool      // whether files differ from the commit
	time     time.Time // of the commit; every file that is made has it
	env      []string
}

// newSource looks at a clone. Without a version, it is the commit's tag, or else the commit.
func newSource(ctx context.Context, root, version string, env []string) (*source, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	s := &source{root: root, version: version, env: env}
	if s.revision, err = s.git(ctx, "rev-parse", "HEAD"); err != nil {
		return nil, err
	}
	changes, err := s.git(ctx, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	s.dirty = changes != ""
	seconds := lookup(env, "SOURCE_DATE_EPOCH")
	if seconds == "" {
		if seconds, err = s.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return nil, err
		}
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	s.time = time.Unix(unix, 0).UTC()
	if version == "" {
		if s.version, err = s.git(ctx, "describe", "--tags", "--exact-match", "--match", "v[0-9]*"); err != nil {
			s.version = s.revision
		}
		if s.dirty {
			s.version += "-dirty"
		}
	}
	return s, nil
}

// git returns what git prints in the clone.
func (s *source) git(ctx context.Context, args ...string) (string, error) {
	output, err := s.command(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), told(err))
	}
	return strings.TrimSpace(string(output)), nil
}

func (s *source) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = s.root
	command.Env = s.env
	return command
}

// told returns the error of a program that has failed, with what it has printed.
func told(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

// A target is what programs are built for, in Go's names.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "_" + t.arch }

// all is what a release is for.
var all = []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

// parseTargets reads a list such as "linux/amd64 darwin/arm64". An empty one is all.
func parseTargets(list string) ([]target, error) {
	var targets []target
	for _, word := range strings.Fields(list) {
		system, arch, _ := strings.Cut(word, "/")
		t := target{system, arch}
		if !slices.Contains(all, t) || slices.Contains(targets, t) {
			return nil, fmt.Errorf("the target %q is none of %v, or there twice", word, all)
		}
		targets = append(targets, t)
	}
	if targets == nil {
		targets = all
	}
	return targets, nil
}

// programs are what a release has, by their folders in cmd/.
var programs = []string{"atlas-export", "atlas-gateway", "atlas-sim"}

// build builds programs into a folder of its own below folder, and returns it. Nothing of the
// machine gets into them: no path, no C library, no state of the clone beyond the commit.
func (s *source) build(ctx context.Context, folder string, t target, programs ...string) (string, error) {
	folder = filepath.Join(folder, t.String())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	// By default Go would also write the name of the nearest tag that the clone knows.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", folder + string(filepath.Separator),
		"-ldflags=-s -w -X=" + "atlas-export-gateway/internal/build.version=" + s.version}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	command := s.command(ctx, "go", args...)
	command.Env = append(slices.Clone(s.env), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch,
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build for %s: %w: %s", t, err, output)
	}
	return folder, nil
}

// lookup returns the value of an environment variable.
func lookup(env []string, name string) string {
	for _, variable := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}
