package gatewaytest

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"

	"github.com/goccy/go-yaml"
)

// Caller is a caller of a gateway, with a key of each kind.
type Caller struct {
	// Name is the caller's name.
	Name string
	// Pair, Account and Token are the keys, with their secrets.
	Pair, Account, Token callers.Issued
	// Entry is what the configuration holds of the keys.
	Entry callers.Entry
	// YAML is the caller as an element of callers.list, with the grants.
	YAML string

	grants string
}

// Issue makes the keys of a caller, and a file for what Digest needs of the key pair. The grants
// are a list in YAML, on one line.
func Issue(t testing.TB, name, grants string) *Caller {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".ha1")
	c := &Caller{Name: name, Pair: callers.NewKeyPair(name, "", file), Account: callers.NewServiceAccount(name), Token: callers.NewToken(name), grants: grants}
	WriteFile(t, file, c.Pair.HA1File.Reveal())
	KeepSecret(t, "the private key of "+name, c.Pair.Secret.Reveal())
	KeepSecret(t, "the client secret of "+name, c.Account.Secret.Reveal())
	KeepSecret(t, "the token of "+name, c.Token.Secret.Reveal())
	c.Entry = c.Pair.Entry
	c.Entry.ServiceAccounts, c.Entry.Tokens = c.Account.Entry.ServiceAccounts, c.Token.Entry.Tokens
	c.write(t)
	return c
}

// Change returns the caller with another entry in the configuration: the validity of each of its
// keys is replaced, and then the entry is changed by a function.
func (c *Caller) Change(t testing.TB, v callers.Validity, change func(*callers.Entry)) *Caller {
	t.Helper()
	changed := *c
	pair, token, account := c.Entry.KeyPairs[0], c.Entry.Tokens[0], c.Entry.ServiceAccounts[0]
	pair.Validity, token.Validity, account.Validity = v, v, v
	changed.Entry.KeyPairs, changed.Entry.Tokens, changed.Entry.ServiceAccounts = []callers.KeyPair{pair}, []callers.Token{token}, []callers.ServiceAccount{account}
	if change != nil {
		change(&changed.Entry)
	}
	changed.write(t)
	return &changed
}

// write writes the caller as an element of callers.list.
func (c *Caller) write(t testing.TB) {
	t.Helper()
	text, err := yaml.Marshal([]callers.Entry{c.Entry})
	if err != nil {
		t.Fatal(err)
	}
	c.YAML = "  " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  ") + "\n    grants: " + c.grants + "\n"
}

// Bearer returns the Authorization field with the caller's token.
func (c *Caller) Bearer() string { return "Bearer " + c.Token.Secret.Reveal() }

// Basic returns an Authorization field of the scheme Basic.
func Basic(id, secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}
