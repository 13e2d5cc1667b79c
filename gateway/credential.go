package gateway

import (
	"fmt"
	"os"
	"strings"

	"atlas-export-gateway/digestauth"
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

// read reads both halves as they are now. Its errors name files and no content.
func (p credentialPair) read(environ []string) (name string, secret digestauth.Secret, err error) {
	read := readKey
	if p.env {
		read = func(variable string) (string, error) { return lookup(environ, variable), nil }
	}
	if name, err = read(p.name); err != nil {
		return "", digestauth.Secret{}, err
	}
	revealed, err := read(p.secret)
	return name, digestauth.NewSecret(revealed), err
}

// readKey reads a file that holds one half of a credential.
func readKey(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(content))
	if key == "" || strings.ContainsAny(key, " \t\r\n\x00") {
		return "", fmt.Errorf("%s must hold a key and nothing else", file)
	}
	return key, nil
}
