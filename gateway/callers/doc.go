// Package callers tells the gateway who sent a request. Each caller has a name and keys that
// the gateway issued, which open nothing at Atlas: key pairs for HTTP Digest (RFC 7616), or
// Basic (RFC 7617) where nobody can listen; static bearer tokens (RFC 6750); and service
// accounts, which exchange id and secret for a short-lived token (RFC 6749, section 4.4).
//
// The gateway builds one [Authenticator] from a [Config] and asks it about the header of every
// request, before it reads any content. Whoever is not let in gets a [Refusal] with the
// challenge to answer, in the form that Atlas was seen to send.
//
// # What is kept
//
// Tokens and client secrets are kept as SHA-256 hashes. All of them are generated here with at
// least 128 bits, so that a plain hash is enough and guessing is hopeless. Digest needs
// H(public key:realm:private key), HA1, which is as good as the private key within its realm:
// it stays in a file, and in a [secret.Secret]. Another realm needs other files.
//
// Everything is looked up by its hash, compared in constant time, and costs the same work
// whether or not somebody has the key.
//
// # Several processes
//
// Nonces and access tokens are signed and not stored. Processes that read the same
// signing_key_file therefore accept each other's, and their own after a restart. The file holds
// the current key and, on a second line, one more that is only accepted. To rotate it among
// several processes without a refusal, give all of them the new key on the second line first,
// then put it on the first, then remove the old one after the token lifetime.
//
// What each process knows alone is which counts of a nonce were used, which tokens were revoked
// and how many attempts were made; a restart forgets it. With N replicas a captured Digest
// request can be replayed once at each of the others within the nonce's lifetime, and a revoked
// token goes on working there until it expires. TLS keeps requests from being captured; whoever
// can't accept the rest sends a caller's requests to one replica, or shortens the lifetimes.
// To lock out a service account at once and everywhere, remove it from the configuration.
//
// # What it refuses
//
//   - more than one Authorization field, and any that is not exactly one credential;
//   - Digest for another realm, request target or algorithm; a nonce that was not signed here,
//     that expired, or whose count was used before or is far behind;
//   - Basic, the token endpoint's included, over a connection that others can listen to;
//   - tokens that are unknown, expired, revoked, or signed in any way but ours.
package callers
