// Package digestauth is HTTP Digest access authentication, RFC 7616, for both ends of the gateway.
//
// The gateway signs what it sends with a [Transport]. The gateway and the simulated
// Atlas challenge their callers with a [Challenge] and check the answers with a [Verifier]; the latter keeps its nonces in [Nonces].
// A [secret.Secret] holds what none of them may print.
//
// The Transport costs one upstream request per call once it is warm. It keeps a pool of nonces with at most one
// request in flight on each, so that every nonce's count (nc) arrives in order, and answers a 401 with the nonce which that
// 401 brought. Atlas marks every 401 stale=false, so that a key counts as bad only after several refusals in a row on
// fresh nonces, none of them contradicted by a success; a bad key is then held back instead of tried on every call.
//
// What the package refuses:
//   - to send anything to another scheme, host or port than the one that the credential is for ([OriginError]);
//   - challenges without qop=auth (none at all, or auth-int only), the -sess algorithms, algorithms that RFC 7616
//     does not name, and another realm than the pinned one ([ChallengeError]);
//   - to send a request's content before the server has asked for a credential ([ProbeError]);
//   - to let net/http repeat a request that may already have been carried out;
//   - Authorization fields that are not exactly one well-formed Digest credential for this request ([VerifyError]).
//
// It does not implement auth-int, userhash, username*, the rspauth check or proxy authentication.
package digestauth
