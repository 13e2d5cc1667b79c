// Package issuers verifies tokens that others issue: JWTs (RFC 7519) of Kubernetes, of CI systems
// and of any OpenID provider. The package callers asks it whose token a request bears, and says
// itself which caller that is.
//
// [Compile] turns configurations into a [Set], and [KeySets.Verifier] makes a [Verifier] of it.
// The [KeySets] outlive a configuration, and fetch keys in the background.
//
// # What it refuses
//
//   - a token that is not a JWS in its compact form of at most 16 KiB, with strict base64url and
//     strict JSON: repeated members are refused, and so is a header with crit;
//   - any algorithm that is not configured, and a key that is not of the algorithm's kind. Only
//     algorithms with a public key can be configured, and no secret of a JWK Set is ever used;
//   - any other iss than that of the configuration, an aud without one of its audiences, a token
//     without exp, one with too long a life, and one whose time has passed or is still to come;
//   - RSA keys of less than 2048 bits, or more than 8192.
//
// A token never says where its key is: jku, jwk, x5u and x5c are not read.
//
// # Keys
//
// Keys come from a file, a URL, or the jwks_uri of the issuer's discovery document. One goroutine
// for each issuer fetches them. Tokens with keys that nobody knows cause at most one fetch in the
// configured interval, all together; they wait for it for three seconds at most. Everybody else
// goes on with the keys that are there, also while an issuer is out.
package issuers
