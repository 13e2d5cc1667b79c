package issuers

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// Bounds of a key set. An RSA key of 8192 bits takes half a millisecond to verify with.
const (
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
)

// keys are the public keys of an issuer, as they were at a time. They do not change.
type keys struct {
	at   time.Time // when they were fetched
	list []key
}

// key is one public key.
type key struct {
	id        string
	algorithm string // that it is for; empty for any that fits
	public    any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	unusable  error  // why tokens that name the key are refused
}

// algorithms are those that tokens may be signed with (RFC 7518, section 3.1, and RFC 8037), with
// the keys that fit. An algorithm and a key of another kind never meet: a public key is never
// taken for the secret of HS256.
var algorithms = map[string]func(public any) bool{
	"RS256": isRSA, "RS384": isRSA, "RS512": isRSA,
	"PS256": isRSA, "PS384": isRSA, "PS512": isRSA,
	"ES256": onCurve(elliptic.P256()), "ES384": onCurve(elliptic.P384()), "ES512": onCurve(elliptic.P521()),
	"EdDSA": func(public any) bool { _, ok := public.(ed25519.PublicKey); return ok },
}

func algorithmNames() []string { return slices.Sorted(maps.Keys(algorithms)) }

func isRSA(public any) bool { _, ok := public.(*rsa.PublicKey); return ok }

func onCurve(curve elliptic.Curve) func(public any) bool {
	return func(public any) bool {
		key, ok := public.(*ecdsa.PublicKey)
		return ok && key.Curve == curve
	}
}

// fits reports whether tokens may be signed with a key by an algorithm.
func (k *key) fits(algorithm string) bool {
	return (k.algorithm == "" || k.algorithm == algorithm) && k.public != nil && algorithms[algorithm](k.public)
}

// parseKeys reads a JWK Set (RFC 7517, section 5). Keys that can't be used stay in it with the
// reason, since RFC 7517 has them ignored. Secrets (oct) are such keys.
func parseKeys(content []byte) (*keys, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if json.Unmarshal(content, &set) != nil || set.Keys == nil {
		return nil, errors.New("the keys are not a JWK Set: expected strict JSON, an object with a list called keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the set has more than %d keys", maxKeys)
	}
	parsed := &keys{}
	for _, content := range set.Keys {
		parsed.list = append(parsed.list, parseKey(content))
	}
	return parsed, nil
}

func parseKey(content []byte) key {
	var stated jwkset.JWKMarshal
	if err := json.Unmarshal(content, &stated); err != nil {
		return key{unusable: errors.New("is not a JWK")}
	}
	k := key{id: stated.KID, algorithm: string(stated.ALG)}
	// Certificates say nothing here: the key is trusted since the issuer publishes it.
	stated.X5C, stated.X5T, stated.X5TS256, stated.X5U = nil, "", "", ""
	parsed, err := jwkset.NewJWKFromMarshal(stated, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		k.unusable = errors.New("is not a public key of a kind that is known")
		return k
	}
	k.public = parsed.Key()
	rsaKey, _ := k.public.(*rsa.PublicKey)
	switch {
	case stated.USE != "" && stated.USE != jwkset.UseSig:
		k.unusable = errors.New("is not for signatures, by its use")
	case len(stated.KEYOPS) > 0 && !slices.Contains(stated.KEYOPS, jwkset.KeyOpsVerify):
		k.unusable = errors.New("is not for verifying, by its key_ops")
	case rsaKey != nil && rsaKey.N.BitLen() < minRSABits:
		k.unusable = fmt.Errorf("is an RSA key of %d bits; expected %d at least", rsaKey.N.BitLen(), minRSABits)
	case rsaKey != nil && rsaKey.N.BitLen() > maxRSABits:
		k.unusable = fmt.Errorf("is an RSA key of more than %d bits", maxRSABits)
	}
	return k
}

// check refuses keys of which none can verify a token by one of the algorithms.
func (s *keys) check(algorithms []string) error {
	var why error
	for i := range s.list {
		k := &s.list[i]
		if k.unusable != nil {
			why = k.unusable
		} else if slices.ContainsFunc(algorithms, k.fits) {
			return nil
		}
	}
	if why != nil {
		return fmt.Errorf("the set has no key for the algorithms; one %w", why)
	}
	return errors.New("the set has no key for the algorithms")
}

// errNoKey is a key that the set does not have: the issuer may have a new one.
var errNoKey = errors.New("the issuer has no such key")

// find returns the key that a token names. A token that names none is verified with the only key
// that fits. An error other than errNoKey is about a key that the set has.
func (s *keys) find(id string, named bool, algorithm string) (*key, error) {
	var found *key
	err := errNoKey
	for i := range s.list {
		k := &s.list[i]
		switch {
		case named && k.id != id || !named && (k.unusable != nil || !k.fits(algorithm)):
		case k.unusable != nil:
			err = fmt.Errorf("the key %w", k.unusable)
		case !k.fits(algorithm):
			err = errors.New("the key is for another algorithm")
		case found != nil && !named:
			return nil, errors.New("the token names no key, and more than one fits")
		case found == nil:
			found = k
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, err
}

// verify checks a signature (RFC 7515, section 5.2).
func (k *key) verify(algorithm, signed string, signature []byte) error {
	return jwt.GetSigningMethod(algorithm).Verify(signed, signature, k.public)
}
