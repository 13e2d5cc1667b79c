package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A file is an entry of an archive or of a layer.
type file struct {
	name    string // with slashes; the name of a folder ends in one
	mode    int64
	owner   int // user and group
	content []byte
}

// read returns a file of the disk, for an archive.
func read(from, name string, mode int64) (file, error) {
	content, err := os.ReadFile(from)
	return file{name: name, mode: mode, content: content}, err
}

// writeTar writes files in the order of their names, each with the same time.
func writeTar(w io.Writer, files []file, modified time.Time) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: modified, Format: tar.FormatUSTAR}
		if strings.HasSuffix(f.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// compressed returns a .tar.gz of files. Its header has neither a name nor a time.
func compressed(files []file, modified time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if err := writeTar(w, files, modified); err != nil {
		return nil, err
	}
	err := w.Close()
	return buffer.Bytes(), err
}

// tree returns the files of a folder, with names below the folder.
func tree(folder string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		f, err := read(name, filepath.ToSlash(below), 0o644)
		files = append(files, f)
		return err
	})
	return files, err
}

// archive returns the archive of one target: the programs in folder, the completions of
// atlas-export, and what an installation by hand starts from.
func (s *source) archive(name, folder string, completions []file) ([]byte, error) {
	var files []file
	add := func(f file, err error) error {
		f.name = path.Join(name, f.name)
		files = append(files, f)
		return err
	}
	for _, program := range programs {
		if err := add(read(filepath.Join(folder, program), program, 0o755)); err != nil {
			return nil, err
		}
	}
	for _, document := range []string{"README.md", "LICENSE", "CHANGELOG.md", "deploy/atlas-gateway.yaml", "deploy/atlas-gateway.service", "deploy/atlas-gateway.socket"} {
		if err := add(read(filepath.Join(s.root, filepath.FromSlash(document)), document, 0o644)); err != nil {
			return nil, err
		}
	}
	for _, completion := range completions {
		if err := add(completion, nil); err != nil {
			return nil, err
		}
	}
	return compressed(files, s.time)
}
