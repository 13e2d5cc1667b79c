package callers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
)

// ExplainToken says which caller a bearer token is, in lines for the operator who has the token:
// what the token is, and for each identity of its issuer whether it matches, or which claim does
// not. The caller is empty where the token is nobody's.
func (a *Authenticator) ExplainToken(ctx context.Context, token string) (caller string, lines []string) {
	shown := bearerToken{token, hashOf(token)}
	if static, _, ok := staticTokens(a.directory.tokens).identify(nil, shown); ok {
		return static.Name, []string{"it is the static token " + static.Key}
	}
	if account, bound, refusal, ok := a.tokens.whose(shown); ok {
		if refusal != nil {
			return "", []string{refusal.detail}
		}
		lines = []string{"it is an access token of the service account " + account.caller.Key}
		if bound != nil {
			lines = append(lines, "it is good only with the client certificate that it was issued with")
		}
		return account.caller.Name, lines
	}
	if a.directory.issuers.Empty() {
		return "", []string{"it is not a caller's, and there are no callers.issuers"}
	}
	good, err := a.jwts.verifier.Verify(ctx, token)
	if refused, ok := errors.AsType[*issuers.Error](err); ok {
		return "", explainRefused(refused)
	}
	lines = []string{fmt.Sprintf("it is a good token of the issuer %s until %s", good.Issuer, good.Until.UTC().Format(time.RFC3339))}
	for _, known := range a.directory.known[good.Issuer] {
		unlike := known.mismatch(good.Claims)
		if unlike == nil {
			return known.key.owner.name, append(lines, fmt.Sprintf("%s (%s): matches", "callers."+known.key.path, known.key.owner.name))
		}
		lines = append(lines, fmt.Sprintf("%s (%s): %s %s; expected %s", "callers."+known.key.path, known.key.owner.name, unlike.name, show(unlike.of(good.Claims)), unlike.expected()))
	}
	if len(lines) == 1 {
		lines = append(lines, "no caller has an identity of this issuer")
	}
	return "", lines
}

// explainRefused says why a token is refused.
func explainRefused(e *issuers.Error) []string {
	line := string(e.Reason) + ": " + e.Error()
	if e.Issuer != "" {
		line = "issuer " + e.Issuer + ": " + line
	}
	if e.Found != "" {
		line += "; the token has " + e.Found
	}
	return []string{line}
}

// maxShown bounds what is shown of a claim, in bytes.
const maxShown = 256

// show returns a claim as a predicate of its name.
func show(claim any) string {
	if claim == nil {
		return "is missing"
	}
	content, err := json.Marshal(claim)
	switch {
	case err != nil:
		return "can't be shown"
	case len(content) > maxShown:
		return "is " + strings.ToValidUTF8(cut(string(content), maxShown), "") + "…"
	}
	return "is " + string(content)
}

// expected says what the claim may be.
func (c *boundClaim) expected() string {
	values := make([]string, len(c.values))
	for i, value := range c.values {
		values[i] = value.String()
	}
	return strings.Join(values, " or ")
}
