package callers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/printable"
)

// jwts are the tokens of issuers. Who a token is of is found out once, and then remembered.
type jwts struct {
	directory *Directory
	verifier  *issuers.Verifier
	verified  verified
}

func newJWTs(d *Directory, k *issuers.KeySets, now func() time.Time) *jwts {
	return &jwts{directory: d, verifier: k.Verifier(d.issuers, now)}
}

// identify takes what has the form of a JWT, except for those that were issued here. Without
// issuers it takes nothing.
func (j *jwts) identify(r *http.Request, token bearerToken) (Caller, *Refusal, bool) {
	if j.directory.issuers.Empty() {
		return Caller{}, nil, false
	}
	if caller, ok := j.verified.find(token.hash); ok {
		return caller, nil, true
	}
	if iss, ok := issuers.IsJWS(token.text); !ok || iss == issuer {
		return Caller{}, nil, false
	}
	caller, refusal := j.prove(r.Context(), token)
	return caller, refusal, true
}

// prove returns whose a token of an issuer is.
func (j *jwts) prove(ctx context.Context, token bearerToken) (Caller, *Refusal) {
	known, good, refusal := j.match(ctx, token.text)
	if refusal != nil {
		return Caller{}, refusal
	}
	caller := known.key.caller()
	caller.Key = keyOf(good)
	j.verified.add(token.hash, caller, good.Validity)
	return caller, nil
}

// match verifies a token, and returns the first identity that it has.
func (j *jwts) match(ctx context.Context, token string) (*identity, *issuers.Token, *Refusal) {
	good, err := j.verifier.Verify(ctx, token)
	if refused, ok := errors.AsType[*issuers.Error](err); ok {
		refusal := refuseBearer(Reason(refused.Reason), refused.Error())
		refusal.Tried = refused.Issuer
		return nil, nil, refusal
	}
	list := j.directory.known[good.Issuer]
	for n := range list {
		if list[n].mismatch(good.Claims) == nil {
			return &list[n], good, nil
		}
	}
	refusal := refuseBearer(NoCaller, "the token is good, and its claims are those of no caller")
	refusal.Tried = keyOf(good)
	return nil, nil, refusal
}

// maxSubject bounds what a Key has of a sub, in bytes.
const maxSubject = 128

// keyOf returns the Key of the caller of a token.
func keyOf(t *issuers.Token) string {
	subject := cut(printable.Escape(cut(t.Subject(), maxSubject)), maxSubject)
	return t.Issuer + ":" + strings.ToValidUTF8(subject, "")
}

// maxVerified bounds the tokens that are remembered. Each takes some 500 bytes.
const maxVerified = 1 << 12

// verified remembers tokens whose callers are known, by their hashes, so that a signature is
// verified once and not for each request. It belongs to one configuration. It has two halves: once
// the new one is full, it takes the place of the old one, which is forgotten.
type verified struct {
	mu       sync.Mutex
	new, old map[hash]verifiedToken
}

type verifiedToken struct {
	caller   Caller
	validity issuers.Validity
}

// find returns the caller of a token that is good still, by its time and by its key.
func (v *verified) find(token hash) (Caller, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.new[token]
	if !ok {
		if known, ok = v.old[token]; !ok {
			return Caller{}, false
		}
		v.keep(token, known)
	}
	if !known.validity.Holds() {
		delete(v.new, token)
		delete(v.old, token)
		return Caller{}, false
	}
	return known.caller, true
}

func (v *verified) add(token hash, caller Caller, validity issuers.Validity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(token, verifiedToken{caller, validity})
}

func (v *verified) keep(token hash, known verifiedToken) {
	if v.new == nil || len(v.new) >= maxVerified/2 {
		v.new, v.old = map[hash]verifiedToken{}, v.new
	}
	v.new[token] = known
}
