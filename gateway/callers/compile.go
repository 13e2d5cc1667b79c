package callers

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/secret"
)

// Compile checks the configuration, reads each file that it names once, and returns the directory
// in which the callers are looked up. It hands everything that is wrong to refuse and then returns
// nil. Paths such as list[0].key_pairs[1].ha1_file are relative to the Config; a format may hold
// %w. No message holds the value of a setting where that could be a secret in the wrong place.
//
// keyMadeUp allows the signing key to be made up when signing_key_file is not set. Such a key is
// lost when the process ends, and no other process knows it: it is for a single process on a
// loopback address.
func Compile(c Config, keyMadeUp bool, refuse func(path, format string, args ...any)) *Directory {
	c.fill()
	d := &Directory{
		settings: c.Settings,
		pairs:    map[hash]keyPair{},
		tokens:   map[hash]staticToken{},
		accounts: map[hash]serviceAccount{},
		known:    map[string][]identity{},
	}
	refused := false
	b := compiler{Directory: d, refuse: func(path, format string, args ...any) {
		refused = true
		refuse(path, format, args...)
	}}
	b.checkSettings()
	b.addIssuers(c.Issuers)
	b.addCallers(c.List)
	b.addSigningKeys(keyMadeUp)
	if refused {
		return nil
	}
	// An HA1 that fits no private key, as long as a real one.
	ha1, err := digestauth.HA1(c.DigestAlgorithm, "", c.Realm, secret.New(rand.Text()))
	if err != nil {
		panic(err) // the algorithm was checked
	}
	d.nobody = keyPair{ha1: ha1}
	return d
}

// CheckName refuses a name that no caller may have.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("is required")
	case !validName.MatchString(name):
		return errors.New("expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit")
	}
	return nil
}

// CheckRealm refuses a realm that not every client can read back from a quoted string.
func CheckRealm(realm string) error {
	if strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return errors.New("expected printable ASCII without quotes and backslashes")
	}
	return nil
}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	validID   = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
)

// A compiler fills a directory that has its settings already.
type compiler struct {
	*Directory
	refuse func(path, format string, args ...any)
	signs  bool // a key was added that needs a signing key

	issuerNames, issuerIDs []string // by their place in the list
}

func (c *compiler) checkSettings() {
	s, refuse := &c.settings, c.refuse
	if err := CheckRealm(s.Realm); err != nil {
		refuse("realm", "%w", err)
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
	for path, value := range map[string]int{"attempts.per_client": s.Attempts.PerClient, "attempts.overall": s.Attempts.Overall} {
		if value < 1 || value > maxAttempts {
			refuse(path, "is %d; expected 1 to %d", value, maxAttempts)
		}
	}
}

// maxAttempts is the most that Attempts may allow in a minute: as good as no limit.
const maxAttempts = 1_000_000

func (c *compiler) addCallers(list []Entry) {
	names := map[string]bool{}
	for i, entry := range list {
		at := fmt.Sprintf("list[%d]", i)
		err := CheckName(entry.Name)
		if err == nil && names[entry.Name] {
			err = fmt.Errorf("another caller has the name %s", entry.Name)
		}
		if err != nil {
			c.refuse(at+".name", "%w", err)
		}
		names[entry.Name] = true
		if len(entry.KeyPairs)+len(entry.Tokens)+len(entry.ServiceAccounts)+len(entry.Identities)+len(entry.Certificates) == 0 {
			c.refuse(at, "the caller has no key: expected key_pairs, tokens, service_accounts, identities or certificates")
		}
		c.signs = c.signs || len(entry.KeyPairs)+len(entry.ServiceAccounts) > 0
		o := c.addOwner(at, entry)
		for j, pair := range entry.KeyPairs {
			c.addKeyPair(o, fmt.Sprintf("%s.key_pairs[%d]", at, j), pair)
		}
		for j, token := range entry.Tokens {
			c.addToken(o, fmt.Sprintf("%s.tokens[%d]", at, j), token)
		}
		for j, account := range entry.ServiceAccounts {
			c.addServiceAccount(o, fmt.Sprintf("%s.service_accounts[%d]", at, j), account, len(entry.Identities) > 0)
		}
		for j, identity := range entry.Identities {
			c.addIdentity(o, fmt.Sprintf("%s.identities[%d]", at, j), identity)
		}
		for j, certificate := range entry.Certificates {
			c.addCertificate(o, fmt.Sprintf("%s.certificates[%d]", at, j), certificate)
		}
	}
}

func (c *compiler) addKeyPair(o *owner, at string, pair KeyPair) {
	id, ok := identifier(c.pairs, pair.PublicKey, at+".public_key", c.refuse)
	ha1, err := readHA1(pair, c.settings.Realm, c.settings.DigestAlgorithm)
	if err != nil {
		c.refuse(at+".ha1_file", "%w", err)
	}
	k := c.addKey(o, at, Digest, pair.PublicKey, pair.Validity)
	if ok && err == nil {
		c.pairs[id] = keyPair{k.caller(), id, ha1}
	}
}

func (c *compiler) addToken(o *owner, at string, token Token) {
	hash, err := parseHash(token.SHA256)
	if _, known := c.tokens[hash]; known && err == nil {
		err = errors.New("another token has the same hash")
	}
	if err != nil {
		c.refuse(at+".sha256", "%w", err)
	}
	k := c.addKey(o, at, StaticToken, hex.EncodeToString(hash[:4]), token.Validity)
	if err == nil {
		c.tokens[hash] = staticToken{k.caller(), hash}
	}
}

// addServiceAccount adds a service account. If its caller has identities, it needs no secret.
func (c *compiler) addServiceAccount(o *owner, at string, account ServiceAccount, hasIdentities bool) {
	id, ok := identifier(c.accounts, account.ClientID, at+".client_id", c.refuse)
	a := serviceAccount{id: id, byJWT: account.SecretSHA256 == "" && hasIdentities, bound: account.BindCertificate}
	var err error
	switch {
	case a.byJWT:
	case account.SecretSHA256 == "":
		err = errors.New("is required, unless the caller has identities: then a token that proves one is the secret")
	default:
		a.secret, err = parseHash(account.SecretSHA256)
	}
	if err != nil {
		c.refuse(at+".secret_sha256", "%w", err)
		ok = false
	}
	a.caller = c.addKey(o, at, AccessToken, account.ClientID, account.Validity).caller()
	if ok {
		c.accounts[id] = a
	}
	if ok && a.byJWT {
		o.accounts = append(o.accounts, a)
		c.exchanges = true
	}
}

func (c *compiler) addSigningKeys(keyMadeUp bool) {
	switch file := c.settings.SigningKeyFile; {
	case file != "":
		keys, err := readSigningKeys(file)
		if err != nil {
			c.refuse("signing_key_file", "%w", err)
		}
		c.keys = keys
	case c.signs && !keyMadeUp:
		c.refuse("signing_key_file", "is required for key pairs and service accounts, unless a single process listens on a loopback address")
	}
}

// identifier returns the hash under which a public key or client id is looked up.
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

// cut returns at most n bytes of s.
func cut(s string, n int) string { return s[:min(len(s), n)] }
