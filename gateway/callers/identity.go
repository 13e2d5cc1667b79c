package callers

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"atlas-export-gateway/gateway/callers/glob"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/nearest"
)

// identity is an Identity of a caller, compiled.
type identity struct {
	key    *key
	claims []boundClaim
	// print stands in access tokens for the issuer and the claims. It is not secret.
	print string
}

// boundClaim is a claim that a token must have, and what it may be.
type boundClaim struct {
	name   string
	path   []string // the names that lead to it
	values []glob.Pattern
}

func (c *compiler) addIssuers(list []issuers.Config) {
	c.issuers = issuers.Compile(list, []string{issuer}, func(path, format string, args ...any) {
		c.refuse("issuers"+path, format, args...)
	})
	c.issuerNames, c.issuerIDs = make([]string, len(list)), make([]string, len(list))
	for i := range list {
		c.issuerNames[i], c.issuerIDs[i] = list[i].Name, list[i].Issuer
	}
}

func (c *compiler) addIdentity(o *owner, at string, i Identity) {
	switch {
	case i.Issuer == "":
		c.refuse(at+".issuer", "is required: the name of one of callers.issuers")
	case !slices.Contains(c.issuerNames, i.Issuer):
		c.refuse(at+".issuer", "is %q, which no issuer is called%s", i.Issuer, nearest.Hint(i.Issuer, c.issuerNames))
	}
	h := c.hashOfIdentity(i)
	compiled := identity{
		// Several identities of an issuer have keys of their own, whatever their order is.
		key:   c.addKey(o, at, JWT, i.Issuer+"#"+hex.EncodeToString(h[:4]), i.Validity),
		print: base64.RawURLEncoding.EncodeToString(h[:16]),
	}
	restricts := false
	for _, claim := range slices.Sorted(maps.Keys(i.Claims)) {
		bound, err := compileClaim(claim, i.Claims[claim])
		if err != nil {
			c.refuse(at+".claims."+claim, "%w", err)
		}
		restricts = restricts || err != nil || !slices.ContainsFunc(bound.values, glob.Pattern.Any)
		compiled.claims = append(compiled.claims, bound)
	}
	if !restricts {
		c.refuse(at+".claims", "would let everyone of the issuer in: expected a claim, such as sub, whose values do not consist of stars only")
	}
	c.known[i.Issuer] = append(c.known[i.Issuer], compiled)
	o.identities = append(o.identities, compiled)
}

// hashOfIdentity returns a hash of an identity's claims and of its issuer's iss.
func (c *compiler) hashOfIdentity(i Identity) hash {
	var iss string
	if n := slices.Index(c.issuerNames, i.Issuer); n >= 0 {
		iss = c.issuerIDs[n]
	}
	content, err := json.Marshal([]any{iss, i.Claims}) // in the order of their names
	if err != nil {
		panic(err) // texts always encode
	}
	return hashOf(string(content))
}

func compileClaim(name string, values []string) (boundClaim, error) {
	claim := boundClaim{name: name, path: []string{name}}
	if below, ok := strings.CutPrefix(name, "/"); ok {
		claim.path = strings.Split(below, "/")
		for i, token := range claim.path {
			if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(token), "~") {
				return claim, errors.New("the name is no JSON pointer: a tilde is ~0, and a slash within a name ~1")
			}
			claim.path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token) // RFC 6901, section 4
		}
	}
	if name == "" || len(name) > glob.MaxPattern {
		return claim, fmt.Errorf("the name of a claim has 1 to %d bytes", glob.MaxPattern)
	}
	if len(values) == 0 {
		return claim, errors.New("has no value; expected a text or a list of texts")
	}
	for _, value := range values {
		pattern, err := glob.Compile(value)
		if err != nil {
			return claim, fmt.Errorf("a value %w", err)
		}
		claim.values = append(claim.values, pattern)
	}
	return claim, nil
}

// mismatch returns the first claim of i that a token does not have so, and nil if there is none.
func (i *identity) mismatch(claims map[string]any) *boundClaim {
	for n := range i.claims {
		if !i.claims[n].matches(claims) {
			return &i.claims[n]
		}
	}
	return nil
}

// of returns the claim of a token; nil if there is none. A list has members with numbers for
// names.
func (c *boundClaim) of(claims map[string]any) any {
	var value any = claims
	for _, name := range c.path {
		switch inside := value.(type) {
		case map[string]any:
			value = inside[name]
		case []any:
			// RFC 6901, section 4: without leading zeros.
			at, err := strconv.Atoi(name)
			if err != nil || at < 0 || at >= len(inside) || strconv.Itoa(at) != name {
				return nil
			}
			value = inside[at]
		default:
			return nil
		}
	}
	return value
}

func (c *boundClaim) matches(claims map[string]any) bool {
	value := c.of(claims)
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, c.matchesOne)
	}
	return c.matchesOne(value)
}

// matchesOne compares a value with those that a claim may be. An object, a list and null are equal
// to nothing.
func (c *boundClaim) matchesOne(value any) bool {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case json.Number:
		text = v.String()
	default:
		return false
	}
	return slices.ContainsFunc(c.values, func(p glob.Pattern) bool { return p.Match(text) })
}
