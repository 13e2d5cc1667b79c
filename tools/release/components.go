package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// authoritiesModule is the module that certificates come from.
const authoritiesModule = "golang.org/x/crypto/x509roots/fallback"

// imageComponents returns the list of what is in an image: the modules of its programs, and that
// of the certificates.
func (s *source) imageComponents(i image, folders map[target]string) ([]byte, error) {
	var files []string
	for _, t := range all {
		if folder := folders[t]; folder != "" && t.os == "linux" {
			files = append(files, filepath.Join(folder, i.program))
		}
	}
	self, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, fmt.Errorf("this program has no build information")
	}
	at := slices.IndexFunc(self.Deps, func(m *debug.Module) bool { return m.Path == authoritiesModule })
	if at < 0 {
		return nil, fmt.Errorf("this program has no %s", authoritiesModule)
	}
	return s.components(i.program, cdx.ComponentTypeContainer, files, self.Deps[at])
}

// components returns a CycloneDX document of an artifact: the programs in it, the modules that
// each is built from, by what Go has written into the programs, and further modules.
func (s *source) components(artifact string, kind cdx.ComponentType, files []string, further ...*debug.Module) ([]byte, error) {
	modules := map[string]cdx.Component{}
	add := func(m *debug.Module) string {
		component := library(m)
		modules[component.BOMRef] = component
		return component.BOMRef
	}
	root := cdx.Component{BOMRef: artifact, Type: kind, Name: artifact, Version: s.version, Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}}
	components, uses := []cdx.Component{}, map[string][]string{}
	for _, m := range further {
		uses[root.BOMRef] = append(uses[root.BOMRef], add(m))
	}
	for _, name := range files {
		info, err := buildinfo.ReadFile(name)
		if err != nil {
			return nil, err
		}
		program := filepath.Base(name) + " " + filepath.Base(filepath.Dir(name)) // of build's folder for a target
		components = append(components, cdx.Component{BOMRef: program, Type: cdx.ComponentTypeApplication, Name: info.Path, Version: s.version})
		uses[root.BOMRef] = append(uses[root.BOMRef], program)
		uses[program] = append(uses[program], add(&debug.Module{Path: "std", Version: info.GoVersion}))
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			uses[program] = append(uses[program], add(m))
		}
	}
	var dependencies []cdx.Dependency
	for _, reference := range slices.Sorted(maps.Keys(uses)) {
		on := uses[reference]
		slices.Sort(on)
		dependencies = append(dependencies, cdx.Dependency{Ref: reference, Dependencies: &on})
	}
	for _, reference := range slices.Sorted(maps.Keys(modules)) {
		components = append(components, modules[reference])
	}
	document := cdx.NewBOM()
	document.Metadata = &cdx.Metadata{Timestamp: s.time.Format(time.RFC3339), Component: &root}
	document.Components, document.Dependencies = &components, &dependencies
	var buffer bytes.Buffer
	err := cdx.NewBOMEncoder(&buffer, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(document, cdx.SpecVersion1_6)
	return buffer.Bytes(), err
}

// library returns a module of Go as a component, named by its package URL.
func library(m *debug.Module) cdx.Component {
	version := m.Version
	if m.Path == "std" {
		version = strings.TrimPrefix(version, "go") // as vulnerability databases name it
	}
	url := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(version, "+", "%2B")
	c := cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: version, PackageURL: url}
	// h1 is the SHA-256 of the list of the module's files, each with its own.
	if sum, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
		if hash, err := base64.StdEncoding.DecodeString(sum); err == nil {
			c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(hash)}}
		}
	}
	return c
}
