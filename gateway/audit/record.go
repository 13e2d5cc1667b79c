package audit

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Schema is the version of the fields of a Record. Fields may be added to a version. A field that
// is removed or means something else makes a new one.
const Schema = 1

// An Event is what a Record is about.
type Event string

// The events.
const (
	// Intent is a change that is about to be carried out.
	Intent Event = "intent"
	// Outcome is what became of a change that was authorized. Its ID is that of the Intent, which
	// is not there where the change was refused before.
	Outcome Event = "outcome"
	// Refusal is a request that the caller's grants do not allow.
	Refusal Event = "refusal"
	// Configuration is a configuration that was put in force or refused.
	Configuration Event = "configuration"
)

// Record is one line of the stream. A field that does not apply is left out.
type Record struct {
	// Schema is the version of the fields, [Schema].
	Schema int `json:"schema"`
	// Time is when the record was made, by the gateway's clock, in UTC.
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	// ID is the request's, the value of Gateway-Request-Id. The decision of an operator has one,
	// too.
	ID string `json:"id,omitempty"`
	// Remote is the address of the client that the request came from, with its port where that is
	// known. Proxy is the address of the trusted proxy that says so. Where no proxy is trusted, Remote
	// is the address of the connection's other end.
	Remote string `json:"remote,omitempty"`
	Proxy  string `json:"proxy,omitempty"`

	// Caller is the name of the caller's entry, or anonymous. It is left out for operators, who
	// show nothing.
	Caller string `json:"caller,omitempty"`
	// Form is how the caller proved who it is: a value of callers.Form.
	Form string `json:"form,omitempty"`
	// Key is which credential of the caller's that was: see callers.Caller. It is no secret.
	Key string `json:"key,omitempty"`

	// Operation is the operationId, or releaseCreate or settleCreate of an operator.
	Operation string `json:"operation,omitempty"`
	// Group, Cluster, Snapshot and Bucket are what the request is about: the ids of a group, a
	// snapshot and an export bucket, and the name of a cluster.
	Group    string `json:"group,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	// CustomDataKeys are the keys of an export's custom data, without their values: the first 16,
	// each up to 64 bytes.
	CustomDataKeys []string `json:"custom_data_keys,omitempty"`
	// Create is the id of the journal's record that an operator decides about.
	Create string `json:"create,omitempty"`

	// Outcome is what became of a change: not_sent, answered or unknown, as in Gateway-Outcome. Of
	// an operator's decision it is done or refused, and of a configuration started, reloaded,
	// refused or certificates_renewed.
	Outcome string `json:"outcome,omitempty"`
	// Status is the status that was answered.
	Status int `json:"status,omitempty"`
	// Replayed says that the answer to a create was not made by sending this request, and Joined
	// that it is the answer to another one that was under way.
	Replayed bool `json:"replayed,omitempty"`
	Joined   bool `json:"joined,omitempty"`
	// Result is the id of what a create has made, such as an export job, where the answer or the
	// operator tells it.
	Result string `json:"result,omitempty"`
	// Error is the kind of the gateway's own refusal, the value of Gateway-Error, and Missing the
	// part of the caller's grants that is missing.
	Error   string `json:"error,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// The bounds of what a Record keeps, in bytes of each text and in number of keys.
const (
	maxText = 256
	maxKey  = 64
	maxKeys = 16
)

// line returns the record as a line of the stream.
func (r Record) line() []byte {
	r.Schema = Schema
	r.Time = r.Time.UTC()
	for _, text := range []*string{&r.ID, &r.Remote, &r.Proxy, &r.Caller, &r.Form, &r.Key, &r.Operation, &r.Group, &r.Cluster, &r.Snapshot, &r.Bucket, &r.Create, &r.Outcome, &r.Result, &r.Error, &r.Missing} {
		*text = cut(*text, maxText)
	}
	keys := r.CustomDataKeys[:min(len(r.CustomDataKeys), maxKeys)]
	r.CustomDataKeys = make([]string, len(keys))
	for i, key := range keys {
		r.CustomDataKeys[i] = cut(key, maxKey)
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts, numbers and a time of this age
	}
	return append(line, '\n')
}

// cut returns the first bytes of a text, without a part of a rune at the end.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
