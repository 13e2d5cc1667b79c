// Package client calls the part of the MongoDB Atlas Admin API that exports backup
// snapshots, at Atlas itself or through the gateway.
//
// A program builds a [Client] with [New] and calls its methods, one for each operation of
// v2; [Client.V1] has those of v1.0. The wire belongs to the generated client of package
// gen. What this package adds is a credential, the version in Accept, checks before
// anything is sent, one type of error, paging, retries and waiting.
//
// # Errors
//
// Whatever goes wrong with a call is an [*Error], found with errors.As; errors.Is tells
// the kinds apart: [ErrInvalid], [ErrUnauthorized], [ErrForbidden], [ErrNotFound],
// [ErrConflict] and [ErrRateLimited].
//
// # Retries
//
// Reads, updates and deletions are sent again when the network, a rate limit or a 5xx
// stops them, within the context's deadline. A create is sent once: an export costs money.
// If it failed with an [*UnknownOutcomeError], it may have been carried out all the same;
// with any other error it was not.
//
// # What the package refuses
//
// It sends nothing to another origin than [Config.BaseURL], follows no redirect, takes no
// proxy from the environment, and sends no secret in the clear beyond loopback. Ids, names
// and bodies that break the contract are refused before anything is sent.
package client
