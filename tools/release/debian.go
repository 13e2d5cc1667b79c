package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
)

// packages are the Debian packages, each with a description deploy/debian/NAME.yaml.
var packages = []string{"atlas-gateway", "atlas-export"}

// stage writes what packages have and the clone has not: the completions, and the units, which
// find the program where packages put it.
func (s *source) stage(folder string, completions []file) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	unit, err := os.ReadFile(filepath.Join(s.root, "deploy", "atlas-gateway.service"))
	if err != nil {
		return err
	}
	const byHand, packaged = "=/usr/local/bin/atlas-gateway ", "=/usr/bin/atlas-gateway "
	if strings.Count(string(unit), byHand) != 1 {
		return fmt.Errorf("deploy/atlas-gateway.service does not have %q once", byHand)
	}
	if err := os.WriteFile(filepath.Join(folder, "atlas-gateway.service"), bytes.ReplaceAll(unit, []byte(byHand), []byte(packaged)), 0o644); err != nil {
		return err
	}
	for _, completion := range completions {
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(completion.name)), completion.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// debian returns a Debian package of the programs in a folder, and its file name.
func (s *source) debian(name, staged, built string, t target) (fileName string, content []byte, err error) {
	values := map[string]string{"VERSION": s.version, "ARCH": t.arch, "ROOT": s.root, "STAGED": staged, "BUILT": built}
	config, err := nfpm.ParseFileWithEnvMapping(filepath.Join(s.root, "deploy", "debian", name+".yaml"), func(name string) string { return values[name] })
	if err != nil {
		return "", nil, err
	}
	info, err := config.Get("deb")
	if err != nil {
		return "", nil, err
	}
	info.MTime = s.time
	for _, script := range []*string{&info.Scripts.PostInstall, &info.Scripts.PreRemove, &info.Scripts.PostRemove} {
		if *script != "" {
			*script = filepath.Join(s.root, *script)
		}
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return "", nil, err
	}
	packager, err := nfpm.Get("deb")
	if err != nil {
		return "", nil, err
	}
	fileName = packager.ConventionalFileName(info)
	var buffer bytes.Buffer
	if err := packager.Package(info, &buffer); err != nil {
		return "", nil, err
	}
	return fileName, buffer.Bytes(), nil
}
