// Package audit keeps a stream of who did what: a line of JSON, a [Record], for each change at
// Atlas that a caller was allowed, each refusal by grants, each decision of an operator about a
// create, and each configuration that was put in force or refused. The gateway writes it; a
// [Stream] puts it on stable storage.
//
// A Record has ids and names that were found valid. It has no secret, and of what callers submit
// otherwise only the keys of custom data.
package audit
