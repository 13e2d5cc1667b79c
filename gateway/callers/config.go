package callers

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// DefaultRealm is the realm of Atlas's own challenges.
const DefaultRealm = "MMS Public API"

// Config is who may call, and how callers are known.
type Config struct {
	Settings `yaml:",inline"`
	// List has an entry for each caller.
	List []Entry `yaml:"list"`
}

// Settings are those that all callers share. The zero value of a setting means its default.
type Settings struct {
	// Realm of the challenges, for which the HA1 files were made. Default [DefaultRealm].
	Realm string `yaml:"realm"`
	// DigestAlgorithm is MD5 or SHA-256. Default MD5, as Atlas; some clients know no other.
	DigestAlgorithm string `yaml:"digest_algorithm"`
	// SigningKeyFile holds the key that signs nonces and access tokens, of at least 32 bytes, in
	// base64; on a second line, optionally, another that is accepted too. See [NewSigningKey].
	// Without a file a key is made up, where that is allowed: see [Options].
	SigningKeyFile string `yaml:"signing_key_file"`
	// TokenLifetime is that of access tokens, from 1m to 24h. Default 1h.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// NonceLifetime is that of Digest nonces, from 10s to 1h. Default 5m.
	NonceLifetime time.Duration `yaml:"nonce_lifetime"`
	// Attempts bound the use of the token endpoint.
	Attempts Attempts `yaml:"attempts"`
}

// Attempts are how many requests a minute the token and revoke endpoints answer, in each
// process; more get 429. Those with a right secret and those with a wrong one are counted apart,
// so that nobody is locked out by what others try.
type Attempts struct {
	// PerClient is for one client id. Default 10, as at Atlas.
	PerClient int `yaml:"per_client"`
	// Overall is for all of them. Default 300.
	Overall int `yaml:"overall"`
}

// Entry is one caller: a name and at least one key. Keys are rotated by adding the new one
// before the old one is removed.
type Entry struct {
	// Name is what the caller is called in policies and logs: up to 64 letters, digits, dots,
	// hyphens and underscores.
	Name string `yaml:"name"`
	// KeyPairs are for Digest and Basic.
	KeyPairs []KeyPair `yaml:"key_pairs,omitempty"`
	// Tokens are static bearer tokens.
	Tokens []Token `yaml:"tokens,omitempty"`
	// ServiceAccounts are for the token endpoint.
	ServiceAccounts []ServiceAccount `yaml:"service_accounts,omitempty"`
}

// KeyPair is what is kept of a key pair. See [NewKeyPair].
type KeyPair struct {
	PublicKey string `yaml:"public_key"`
	// HA1File has the lines MD5:<hex> and SHA-256:<hex>, of which the one for the configured
	// digest algorithm is required. Its content is a secret.
	HA1File string `yaml:"ha1_file"`
}

// Token is what is kept of a static bearer token. See [NewToken].
type Token struct {
	// SHA256 is the hash of the token, in hexadecimal digits.
	SHA256 string `yaml:"sha256"`
}

// ServiceAccount is what is kept of a service account. See [NewServiceAccount].
type ServiceAccount struct {
	ClientID string `yaml:"client_id"`
	// SecretSHA256 is the hash of the client secret, in hexadecimal digits.
	SecretSHA256 string `yaml:"secret_sha256"`
}

// Check reports everything that is wrong with the configuration, and with the files that it
// names, to refuse; as [New] would. Paths such as list[0].key_pairs[1].ha1_file are relative
// to the Config; a format may hold %w. keyMadeUp says whether signing_key_file may be missing.
// No message holds what a setting was set to where that could be a secret in the wrong place.
func (c Config) Check(keyMadeUp bool, refuse func(path, format string, args ...any)) {
	c.load(keyMadeUp, refuse)
}

func (s *Settings) fill() {
	fill(&s.Realm, DefaultRealm)
	fill(&s.DigestAlgorithm, digestauth.MD5)
	fill(&s.TokenLifetime, time.Hour)
	fill(&s.NonceLifetime, 5*time.Minute)
	fill(&s.Attempts.PerClient, 10)
	fill(&s.Attempts.Overall, 300)
}

func fill[T comparable](setting *T, value T) {
	if *setting == *new(T) {
		*setting = value
	}
}

func (s *Settings) check(refuse func(path, format string, args ...any)) {
	// What every client reads back from within quotes.
	if strings.ContainsFunc(s.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		refuse("realm", "expected printable ASCII without quotes and backslashes")
	}
	switch s.DigestAlgorithm {
	case digestauth.MD5, digestauth.SHA256:
	default:
		allowed := []string{digestauth.MD5, digestauth.SHA256}
		refuse("digest_algorithm", "is %q; expected one of %s%s", s.DigestAlgorithm, strings.Join(allowed, ", "), nearest.Hint(s.DigestAlgorithm, allowed))
	}
	if s.TokenLifetime < time.Minute || s.TokenLifetime > 24*time.Hour {
		refuse("token_lifetime", "is %s; expected 1m to 24h", s.TokenLifetime)
	}
	if s.NonceLifetime < 10*time.Second || s.NonceLifetime > time.Hour {
		refuse("nonce_lifetime", "is %s; expected 10s to 1h", s.NonceLifetime)
	}
	if s.Attempts.PerClient < 1 {
		refuse("attempts.per_client", "is %d; expected at least 1", s.Attempts.PerClient)
	}
	if s.Attempts.Overall < 1 {
		refuse("attempts.overall", "is %d; expected at least 1", s.Attempts.Overall)
	}
}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	validID   = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
)

// load checks the configuration and turns it into what is looked up. What was refused is
// missing from it.
func (c Config) load(keyMadeUp bool, refuse func(path, format string, args ...any)) directory {
	c.fill()
	c.check(refuse)
	d := newDirectory(c.Settings)
	names := map[string]bool{}
	signing := false
	for i, entry := range c.List {
		at := fmt.Sprintf("list[%d]", i)
		switch {
		case entry.Name == "":
			refuse(at+".name", "is required")
		case !validName.MatchString(entry.Name):
			refuse(at+".name", "expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit")
		case names[entry.Name]:
			refuse(at+".name", "another caller has the name %s", entry.Name)
		}
		names[entry.Name] = true
		if len(entry.KeyPairs)+len(entry.Tokens)+len(entry.ServiceAccounts) == 0 {
			refuse(at, "the caller has no key: expected key_pairs, tokens or service_accounts")
		}
		signing = signing || len(entry.KeyPairs)+len(entry.ServiceAccounts) > 0
		for j, pair := range entry.KeyPairs {
			at := fmt.Sprintf("%s.key_pairs[%d]", at, j)
			id, ok := identifier(d.pairs, pair.PublicKey, at+".public_key", refuse)
			ha1, err := readHA1(pair.HA1File, c.DigestAlgorithm)
			if err != nil {
				refuse(at+".ha1_file", "%w", err)
			}
			if ok && err == nil {
				d.pairs[id] = keyPair{Caller{entry.Name, Digest, pair.PublicKey}, id, ha1}
			}
		}
		for j, token := range entry.Tokens {
			at := fmt.Sprintf("%s.tokens[%d].sha256", at, j)
			hash, err := parseHash(token.SHA256)
			if _, known := d.tokens[hash]; known && err == nil {
				err = errors.New("another token has the same hash")
			}
			if err != nil {
				refuse(at, "%w", err)
				continue
			}
			d.tokens[hash] = staticToken{Caller{entry.Name, StaticToken, hex.EncodeToString(hash[:4])}, hash}
		}
		for j, account := range entry.ServiceAccounts {
			at := fmt.Sprintf("%s.service_accounts[%d]", at, j)
			id, ok := identifier(d.accounts, account.ClientID, at+".client_id", refuse)
			hash, err := parseHash(account.SecretSHA256)
			if err != nil {
				refuse(at+".secret_sha256", "%w", err)
			}
			if ok && err == nil {
				d.accounts[id] = serviceAccount{Caller{entry.Name, AccessToken, account.ClientID}, id, hash}
			}
		}
	}
	switch {
	case c.SigningKeyFile != "":
		keys, err := readSigningKeys(c.SigningKeyFile)
		if err != nil {
			refuse("signing_key_file", "%w", err)
		}
		d.keys = keys
	case signing && !keyMadeUp:
		refuse("signing_key_file", "is required for key pairs and service accounts, unless a single process listens on a loopback address")
	}
	return d
}

// identifier returns the hash that a public key or client id is looked up by.
func identifier[V any](known map[hash]V, id, at string, refuse func(path, format string, args ...any)) (hash, bool) {
	h := hashOf(id)
	switch _, twice := known[h]; {
	case id == "":
		refuse(at, "is required")
	case !validID.MatchString(id):
		refuse(at, "expected up to 128 letters, digits, dots, hyphens, underscores and tildes")
	case twice:
		refuse(at, "occurs twice")
	default:
		return h, true
	}
	return h, false
}

func parseHash(digits string) (h hash, err error) {
	if n, err := hex.Decode(h[:], []byte(cut(digits, 2*len(h)+1))); err != nil || n != len(h) || len(digits) != 2*len(h) {
		return hash{}, errors.New("expected a SHA-256 hash, 64 hexadecimal digits")
	}
	return h, nil
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// readHA1 returns the HA1 of the algorithm from a file.
func readHA1(file, algorithm string) (secret.Secret, error) {
	lines, err := readLines(file)
	if err != nil {
		return secret.Secret{}, err
	}
	found := map[string]string{}
	for i, line := range lines {
		name, digits, _ := strings.Cut(line, ":")
		size := map[string]int{digestauth.MD5: 16, digestauth.SHA256: 32}[name]
		decoded, err := hex.DecodeString(digits)
		switch {
		case err != nil || size == 0 || len(decoded) != size:
			return secret.Secret{}, fmt.Errorf("the file's line %d is neither MD5:<32 hexadecimal digits> nor SHA-256:<64 hexadecimal digits>", i+1)
		case found[name] != "":
			return secret.Secret{}, fmt.Errorf("the file has a second line for %s", name)
		}
		found[name] = strings.ToLower(digits)
	}
	if found[algorithm] == "" {
		return secret.Secret{}, fmt.Errorf("the file has no line for the digest algorithm, %s", algorithm)
	}
	return secret.New(found[algorithm]), nil
}

// minKey is how long a signing key is at least, in bytes: as long as what HMAC-SHA-256
// returns (RFC 7518, section 3.2).
const minKey = 32

func readSigningKeys(file string) ([]signingKey, error) {
	lines, err := readLines(file)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || len(lines) > 2 {
		return nil, fmt.Errorf("the file has %d lines; expected the current key and, below it, at most one more", len(lines))
	}
	var keys []signingKey
	for i, line := range lines {
		key, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(key) < minKey {
			return nil, fmt.Errorf("the file's line %d is not base64 of at least %d bytes", i+1, minKey)
		}
		keys = append(keys, newSigningKey(key))
	}
	return keys, nil
}

// maxFile bounds the files that hold keys, in bytes.
const maxFile = 16 << 10

// readLines returns the lines of a file that are not empty. Its errors hold neither its content
// nor its name, in whose place somebody may have written the secret itself.
func readLines(file string) ([]string, error) {
	if file == "" {
		return nil, errors.New("is required")
	}
	content, err := smallfile.Read(file, maxFile)
	if err == nil {
		var lines []string
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		return lines, nil
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return nil, fmt.Errorf("the file can't be read: %w", err)
}
