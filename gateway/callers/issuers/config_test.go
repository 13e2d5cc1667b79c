package issuers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/issuertest"

	"github.com/google/go-cmp/cmp"
)

// refusals returns what Compile refuses, sorted.
func refusals(t testing.TB, list ...issuers.Config) (all []string) {
	t.Helper()
	s := issuers.Compile(list, []string{"own"}, func(path, format string, args ...any) {
		all = append(all, path+": "+fmt.Errorf(format, args...).Error())
	})
	if (s == nil) != (len(all) > 0) {
		t.Errorf("%d mistakes, and the set is %v", len(all), s)
	}
	slices.Sort(all)
	return all
}

// Every mistake of a configuration is refused, and named by its setting.
func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := issuers.Config{Name: "a", Issuer: "https://ci.example.com", Audiences: []string{"a"}, Algorithms: []string{"ES256", "RS256"}}
	keys := write("keys", issuertest.JWKS(issuertest.NewKey(t, "a", "ES256")))
	const loopback = "begins with http://, which is only for loopback: whoever is on the way could send other keys"
	for name, test := range map[string]struct {
		change func(c *issuers.Config)
		want   []string
	}{
		"nothing":    {func(*issuers.Config) {}, nil},
		"a file":     {func(c *issuers.Config) { c.Issuer, c.JWKSFile = "kubernetes/serviceaccount", keys }, nil},
		"http":       {func(c *issuers.Config) { c.JWKSURL = "http://127.0.0.1:80/keys" }, nil},
		"everything": {func(c *issuers.Config) { *c = issuers.Config{} }, []string{"[0].algorithms: is required", "[0].audiences: is required", "[0].issuer: expected the claim iss, of 1 to 1024 bytes", "[0].issuer: is not a URL that begins with https://", "[0].name: expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit"}},
		"a name":     {func(c *issuers.Config) { c.Name = "a:b" }, []string{"[0].name: expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit"}},
		"our own":    {func(c *issuers.Config) { c.Issuer, c.JWKSFile = "own", keys }, []string{"[0].issuer: is the gateway's own"}},
		"algorithms": {func(c *issuers.Config) { c.Algorithms = []string{"none", "HS256", "RS265", "rs256"} }, []string{
			"[0].algorithms[0]: is \"none\"; expected one of ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512",
			"[0].algorithms[1]: is \"HS256\"; expected one of ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512; did you mean ES256?",
			"[0].algorithms[2]: is \"RS265\"; expected one of ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512; did you mean RS256?",
			"[0].algorithms[3]: is \"rs256\"; expected one of ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512; did you mean RS256?",
		}},
		"empty texts": {func(c *issuers.Config) {
			c.Audiences, c.Types, c.AuthorizedParties = []string{""}, []string{"a", ""}, []string{strings.Repeat("a", 1025)}
		}, []string{"[0].audiences[0]: expected 1 to 1024 bytes", "[0].authorized_parties[0]: expected 1 to 1024 bytes", "[0].types[1]: expected 1 to 1024 bytes"}},
		"discovery by http":       {func(c *issuers.Config) { c.Issuer = "http://ci.example.com" }, []string{"[0].issuer: " + loopback}},
		"keys by http":            {func(c *issuers.Config) { c.JWKSURL = "http://10.0.0.1/keys" }, []string{"[0].jwks_url: " + loopback}},
		"a key in the URL":        {func(c *issuers.Config) { c.JWKSURL = "https://u:c4na7y@ci.example.com/" }, []string{"[0].jwks_url: holds user information"}},
		"a fragment":              {func(c *issuers.Config) { c.JWKSURL = "https://ci.example.com/#a" }, []string{"[0].jwks_url: has a fragment"}},
		"metadata":                {func(c *issuers.Config) { c.JWKSURL = "https://169.254.169.254/keys" }, []string{"[0].jwks_url: has a link-local address, where no issuer is"}},
		"another scheme":          {func(c *issuers.Config) { c.JWKSURL = "file:///etc/passwd" }, []string{"[0].jwks_url: is not a URL that begins with https://"}},
		"a proxy":                 {func(c *issuers.Config) { c.ProxyURL = "http://u:c4na7y@proxy" }, []string{"[0].proxy_url: holds user information; keys belong in files or the environment"}},
		"a proxy that is none":    {func(c *issuers.Config) { c.ProxyURL = "http://169.254.169.254" }, []string{"[0].proxy_url: a link-local address is never a proxy"}},
		"no CA":                   {func(c *issuers.Config) { c.CAFile = keys }, []string{"[0].ca_file: the file holds no PEM certificate"}},
		"no file":                 {func(c *issuers.Config) { c.JWKSFile = filepath.Join(dir, "none") }, []string{"[0].jwks_file: the file can't be read: no such file or directory"}},
		"no keys":                 {func(c *issuers.Config) { c.JWKSFile = write("empty", `{"keys":[]}`) }, []string{"[0].jwks_file: the set has no key for the algorithms"}},
		"no set":                  {func(c *issuers.Config) { c.JWKSFile = write("text", "c4na7y") }, []string{"[0].jwks_file: the keys are not a JWK Set: expected strict JSON, an object with a list called keys"}},
		"keys of another kind":    {func(c *issuers.Config) { c.JWKSFile, c.Algorithms = keys, []string{"RS256"} }, []string{"[0].jwks_file: the set has no key for the algorithms"}},
		"weak keys":               {func(c *issuers.Config) { c.JWKSFile = write("weak", issuertest.JWKS(weakKey(t))) }, []string{"[0].jwks_file: the set has no key for the algorithms; one is an RSA key of 1024 bits; expected 2048 at least"}},
		"a file with what is not": {func(c *issuers.Config) { c.JWKSFile, c.JWKSURL, c.CAFile, c.ProxyURL = keys, "a", "b", "c" }, []string{"[0].ca_file: is for keys that are fetched; there is a jwks_file", "[0].jwks_url: is for keys that are fetched; there is a jwks_file", "[0].proxy_url: is for keys that are fetched; there is a jwks_file"}},
		"keys that do not last":   {func(c *issuers.Config) { c.Refresh, c.Keep = time.Hour, time.Minute }, []string{"[0].keep: is shorter than refresh, so that there would be no keys between two fetches"}},
	} {
		c := good
		test.change(&c)
		got := refusals(t, c)
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if strings.Contains(strings.Join(got, ""), "c4na7y") {
			t.Errorf("%s: a secret is in the refusal", name)
		}
	}
	same, other := good, good
	other.Name = "b"
	if d := cmp.Diff([]string{"[1].issuer: another issuer of the list has it", "[1].name: another issuer has the name a", "[2].issuer: another issuer of the list has it"}, refusals(t, good, same, other)); d != "" {
		t.Error(d)
	}
}

// Each time has a range, and 0 is the default.
func TestTimesAreBounded(t *testing.T) {
	t.Parallel()
	c := issuers.Config{Name: "a", Issuer: "https://ci.example.com", Audiences: []string{"a"}, Algorithms: []string{"RS256"}}
	for name, test := range map[string]struct {
		set         func(c *issuers.Config, d time.Duration)
		least, most time.Duration
		named       string
	}{
		"refresh":              {func(c *issuers.Config, d time.Duration) { c.Refresh = d; c.Keep = 720 * time.Hour }, time.Second, 24 * time.Hour, "1s to 24h"},
		"keep":                 {func(c *issuers.Config, d time.Duration) { c.Refresh = time.Second; c.Keep = d }, time.Second, 720 * time.Hour, "1s to 720h"},
		"unknown_key_interval": {func(c *issuers.Config, d time.Duration) { c.UnknownKeyInterval = d }, time.Second, 24 * time.Hour, "1s to 24h"},
		"max_lifetime":         {func(c *issuers.Config, d time.Duration) { c.MaxLifetime = d }, time.Second, 720 * time.Hour, "1s to 720h"},
		"leeway":               {func(c *issuers.Config, d time.Duration) { c.Leeway = d }, time.Millisecond, 5 * time.Minute, "1ms to 5m"},
	} {
		for _, d := range []time.Duration{0, test.least, test.most, test.least - 1, test.most + 1, -1} {
			c := c
			test.set(&c, d)
			got := strings.Join(refusals(t, c), "")
			if bad := d != 0 && (d < test.least || d > test.most); bad != strings.Contains(got, "[0]."+name+": is "+d.String()+"; expected "+test.named) || !bad && got != "" {
				t.Errorf("%s of %s: %q", name, d, got)
			}
		}
	}
}
