package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/internal/strictyaml"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// profiles is the content of the configuration file.
type profiles struct {
	// Current is the profile to use if nothing else names one; empty means "default".
	Current string `yaml:"current,omitempty"`
	// Profiles are the settings of each profile by their keys.
	Profiles map[string]map[string]string `yaml:"profiles,omitempty"`
}

// profile is the profile that a run uses.
type profile struct {
	file     string // the configuration file
	name     string
	from     string // what names it
	values   map[string]string
	document *strictyaml.Document // nil if there is no file

	ofAtlas    *atlasProfiles     // the Atlas CLI's file, if the profile is one of its own
	credential *client.Credential // in that file; nil if there is none
	missing    string             // why there is no credential of that file; empty if it says nothing of one
}

// label names the profile as the source of a value.
func (p *profile) label() string {
	if p.ofAtlas != nil {
		return "Atlas CLI profile " + p.name
	}
	return "profile " + p.name
}

// errorf returns an error about a setting of the profile, with file and line.
func (p *profile) errorf(key, format string, args ...any) error {
	if p.ofAtlas != nil {
		return fmt.Errorf("%s: %s.%s: %w", p.file, p.name, cmp.Or(atlasKeys[key], key), fmt.Errorf(format, args...))
	}
	return p.document.Errorf("profiles."+p.name+"."+key, format, args...)
}

// configFile is the file that keeps the profiles, by the XDG Base Directory Specification.
func (a *app) configFile() (string, error) {
	if file := lookup(a.env, "ATLAS_EXPORT_CONFIG"); file != "" {
		return file, nil
	}
	directory := lookup(a.env, "XDG_CONFIG_HOME")
	if !filepath.IsAbs(directory) { // a relative one counts as not set
		home := lookup(a.env, "HOME")
		if home == "" {
			return "", errors.New("none of ATLAS_EXPORT_CONFIG, XDG_CONFIG_HOME and HOME says where profiles are kept")
		}
		directory = filepath.Join(home, ".config")
	}
	return filepath.Join(directory, "atlas-export", "config.yaml"), nil
}

// readProfiles reads the configuration file. A file that does not exist is no error.
func readProfiles(file string) (p profiles, text []byte, document *strictyaml.Document, err error) {
	text, err = smallfile.Read(file, maxProfiles)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil, nil, nil
	}
	if err != nil {
		return p, nil, nil, err
	}
	text = strictyaml.WithoutMark(text) // writeProfiles reads it with another library
	if document, err = strictyaml.Decode(file, text, &p); err != nil {
		return p, nil, nil, err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.Profiles)) {
		if !profileName.MatchString(name) {
			errs = append(errs, document.Errorf("profiles."+name, "%w", errProfileName))
		}
		for _, key := range slices.Sorted(maps.Keys(p.Profiles[name])) {
			switch {
			case secretFiles[key] != "":
				errs = append(errs, document.Errorf("profiles."+name+"."+key, "a secret has a file of its own; see atlas-export config set -h"))
			case !slices.Contains(keys(), key):
				errs = append(errs, document.Errorf("profiles."+name+"."+key, "unknown key%s", nearest.Hint(key, keys())))
			}
		}
	}
	return p, text, document, errors.Join(errs...)
}

func keys() []string {
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.key
	}
	return keys
}

var (
	profileName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	errProfileName = errors.New("a profile's name has up to 64 letters, digits, hyphens and underscores")
)

const defaultProfile = "default"

// loadProfile reads the profile that the flag, the environment or the file names.
func (a *app) loadProfile(c *cobra.Command) (*profile, error) {
	file, err := a.configFile()
	if err != nil {
		if p := a.choose(c, profiles{}, ""); p.name != defaultProfile {
			return nil, err
		}
		return &profile{name: defaultProfile}, nil // flags and environment may be enough
	}
	all, _, document, err := readProfiles(file)
	if err != nil {
		return nil, err
	}
	if document == nil && lookup(a.env, "ATLAS_EXPORT_CONFIG") != "" {
		return nil, fmt.Errorf("%s, which ATLAS_EXPORT_CONFIG names, does not exist; atlas-export config set creates it", file)
	}
	if document == nil {
		if atlas, err := a.readAtlasProfiles(); err != nil || atlas != nil {
			if err != nil {
				return nil, err
			}
			return atlas.choose(a, c)
		}
	}
	p := a.choose(c, all, file)
	p.values, p.document = all.Profiles[p.name], document
	if p.values == nil && p.name != defaultProfile {
		return nil, fmt.Errorf("%s: there is no profile %q, which comes from %s%s", file, p.name, p.from,
			nearest.Hint(p.name, slices.Sorted(maps.Keys(all.Profiles))))
	}
	return p, nil
}

// allProfiles returns the settings of the profiles that are beside p, by their names.
func (a *app) allProfiles(p *profile) (map[string]map[string]string, error) {
	if p.ofAtlas == nil {
		all, _, _, err := readProfiles(p.file)
		return all.Profiles, err
	}
	all := map[string]map[string]string{}
	for _, name := range p.ofAtlas.names() {
		values, err := p.ofAtlas.values(name)
		if err != nil {
			return nil, err
		}
		all[name] = values
	}
	return all, nil
}

// choose returns the profile to use, without its values.
func (a *app) choose(c *cobra.Command, all profiles, file string) *profile {
	p := &profile{file: file, name: defaultProfile, from: "default"}
	variable := lookup(a.env, "ATLAS_EXPORT_PROFILE")
	switch f := c.Flags().Lookup("profile"); {
	case f.Changed:
		p.name, p.from = f.Value.String(), "flag --profile"
	case variable != "":
		p.name, p.from = variable, "environment ATLAS_EXPORT_PROFILE"
	case all.Current != "":
		p.name, p.from = all.Current, "current"
	}
	return p
}

// maxProfiles is how large the configuration file may be, in bytes.
const maxProfiles = 1 << 20

// writeProfiles replaces the configuration file and keeps its comments. Before is the text of the
// file, which readProfiles must have accepted: the library that finds the comments has no bounds of
// its own. A text that readProfiles would refuse is not written.
func writeProfiles(file string, p profiles, before []byte) error {
	comments := yaml.CommentMap{}
	if len(bytes.TrimSpace(before)) > 0 {
		if err := yaml.UnmarshalWithOptions(before, new(profiles), yaml.CommentToMap(comments)); err != nil {
			return err
		}
	}
	text, err := yaml.MarshalWithOptions(p, yaml.WithComment(comments))
	if err != nil {
		return err
	}
	if len(text) > maxProfiles {
		return &failure{exitInvalid, fmt.Errorf("%s would be larger than %d bytes", file, maxProfiles), ""}
	}
	if _, err := strictyaml.Decode(file, text, new(profiles)); err != nil {
		return &failure{exitInvalid, fmt.Errorf("not written, since it could not be read again: %w", err), ""}
	}
	return writePrivate(file, text)
}

// writePrivate replaces a file atomically by one that only its owner can read.
func writePrivate(file string, content []byte) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // a link stays a link
	}
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() { // such as /dev/null
		return fmt.Errorf("%s is not a regular file", file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".atlas-export-*") // its mode is 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
