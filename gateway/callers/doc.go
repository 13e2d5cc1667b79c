// Package callers tells the gateway who sent a request. Each caller has a name and keys that the
// gateway issued and that open nothing at Atlas: key pairs for HTTP Digest (RFC 7616) and, where
// nobody can listen, for Basic (RFC 7617); static bearer tokens (RFC 6750); and service accounts,
// which exchange id and secret for a short-lived token (RFC 6749, section 4.4). The secret of a
// service account may be a token of an issuer that proves its caller (RFC 7523). A caller may also
// be known without a key: by a token of an issuer, or by the client certificate of its connection,
// which counts where a request has no Authorization field.
//
// [Compile] turns a [Config] into a [Directory], and [New] makes an [Authenticator] of it. The
// gateway asks the Authenticator about the header of every request before it reads any content. A
// request that is not let in gets a [Refusal] with the challenge to answer, in the form of Atlas's
// recorded challenges. The [Memory] outlives a configuration and its Authenticator.
//
// # What is kept
//
// Tokens and client secrets are kept as SHA-256 hashes. All of them are generated here with at
// least 128 random bits, so guessing is hopeless and a plain hash is enough. Digest needs
// H(public key:realm:private key), HA1, which is as good as the private key within its realm. HA1
// therefore stays in a file, and in a [secret.Secret]. Another realm needs other files.
//
// Everything is looked up by its hash and compared in constant time. The work is the same
// whether or not somebody has the key.
//
// Nothing is kept of what proves an identity except the issuer's public keys, and, for a bounded
// number of tokens that were verified, the hash of each and whose it is.
//
// # Several processes
//
// Nonces and access tokens are signed, not stored. Processes that read the same
// signing_key_file therefore accept each other's nonces and tokens, and their own after a restart.
// The file holds the current key and, on a second line, one more key that is only accepted. To
// rotate the key among several processes without a refusal, first add the new key on the second
// line everywhere, then put it on the first line, and remove the old key after the token lifetime.
//
// Which tokens were revoked is known to all processes that [Memory.Share] the same Revocations,
// within two seconds, and to the next ones. Without them, a revoked token goes on working at the
// others, and here after a restart, until it expires.
//
// Each process has its own memory of which counts of a nonce were used and how many attempts were
// made. A restart forgets them. With N replicas, a captured Digest request can be replayed N-1
// times within the nonce's lifetime, once at each of the others, and once more after each restart.
// TLS keeps requests from being captured. If that is not acceptable, send each caller's requests
// to one replica, or shorten the lifetime. To lock out a service account at once and everywhere,
// disable it in the configuration, or remove it.
//
// # When a key may be used
//
// Each way to prove who calls ends with a key of the list, and each leads to one check of that
// key: its end, whether it or its caller is disabled, and the network of the connection. Tokens
// are checked with the key of their service account, whenever they were issued. The check notes
// when the key was last used, which costs no lock; [Authenticator.List] tells it, and
// [Memory.Learn] adds what others know.
//
// # Clocks
//
// Nonces and access tokens hold the time of issue, and a clock may be set while the process runs.
// If it is set back, what was issued before stays good for its lifetime, and for no longer than
// that and the time by which the clock was set back. If it is set ahead, what was issued before
// expires with it, and clients authenticate anew. No count of a nonce is good twice, and no
// revoked token is good again, however the clock is set. After the clock of one of several
// processes was set back, the others refuse its nonces for twice as long as the clock was set
// back, or until it is restarted.
//
// # What it refuses
//
//   - more than one Authorization field, and a field that is not exactly one credential;
//   - Digest for another realm, request target or algorithm; a nonce that was not signed here,
//     that expired, or whose count was used before or is far behind;
//   - Basic, also at the token endpoint, over a connection that others can listen to;
//   - tokens that are unknown, expired, revoked, or signed neither here nor by an issuer of the
//     configuration, and those of an issuer whose claims are no caller's;
//   - two credentials at the token endpoint, and access tokens whose service account could no longer
//     prove itself as it did when they were issued;
//   - client certificates whose authority is not trusted any more, that have expired since the
//     handshake, or whose names are those of no caller; access tokens that are bound to another one;
//   - any of these with the right secret, in the same words as with a wrong one, where the key has ended
//     or is disabled, or where the caller is disabled or calls from none of its networks.
package callers
