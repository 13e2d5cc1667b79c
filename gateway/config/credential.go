package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/invisible"
	"atlas-export-gateway/internal/objectid"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// credentialPair is where the two halves of a credential are: in files, or in the
// environment.
type credentialPair struct {
	account           bool   // a service account, otherwise an API key
	env               bool   // variables, otherwise files
	idKey, secretKey  string // in the configuration
	idPlace, keyPlace string // file or variable of each half
}

// pairs returns the pairs that a source may name. It must name one of them.
func (s CredentialSource) pairs() []credentialPair {
	return []credentialPair{
		{false, false, "public_key_file", "private_key_file", s.PublicKeyFile, s.PrivateKeyFile},
		{false, true, "public_key_env", "private_key_env", s.PublicKeyEnv, s.PrivateKeyEnv},
		{true, false, "client_id_file", "client_secret_file", s.ClientIDFile, s.ClientSecretFile},
		{true, true, "client_id_env", "client_secret_env", s.ClientIDEnv, s.ClientSecretEnv},
	}
}

// credential checks the credential at a path and reads it.
func (b *builder) credential(at string, s CredentialSource) atlas.Credential {
	for i, group := range s.Groups {
		if err := policy.CheckGroups(group); err != nil {
			b.refuse(fmt.Sprintf("%s.groups[%d]", at, i), "%w", err)
		}
	}
	c := atlas.Credential{Name: at, Groups: s.Groups}
	var named []credentialPair
	for _, pair := range s.pairs() {
		if pair.idPlace != "" || pair.keyPlace != "" {
			named = append(named, pair)
		}
	}
	switch {
	case len(named) != 1:
		b.refuse(at, "expected one pair of public_key_file and private_key_file, public_key_env and private_key_env, client_id_file and client_secret_file, or client_id_env and client_secret_env")
		return c
	case named[0].idPlace == "" || named[0].keyPlace == "":
		b.refuse(at, "expected both %s and %s", named[0].idKey, named[0].secretKey)
		return c
	}
	pair, getenv := named[0], b.getenv
	c.Account = pair.account
	c.Place = fmt.Sprintf("%t %q %q", pair.env, pair.idPlace, pair.keyPlace)
	c.Read = func() (string, secret.Secret, error) {
		id, err := pair.read(pair.idPlace, getenv)
		if err != nil {
			return "", secret.Secret{}, err
		}
		half, err := pair.read(pair.keyPlace, getenv)
		return id, secret.New(half), err
	}
	id, err := pair.read(pair.idPlace, getenv)
	if err != nil {
		b.refuse(at+"."+pair.idKey, "%w", err)
	}
	half, err := pair.read(pair.keyPlace, getenv)
	if err != nil {
		b.refuse(at+"."+pair.secretKey, "%w", err)
	}
	if !pair.env {
		b.warnOfMode(at+"."+pair.secretKey, pair.keyPlace)
	}
	c.ID, c.Secret = id, secret.New(half)
	return c
}

// warnOfUnused warns of each credential that never signs, since others before it are for all of its
// groups.
func (b *builder) warnOfUnused(credentials []CredentialSource) {
	var before []string
	taken := func(group string) bool {
		return slices.ContainsFunc(before, func(pattern string) bool {
			matched, _ := path.Match(pattern, group)
			return pattern == "*" || pattern == group || matched && objectid.Valid(group)
		})
	}
	for i, s := range credentials {
		groups := s.Groups
		if len(groups) == 0 {
			groups = []string{"*"}
		}
		if !slices.ContainsFunc(groups, func(group string) bool { return !taken(group) }) {
			b.warn(fmt.Sprintf("upstream.credentials[%d]", i), "never signs: the first credential that matches does, and those before it are for the same groups; name the narrower one first")
		}
		before = append(before, groups...)
	}
}

// read reads one half of a credential from a file or a variable, which holds that half and nothing
// else except white space. The error holds neither the half nor the file's name.
func (p credentialPair) read(place string, getenv func(string) string) (string, error) {
	var text string
	if p.env {
		if !variableName.MatchString(place) {
			return "", errors.New("expected the name of an environment variable, not a key")
		}
		text = getenv(place)
		if text == "" {
			// A key may be capitals and digits, as names are, but has no underscore.
			if strings.Contains(place, "_") {
				return "", fmt.Errorf("the environment variable %s is not set", place)
			}
			return "", errors.New("the environment variable is not set")
		}
	} else {
		bytes, err := smallfile.Read(place, maxKey)
		if err != nil {
			return "", smallfile.WithoutName(err)
		}
		text = string(bytes)
	}
	half := strings.TrimSpace(text)
	const nothingElse = "the file or variable must hold a key and nothing else"
	if hidden := invisible.In(half); hidden != "" {
		return "", errors.New(nothingElse + "; it holds " + hidden)
	}
	if half == "" || strings.ContainsFunc(half, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New(nothingElse)
	}
	return half, nil
}

// variableName is what the names of environment variables look like, and keys do not.
var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
