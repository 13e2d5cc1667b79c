// Package client calls the part of the MongoDB Atlas Admin API that exports backup snapshots,
// and what an export needs around it: snapshots, clusters, groups, roles and the export policy
// of backup schedules. It calls Atlas itself or a gateway.
//
// A program builds a [Client] with [New] and calls its methods, one for each operation of
// v2; [Client.V1] has those of v1.0. The generated client of package gen builds the requests.
// This package adds the credential, the version in Accept, checks before anything is sent, one
// type of error, paging, retries and waiting.
//
// # Errors
//
// The error of a call is, or wraps, an [*Error]: errors.As finds it. errors.Is tells the kinds
// apart: [ErrInvalid], [ErrUnauthorized], [ErrForbidden], [ErrNotFound], [ErrConflict] and
// [ErrRateLimited].
//
// # Retries
//
// A read, an update or a deletion is sent again after an error of the network, a rate limit or
// a 5xx, within the deadline of the context. A create is sent once, since exports and snapshots
// cost money, or, to a gateway that keeps its key ([Config.KeepsKeys]), until it is known what became
// of it. If its error is an [*UnknownOutcomeError], it may have been carried out; with any other
// error it was not. A gateway says in the field Gateway-Outcome of its answer what it knows
// about that; see [Outcome].
//
// # What the package refuses
//
// It sends nothing to another origin than [Config.BaseURL], follows no redirect and uses no
// proxy from the environment. It sends a secret without TLS only to loopback. Ids, names and
// bodies that break the contract are refused before anything is sent.
package client
