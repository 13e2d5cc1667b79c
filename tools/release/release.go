package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// project is how archives are named.
const project = "atlas-export-gateway"

// makeRelease writes a release into dist/, and refuses what would not be that of a tag.
func makeRelease(ctx context.Context, s *source, targets []target, stdout io.Writer) error {
	notes, err := s.checkRelease(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "atlas-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	dist := filepath.Join(s.root, "dist")
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.Mkdir(dist, 0o755); err != nil {
		return err
	}
	bare := strings.TrimPrefix(s.version, "v")
	write := func(name string, content []byte, err error) error {
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dist, name), content, 0o644)
	}
	if err := write(project+"_"+bare+"_changes.md", []byte(notes), nil); err != nil {
		return err
	}
	completions, err := s.completions(ctx, filepath.Join(work, "completions"))
	if err != nil {
		return err
	}
	staged, folders := filepath.Join(work, "staged"), map[target]string{}
	if err := s.stage(staged, completions); err != nil {
		return err
	}
	for _, t := range targets {
		if folders[t], err = s.build(ctx, work, t, programs...); err != nil {
			return err
		}
		if err := s.target(t, folders[t], staged, completions, write); err != nil {
			return err
		}
	}
	for _, i := range images {
		if err := s.packed(i, filepath.Join(work, i.program), folders, write); err != nil {
			return err
		}
	}
	if err := s.chart(ctx, dist); err != nil {
		return err
	}
	sums, err := checksums(dist)
	if err := write("SHA256SUMS", sums, err); err != nil {
		return err
	}
	_, err = stdout.Write(sums)
	return err
}

// checkRelease returns the changelog's section of the version, once the tree is that of its tag.
func (s *source) checkRelease(ctx context.Context) (notes string, err error) {
	if err := checkVersion(s.version); err != nil {
		return "", err
	}
	changelog, err := os.ReadFile(filepath.Join(s.root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	if notes, err = section(string(changelog), s.version); err != nil {
		return "", err
	}
	if s.dirty {
		return "", fmt.Errorf("the tree has changes that are not committed; git status lists them")
	}
	tagged, err := s.git(ctx, "rev-parse", "--verify", "--quiet", "refs/tags/"+s.version+"^{commit}")
	switch {
	case err != nil:
		return "", fmt.Errorf("there is no tag %s", s.version)
	case tagged != s.revision:
		return "", fmt.Errorf("the tag %s is of the commit %s; this is %s", s.version, tagged, s.revision)
	}
	return notes, nil
}

// target writes what one target has: an archive, the list of its components, and on linux
// packages.
func (s *source) target(t target, folder, staged string, completions []file, write func(string, []byte, error) error) error {
	name := project + "_" + strings.TrimPrefix(s.version, "v") + "_" + t.String()
	content, err := s.archive(name, folder, completions)
	if err := write(name+".tar.gz", content, err); err != nil {
		return err
	}
	var files []string
	for _, program := range programs {
		files = append(files, filepath.Join(folder, program))
	}
	content, err = s.components(name, cdx.ComponentTypeApplication, files)
	if err := write(name+".cdx.json", content, err); err != nil {
		return err
	}
	if t.os != "linux" {
		return nil
	}
	for _, name := range packages {
		fileName, content, err := s.debian(name, staged, folder, t)
		if err := write(fileName, content, err); err != nil {
			return err
		}
	}
	return nil
}

// packed writes an image as an archive of its layout, and the list of its components. Without a
// target of linux there is none.
func (s *source) packed(i image, folder string, folders map[target]string, write func(string, []byte, error) error) error {
	if folders[all[0]] == "" && folders[all[1]] == "" {
		return nil
	}
	if _, err := s.layout(folder, i, folders); err != nil {
		return err
	}
	files, err := tree(folder)
	if err != nil {
		return err
	}
	var buffer bytes.Buffer
	name := i.program + "_" + strings.TrimPrefix(s.version, "v") + "_image"
	err = writeTar(&buffer, files, s.time)
	if err := write(name+".tar", buffer.Bytes(), err); err != nil {
		return err
	}
	content, err := s.imageComponents(i, folders)
	return write(name+".cdx.json", content, err)
}

// chart writes the Helm chart as an archive. Helm's packages do so, in the module that has them.
func (s *source) chart(ctx context.Context, dist string) error {
	command := s.command(ctx, "go", "run", "./package", "-version", s.version, "atlas-gateway", dist)
	command.Dir = filepath.Join(s.root, "deploy", "helm")
	command.Env = append(slices.Clone(s.env), "GOFLAGS=", "GOWORK=off", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.time.Unix()))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("the chart: %w: %s", err, output)
	}
	return nil
}

// completions returns the files with which shells complete atlas-export. The program writes them,
// built for this machine.
func (s *source) completions(ctx context.Context, work string) ([]file, error) {
	folder, err := s.build(ctx, work, target{runtime.GOOS, runtime.GOARCH}, "atlas-export")
	if err != nil {
		return nil, err
	}
	var files []file
	for _, shell := range []struct{ name, file string }{{"bash", "atlas-export.bash"}, {"zsh", "_atlas-export"}, {"fish", "atlas-export.fish"}} {
		content, err := s.command(ctx, filepath.Join(folder, "atlas-export"), "completion", shell.name).Output()
		if err != nil {
			return nil, fmt.Errorf("atlas-export completion %s: %w", shell.name, told(err))
		}
		files = append(files, file{name: "completion/" + shell.file, mode: 0o644, content: content})
	}
	return files, nil
}

// checksums returns the SHA-256 of each file of a folder, as sha256sum --check reads it.
func checksums(folder string) ([]byte, error) {
	files, err := tree(folder)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var buffer bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&buffer, "%x  %s\n", sha256.Sum256(f.content), f.name)
	}
	return buffer.Bytes(), nil
}
