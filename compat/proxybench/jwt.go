package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The issuer of the token that the caller of jwt shows, and its audience.
const (
	ciIssuer = "https://token.actions.example.com"
	audience = "https://gateway.example.com"
)

// newJWT returns a token as large as those of GitHub Actions, and the keys of its issuer.
func newJWT() (token, keys string, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": ciIssuer, "aud": audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(2 * time.Hour).Unix(),
		"sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "repository": "octo-org/octo-repo", "repository_id": "74",
		"repository_owner": "octo-org", "repository_owner_id": "65", "repository_visibility": "private", "ref": "refs/heads/main", "ref_type": "branch",
		"sha": "0123456789abcdef0123456789abcdef01234567", "run_id": "1234567890", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted",
		"actor": "octocat", "actor_id": "12", "workflow": "nightly", "event_name": "schedule",
		"job_workflow_ref": "octo-org/octo-automation/.github/workflows/nightly.yml@refs/heads/main", "jti": "0123456789abcdef",
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	unsigned.Header["kid"] = "first"
	token, err = unsigned.SignedString(private)
	encode := base64.RawURLEncoding.EncodeToString
	keys = fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"first","alg":"RS256","use":"sig","n":%q,"e":%q}]}`, encode(private.N.Bytes()), encode(big.NewInt(int64(private.E)).Bytes()))
	return token, keys, err
}
