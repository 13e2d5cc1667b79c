package issuers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// MaxToken bounds a token, in bytes.
const MaxToken = 16 << 10

// maxWait bounds how long a token with an unknown key waits for the keys to be fetched.
const maxWait = 3 * time.Second

// A Verifier verifies tokens of the issuers of one configuration. It may be used from several
// goroutines.
type Verifier struct {
	set  *Set
	sets map[*issuer]*keySet // of those whose keys are fetched
	now  func() time.Time
}

// Verifier returns a Verifier for a set. It changes nothing in k: until [KeySets.Keep], a
// configuration may still be dropped, and the keys of issuers that are new are not fetched. A nil
// clock is time.Now.
func (k *KeySets) Verifier(s *Set, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{set: s, sets: map[*issuer]*keySet{}, now: now}
	for _, i := range s.list {
		if i.keys == nil {
			v.sets[i] = k.of(i)
		}
	}
	return v
}

// A Token is a token that was verified.
type Token struct {
	// Issuer is the name of its issuer.
	Issuer string
	// Claims are its claims as encoding/json reads them; a number is a [json.Number].
	Claims map[string]any
	// Validity tells how long it is good.
	Validity
}

// Subject returns the claim sub, and "" where it is missing or no text.
func (t *Token) Subject() string {
	subject, _ := t.Claims["sub"].(string)
	return subject
}

// Validity is how long a token is good: in a time, and while its issuer has the key.
type Validity struct {
	// From and Until bound the time, leeway included.
	From, Until time.Time

	verifier *Verifier
	issuer   *issuer
	keys     *keys
}

// Holds reports whether the token of a Validity is good without another look at it. Otherwise it
// may still be good: the keys were fetched since it was verified.
func (t *Validity) Holds() bool {
	now := t.verifier.now()
	return !now.Before(t.From) && now.Before(t.Until) && t.verifier.current(t.issuer) == t.keys
}

// current returns the keys of an issuer; nil if there are none.
func (v *Verifier) current(i *issuer) *keys {
	if i.keys != nil {
		return i.keys
	}
	return v.sets[i].current(i.Keep)
}

// IsJWS reports whether a text has the form of a signed token: three parts with dots between them
// (RFC 7515, section 7.1). It returns the token's claim iss where the token can be read so far.
func IsJWS(text string) (iss string, ok bool) {
	if strings.Count(text, ".") != 2 {
		return "", false
	}
	if len(text) > MaxToken {
		return "", true
	}
	_, payload, _ := strings.Cut(text, ".")
	payload, _, _ = strings.Cut(payload, ".")
	var claims struct {
		Issuer string `json:"iss"`
	}
	content, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || strict.Unmarshal(content, &claims) != nil {
		return "", true
	}
	return claims.Issuer, true
}

// header are the members of a token's header that count (RFC 7515, section 4.1). jku, jwk, x5u and
// x5c do not: keys come from the configuration only.
type header struct {
	Algorithm string         `json:"alg"`
	Key       *string        `json:"kid"`
	Type      *string        `json:"typ"`
	Critical  jsontext.Value `json:"crit"`
}

// Verify returns a token that an issuer of the configuration has signed for one of its audiences
// and that is good now. The context bounds the wait for a key that has to be fetched, as does
// maxWait. The error is an *[Error].
func (v *Verifier) Verify(ctx context.Context, text string) (*Token, error) {
	t, err := v.parse(text)
	if err != nil {
		return nil, err
	}
	i := t.issuer
	if err := t.check(v.now()); err != nil {
		return nil, err
	}
	key, keys, err := v.find(ctx, i, t)
	if err != nil {
		return nil, err
	}
	signed := text[:strings.LastIndexByte(text, '.')]
	if err := key.verify(t.header.Algorithm, signed, t.signature); err != nil {
		return nil, refuse(WrongSignature, i, "the signature is not that of the key")
	}
	t.token.Validity = Validity{t.from, t.until, v, i, keys}
	return &t.token, nil
}

// unverified is a token whose parts were read.
type unverified struct {
	token       Token
	header      header
	signature   []byte
	issuer      *issuer
	from, until time.Time // by check
}

// parse reads a token strictly, and finds its issuer.
func (v *Verifier) parse(text string) (*unverified, error) {
	parts := strings.Split(text, ".")
	if len(text) > MaxToken || len(parts) != 3 {
		return nil, refuse(Malformed, nil, "the token is not three parts of %d bytes in all at most", MaxToken)
	}
	t := &unverified{}
	decoded := make([][]byte, len(parts))
	for n, part := range parts {
		var err error
		if decoded[n], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, refuse(Malformed, nil, "a part of the token is not base64url")
		}
	}
	t.signature = decoded[2]
	// A repeated member may be another one for whoever made the token (RFC 8725, section 2.4).
	if !isObject(decoded[0]) || strict.Unmarshal(decoded[0], &t.header) != nil {
		return nil, refuse(Malformed, nil, "the header is not strict JSON")
	}
	if !isObject(decoded[1]) {
		return nil, refuse(Malformed, nil, "the claims are not strict JSON")
	}
	decoder := json.NewDecoder(strings.NewReader(string(decoded[1])))
	decoder.UseNumber()
	if decoder.Decode(&t.token.Claims) != nil {
		return nil, refuse(Malformed, nil, "the claims can't be read")
	}
	iss, ok := t.token.Claims["iss"].(string)
	if t.issuer = v.set.byID[iss]; !ok || t.issuer == nil {
		return nil, refuse(WrongIssuer, nil, "no issuer of the configuration has the token's iss").found(t.token.Claims["iss"])
	}
	t.token.Issuer = t.issuer.Name
	return t, nil
}

// isObject reports whether content is one JSON object, without repeated members anywhere.
func isObject(content []byte) bool {
	value := jsontext.Value(content)
	return value.Kind() == '{' && value.IsValid()
}

// check checks what a token says, its signature left out. What costs little comes first: a token
// that has expired has nothing fetched.
func (t *unverified) check(now time.Time) error {
	i, claims := t.issuer, jwt.MapClaims(t.token.Claims)
	switch h := &t.header; {
	case h.Critical != nil:
		return refuse(Malformed, i, "the header has crit, and no extension is known here")
	case !slices.Contains(i.Algorithms, h.Algorithm):
		return refuse(WrongAlgorithm, i, "alg is not one of the issuer's algorithms").found(h.Algorithm)
	case len(i.Types) > 0 && !slices.ContainsFunc(i.Types, func(allowed string) bool { return h.Type != nil && strings.EqualFold(allowed, *h.Type) }):
		return refuse(WrongType, i, "typ is not one of the issuer's types").found(h.Type)
	}
	audiences, err := claims.GetAudience()
	if err != nil || !slices.ContainsFunc(i.Audiences, func(allowed string) bool { return slices.Contains(audiences, allowed) }) {
		return refuse(WrongAudience, i, "aud names none of the issuer's audiences").found(claims["aud"])
	}
	if party, _ := claims["azp"].(string); len(i.AuthorizedParties) > 0 && !slices.Contains(i.AuthorizedParties, party) {
		return refuse(WrongParty, i, "azp is not one of the issuer's authorized_parties").found(claims["azp"])
	}
	return t.checkTimes(now)
}

// checkTimes checks exp, nbf and iat (RFC 7519, section 4.1).
func (t *unverified) checkTimes(now time.Time) error {
	i, times := t.issuer, map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, ok := t.token.Claims[name]
		if !ok {
			continue
		}
		at, err := numericDate(value)
		if err != nil {
			return refuse(Malformed, i, "%s is not a time", name).found(value)
		}
		times[name] = at
	}
	expiry, ok := times["exp"]
	issued := times["iat"]
	begun := now
	if !issued.IsZero() {
		begun = issued
	}
	from := times["nbf"]
	if issued.After(from) {
		from = issued
	}
	t.from, t.until = from.Add(-i.Leeway), expiry.Add(i.Leeway)
	switch {
	case !ok:
		return refuse(WrongLifetime, i, "the token has no exp, so it would be good for ever")
	case !now.Before(t.until):
		return refuse(Expired, i, "the token has expired").found(expiry.UTC().Format(time.RFC3339))
	case now.Before(t.from):
		return refuse(NotYetValid, i, "nbf or iat is in the future").found(from.UTC().Format(time.RFC3339))
	case expiry.Sub(begun) > i.MaxLifetime:
		return refuse(WrongLifetime, i, "the token is good for longer than max_lifetime, %s", i.MaxLifetime).found(expiry.Sub(begun).Round(time.Second).String())
	}
	return nil
}

// numericDate reads a time in seconds since 1970, until the year 9999.
func numericDate(value any) (time.Time, error) {
	number, ok := value.(json.Number)
	seconds, err := number.Float64()
	if !ok || err != nil || seconds < 0 || seconds > 253402300799 {
		return time.Time{}, errors.New("is not a time")
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// find returns the key that a token was signed with, and the keys that it is one of.
func (v *Verifier) find(ctx context.Context, i *issuer, t *unverified) (*key, *keys, error) {
	id, named := "", t.header.Key != nil
	if named {
		id = *t.header.Key
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	// A fetch that is under way may have begun before the issuer had the key. Then another may
	// follow.
	for range 3 {
		keys, err := v.current(i), errNoKey
		if keys != nil {
			var found *key
			if found, err = keys.find(id, named, t.header.Algorithm); err == nil {
				return found, keys, nil
			}
		}
		if err != errNoKey {
			return nil, nil, refuse(WrongKey, i, "%w", err).found(id)
		}
		if i.keys != nil || !v.await(ctx, i) {
			break
		}
	}
	if v.current(i) == nil {
		return nil, nil, refuse(Unavailable, i, "the issuer's keys could not be fetched")
	}
	return nil, nil, refuse(UnknownKey, i, "the issuer has no such key").found(id)
}

// await waits for a fetch of an issuer's keys, and reports whether there was one.
func (v *Verifier) await(ctx context.Context, i *issuer) bool {
	done := v.sets[i].missed(i.UnknownKeyInterval)
	if done == nil {
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
