package config

import (
	"maps"
	"os"
	"slices"
	"strings"

	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/internal/strictyaml"
)

// A Source is where a configuration comes from: a file and an environment. It is for one goroutine
// at a time.
type Source struct {
	file    string
	environ []string

	read  map[string]state // the files that the last Load read, as they were just before
	last  map[string]state // as the last Changed found them
	named []string         // the files that the last configuration names which could be parsed
}

// NewSource returns a Source for a file and an environment in the form of os.Environ. It reads
// nothing. Without a file (an empty name) there are only the environment and the defaults, and the
// API key is expected in MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY.
func NewSource(file string, environ []string) *Source {
	return &Source{file: file, environ: slices.Clone(environ)}
}

// Load loads a configuration once; see [Source.Load].
func Load(file string, environ []string) (*Parts, error) { return NewSource(file, environ).Load() }

// Load reads the configuration file, overrides it from the environment, and builds it as [Build]
// does. It reads each file once. An error names file, line and key, or the variable.
func (s *Source) Load() (*Parts, error) {
	s.read = map[string]state{}
	defer func() {
		for _, file := range s.named {
			if _, ok := s.read[file]; !ok { // Load has failed before it knew the files
				s.read[file] = stateOf(file)
			}
		}
		s.last = s.read
	}()
	var (
		c     Config
		where places
	)
	if s.file == "" {
		c.Upstream.Credentials = []CredentialSource{{PublicKeyEnv: "MONGODB_ATLAS_PUBLIC_API_KEY", PrivateKeyEnv: "MONGODB_ATLAS_PRIVATE_API_KEY"}}
	} else {
		s.read[s.file] = stateOf(s.file)
		data, err := smallfile.Read(s.file, maxFile)
		if err != nil {
			return nil, err
		}
		if where.document, err = strictyaml.Decode(s.file, data, &c); err != nil {
			return nil, err
		}
	}
	if err := c.override(s.environ, &where); err != nil {
		return nil, err
	}
	s.named = c.files()
	for _, file := range s.named {
		s.read[file] = stateOf(file)
	}
	return build(c, where, s.getenv)
}

// getenv is os.Getenv for the environment of the Source.
func (s *Source) getenv(name string) string {
	for _, variable := range slices.Backward(s.environ) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// Changed reports whether a file that the last Load read has changed since, and is no longer being
// written: two calls of Changed in a row have then found all files the same. Where the last Load
// could not parse the configuration, these are the files of the one before: a certificate is
// renewed whatever the rest of the configuration says.
func (s *Source) Changed() bool {
	now := make(map[string]state, len(s.read))
	for file := range s.read {
		now[file] = stateOf(file)
	}
	settled := maps.EqualFunc(now, s.last, state.same)
	s.last = now
	return settled && !maps.EqualFunc(now, s.read, state.same)
}

// state tells that a file has changed, its mode and its owner included. The zero state is that of
// a missing file.
type state struct{ info os.FileInfo }

func stateOf(file string) state {
	info, err := os.Stat(file)
	if err != nil {
		return state{}
	}
	return state{info}
}

func (s state) same(t state) bool {
	if s.info == nil || t.info == nil {
		return s.info == t.info
	}
	return os.SameFile(s.info, t.info) && s.info.ModTime().Equal(t.info.ModTime()) && s.info.Size() == t.info.Size() &&
		s.info.Mode() == t.info.Mode() && owner(s.info) == owner(t.info)
}

// files are those that the configuration names.
func (c *Config) files() (files []string) {
	named := []string{c.Listener.TLSCertFile, c.Listener.TLSKeyFile, c.Listener.ClientCAFile, c.Upstream.CAFile, c.Upstream.ProxyUserFile, c.Upstream.ProxyPasswordFile, c.Upstream.ProxyCAFile, c.Callers.SigningKeyFile, c.Tracing.CAFile, c.Tracing.HeadersFile}
	for _, source := range c.Upstream.Credentials {
		named = append(named, source.PublicKeyFile, source.PrivateKeyFile, source.ClientIDFile, source.ClientSecretFile)
	}
	for _, issuer := range c.Callers.Issuers {
		named = append(named, issuer.JWKSFile, issuer.CAFile)
	}
	for _, caller := range c.Callers.List {
		for _, pair := range caller.KeyPairs {
			named = append(named, pair.HA1File)
		}
	}
	return slices.DeleteFunc(named, func(file string) bool { return file == "" })
}
