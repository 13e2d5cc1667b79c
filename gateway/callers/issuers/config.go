package issuers

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/internal/smallfile"
)

// Config says which tokens of an issuer are accepted, and where its keys are. The zero value of a
// setting that is not required means its default.
type Config struct {
	// Name is what the list of callers, the log and the metrics call the issuer: up to 64 letters,
	// digits, dots, hyphens and underscores. Required.
	Name string `yaml:"name"`
	// Issuer is the claim iss of its tokens, to the letter. Required. Without JWKSFile and JWKSURL it
	// is a URL, below which the issuer's discovery document is (/.well-known/openid-configuration).
	Issuer string `yaml:"issuer"`
	// Audiences are those of which a token's aud must name one. Required.
	Audiences []string `yaml:"audiences"`
	// Algorithms are those that a token may be signed with: RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512 or EdDSA. Required.
	Algorithms []string `yaml:"algorithms"`
	// JWKSFile is a file with the issuer's keys (RFC 7517, section 5). It is read again when it
	// changes.
	JWKSFile string `yaml:"jwks_file"`
	// JWKSURL is where the keys are fetched, instead of where the discovery document says. http is
	// only for loopback.
	JWKSURL string `yaml:"jwks_url"`
	// CAFile is a PEM file of certificate authorities to trust instead of the system's when keys are
	// fetched, also for an https proxy.
	CAFile string `yaml:"ca_file"`
	// ProxyURL is scheme, host and port of the HTTP proxy that keys are fetched through; http or
	// https. No proxy of the environment is used. Default none.
	ProxyURL string `yaml:"proxy_url"`
	// Refresh is how often keys are fetched, from 1s to 24h. Default 15m.
	Refresh time.Duration `yaml:"refresh"`
	// Keep is how long keys are used that could not be fetched again, from 1s to 720h, and at least
	// Refresh. Default 24h.
	Keep time.Duration `yaml:"keep"`
	// UnknownKeyInterval is the time in which tokens with keys that nobody knows cause one fetch at
	// most, from 1s to 24h. Default 1m.
	UnknownKeyInterval time.Duration `yaml:"unknown_key_interval"`
	// MaxLifetime bounds the time from a token's iat to its exp, or from now where it has no iat,
	// from 1s to 720h. Default 24h.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// Leeway is how far the issuer's clock may be ahead or behind, from 1ms to 5m. Default 30s.
	Leeway time.Duration `yaml:"leeway"`
	// Types are what a token's typ may be, in any case. Default anything.
	Types []string `yaml:"types"`
	// AuthorizedParties are what a token's azp may be. Default anything.
	AuthorizedParties []string `yaml:"authorized_parties"`
}

// fill sets what is zero to its default.
func (c *Config) fill() {
	c.Refresh = cmp.Or(c.Refresh, 15*time.Minute)
	c.Keep = cmp.Or(c.Keep, max(24*time.Hour, c.Refresh))
	c.UnknownKeyInterval = cmp.Or(c.UnknownKeyInterval, time.Minute)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, 24*time.Hour)
	c.Leeway = cmp.Or(c.Leeway, 30*time.Second)
}

// A Set has the issuers of one configuration. It does not change.
type Set struct {
	list []*issuer
	byID map[string]*issuer // by their iss
}

// issuer is one of a Set.
type issuer struct {
	Config
	source source // of keys that are fetched
	keys   *keys  // of the file; nil where they are fetched
}

// Empty reports whether there are no issuers.
func (s *Set) Empty() bool { return len(s.list) == 0 }

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Limits of what is configured and fetched.
const (
	maxText = 1 << 10   // of a setting, in bytes
	maxJWKS = 256 << 10 // of what is fetched or read, in bytes
	maxCA   = 1 << 20
)

// Compile checks the configurations of issuers, and reads each file that they name once. It hands
// everything that is wrong to refuse and then returns nil. Paths such as [0].jwks_url are relative
// to the list; a format may hold %w. Names in reserved are the iss of others, and are refused.
func Compile(list []Config, reserved []string, refuse func(path, format string, args ...any)) *Set {
	s := &Set{byID: map[string]*issuer{}}
	refused := false
	names := map[string]bool{}
	for i, c := range list {
		c.fill()
		k := compiler{issuer: &issuer{Config: c}, refuse: func(setting, format string, args ...any) {
			refused = true
			refuse(fmt.Sprintf("[%d].%s", i, setting), format, args...)
		}}
		switch {
		case !validName.MatchString(c.Name):
			k.refuse("name", "expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit")
		case names[c.Name]:
			k.refuse("name", "another issuer has the name %s", c.Name)
		}
		switch _, twice := s.byID[c.Issuer]; {
		case twice:
			k.refuse("issuer", "another issuer of the list has it")
		case slices.Contains(reserved, c.Issuer):
			k.refuse("issuer", "is the gateway's own")
		}
		names[c.Name] = true
		k.check()
		s.list = append(s.list, k.issuer)
		s.byID[c.Issuer] = k.issuer
	}
	if refused {
		return nil
	}
	return s
}

// A compiler checks one issuer.
type compiler struct {
	*issuer
	refuse func(setting, format string, args ...any)
}

func (k *compiler) check() {
	k.texts("audiences", k.Audiences, true)
	k.texts("algorithms", k.Algorithms, true)
	k.texts("types", k.Types, false)
	k.texts("authorized_parties", k.AuthorizedParties, false)
	for i, name := range k.Algorithms {
		if _, ok := algorithms[name]; !ok {
			allowed := algorithmNames()
			k.refuse(fmt.Sprintf("algorithms[%d]", i), "is %q; expected one of %s%s", name, strings.Join(allowed, ", "), nearest.Hint(name, allowed))
		}
	}
	for _, bound := range []struct {
		setting            string
		value, least, most time.Duration
		expected           string
	}{
		{"refresh", k.Refresh, time.Second, 24 * time.Hour, "1s to 24h"},
		{"keep", k.Keep, time.Second, 720 * time.Hour, "1s to 720h"},
		{"unknown_key_interval", k.UnknownKeyInterval, time.Second, 24 * time.Hour, "1s to 24h"},
		{"max_lifetime", k.MaxLifetime, time.Second, 720 * time.Hour, "1s to 720h"},
		{"leeway", k.Leeway, time.Millisecond, 5 * time.Minute, "1ms to 5m"},
	} {
		if bound.value < bound.least || bound.value > bound.most {
			k.refuse(bound.setting, "is %s; expected %s", bound.value, bound.expected)
		}
	}
	if k.Keep < k.Refresh {
		k.refuse("keep", "is shorter than refresh, so that there would be no keys between two fetches")
	}
	k.checkSource()
}

// texts refuses texts that no token can hold, and no texts where there must be some.
func (k *compiler) texts(setting string, texts []string, required bool) {
	if len(texts) == 0 && required {
		k.refuse(setting, "is required")
	}
	for i, text := range texts {
		if text == "" || len(text) > maxText {
			k.refuse(fmt.Sprintf("%s[%d]", setting, i), "expected 1 to %d bytes", maxText)
		}
	}
}

// checkSource checks where the keys are, and reads files.
func (k *compiler) checkSource() {
	if k.Issuer == "" || len(k.Issuer) > maxText {
		k.refuse("issuer", "expected the claim iss, of 1 to %d bytes", maxText)
	}
	if k.JWKSFile != "" {
		for setting, value := range map[string]string{"jwks_url": k.JWKSURL, "ca_file": k.CAFile, "proxy_url": k.ProxyURL} {
			if value != "" {
				k.refuse(setting, "is for keys that are fetched; there is a jwks_file")
			}
		}
		content, err := smallfile.Read(k.JWKSFile, maxJWKS)
		if err == nil {
			k.keys, err = parseKeys(content)
		}
		if err == nil {
			err = k.keys.check(k.Algorithms)
		}
		if err != nil {
			k.refuse("jwks_file", "%w", smallfile.WithoutName(err))
		}
		return
	}
	k.source = source{issuer: k.Issuer, jwks: k.JWKSURL}
	setting, place := "issuer", k.Issuer
	if k.JWKSURL != "" {
		setting, place = "jwks_url", k.JWKSURL
		k.source.issuer = ""
	}
	if err := checkURL(place, true); err != nil {
		k.refuse(setting, "%w", err)
	}
	k.source.name = k.Name
	if k.CAFile != "" {
		pem, err := smallfile.Read(k.CAFile, maxCA)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			err = errors.New("the file holds no PEM certificate")
		}
		if err != nil {
			k.refuse("ca_file", "%w", smallfile.WithoutName(err))
		}
		k.source.authorities = string(pem)
	}
	if k.ProxyURL != "" {
		proxy, err := outbound.ParseOrigin(k.ProxyURL)
		switch {
		case err != nil:
			k.refuse("proxy_url", "%w", err)
		case hosts.LinkLocal(proxy.URL().Hostname()):
			k.refuse("proxy_url", "a link-local address is never a proxy")
		default:
			k.source.proxy = proxy.String()
		}
	}
}

// checkURL refuses what keys are not fetched from. Its errors quote nothing of the text.
func checkURL(text string, loopback bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || len(text) > maxText:
		return errors.New("is not a URL that begins with https://")
	case u.User != nil:
		return errors.New("holds user information")
	case u.Fragment != "":
		return errors.New("has a fragment")
	case u.Scheme == "http" && !(loopback && hosts.Loopback(u.Hostname())):
		return errors.New("begins with http://, which is only for loopback: whoever is on the way could send other keys")
	case hosts.LinkLocal(u.Hostname()):
		return errors.New("has a link-local address, where no issuer is")
	}
	return nil
}
