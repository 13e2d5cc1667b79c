package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// credentialPair is where the two halves of a credential are: in files, or in the
// environment.
type credentialPair struct {
	account            bool   // a service account, else an API key
	env                bool   // variables, else files
	nameKey, secretKey string // in the configuration
	name, secret       string // of the file or variable
}

// pairs returns the pairs that a source may give, of which it gives one.
func (s CredentialSource) pairs() []credentialPair {
	return []credentialPair{
		{false, false, "public_key_file", "private_key_file", s.PublicKeyFile, s.PrivateKeyFile},
		{false, true, "public_key_env", "private_key_env", s.PublicKeyEnv, s.PrivateKeyEnv},
		{true, false, "client_id_file", "client_secret_file", s.ClientIDFile, s.ClientSecretFile},
		{true, true, "client_id_env", "client_secret_env", s.ClientIDEnv, s.ClientSecretEnv},
	}
}

// pair returns the pair that the source gives.
func (s CredentialSource) pair() credentialPair {
	for _, pair := range s.pairs() {
		if pair.name != "" {
			return pair
		}
	}
	return credentialPair{}
}

// read reads both halves as they are now. Its errors hold neither.
func (p credentialPair) read(getenv func(string) string) (name string, private secret.Secret, err error) {
	if name, err = p.readHalf(p.name, getenv); err != nil {
		return "", secret.Secret{}, err
	}
	revealed, err := p.readHalf(p.secret, getenv)
	return name, secret.New(revealed), err
}

// readHalf reads one half of a credential from a file or a variable, where it stands alone
// but for white space around it.
func (p credentialPair) readHalf(place string, getenv func(string) string) (string, error) {
	var content string
	if p.env {
		if !variableName.MatchString(place) {
			return "", errors.New("expected the name of an environment variable, not a key")
		}
		content = getenv(place)
		if content == "" {
			// Keys may be capitals and digits, as names are, and have no underscore.
			if strings.Contains(place, "_") {
				return "", fmt.Errorf("the environment variable %s is not set", place)
			}
			return "", errors.New("the environment variable is not set")
		}
	} else {
		bytes, err := smallfile.Read(place, maxKey)
		if err != nil {
			return "", unnamed(err)
		}
		content = string(bytes)
	}
	half := strings.TrimSpace(content)
	if half == "" || strings.ContainsFunc(half, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("the file or variable must hold a key and nothing else")
	}
	return half, nil
}

// variableName is what the names of environment variables look like, and keys do not.
var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// unnamed takes the file's name out of an error: whoever puts a secret where its file's name
// belongs should not find it in a log. The error's own place says which setting it is.
func unnamed(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return fmt.Errorf("the file can't be read: %w", named.Err)
	}
	return err
}
