// Package digestauth is HTTP Digest access authentication (RFC 7616), for clients and servers.
//
// The gateway and package client sign requests with a [Transport]. The gateway and the simulated
// Atlas challenge their callers with a [Challenge] and check the answers with a [Verifier]. The
// simulated Atlas keeps its nonces in [Nonces]. Secrets have the type [secret.Secret], which
// never prints.
//
// A Transport needs one upstream request per call once it has nonces. It keeps a pool of them,
// with at most one request in flight on each, so that the counts (nc) of each nonce arrive in
// order. It answers a 401 with the nonce of that 401. Atlas marks every 401 stale=false.
// Therefore a credential counts as bad only after several refusals in a row on fresh nonces,
// with no success in between. A bad credential is held back for a while instead of being tried
// with every call. Where callers share a credential, [Config].Confirm keeps the refusals of one
// caller's requests from holding it back.
//
// The package refuses:
//   - to send anything to another scheme, host or port than the credential's ([OriginError]);
//   - challenges without qop=auth (none at all, or auth-int only), the -sess algorithms,
//     algorithms that RFC 7616 does not name, and another realm than the one that is
//     configured ([ChallengeError]);
//   - to send the content of a request before the server asked for a credential ([ProbeError]);
//   - to let net/http repeat a request that may already have been carried out;
//   - Authorization fields that are not exactly one well-formed Digest credential for this
//     request ([VerifyError]).
//
// It does not implement auth-int, userhash, username*, the check of rspauth, or proxy
// authentication.
package digestauth
