package idempotency

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"sync"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/store"
)

// request is a Request with what makes it the same as another.
type request struct {
	*Request
	kind   *kind
	key    string // of the journal; empty where the create has none
	given  bool   // the key is the caller's
	digest string // of the content and of where it is sent, over both generations of the API
	shape  string // digest of what a list shows of the thing created
	form   form
}

// form is what an answer's form depends on: two requests with the same form may have the same
// bytes.
type form struct {
	operation, version string
	query              string
}

// field is the value of Idempotency-Key: a string of RFC 8941, as
// draft-ietf-httpapi-idempotency-key-header has it, or the same without quotes, as most clients
// send it. It is compiled at its first use, since that takes milliseconds, which most starts don't
// need.
var field = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:"((?:[!#-\[\]-~]|\\["\\]){1,255})"|([!#-~][!-~]{0,254}))$`)
})

// identify finds the key of a request.
func (c *Creates) identify(config Config, r *Request) (*request, error) {
	q := &request{Request: r, kind: kinds[r.Match.Operation.ID], form: form{r.Match.Operation.ID, r.Version.Date, r.Match.Query}}
	group, cluster := r.Match.Parameter("groupId"), r.Match.Parameter("clusterName")
	content, _ := r.Content.(map[string]any)
	if q.kind == nil {
		return q, nil
	}
	q.shape = q.kind.shape(content)
	identity := q.kind.canonical(content)
	if r.Outside {
		identity = canonical(asWritten(r.Body)) // what the kind leaves out may matter
	}
	if r.Query != "" {
		identity = digest(identity, r.Query)
	}
	q.digest = digest("request", q.kind.name, group, cluster, identity)
	given, err := keyOf(r.Key)
	switch {
	case err != nil:
		return nil, err
	case given != "":
		q.given, q.key = true, digest("given", q.kind.name, r.Caller, given)
	case config.Keys == Required:
		return nil, &Error{Kind: KeyMissing, Outcome: atlas.NotSent}
	case config.Keys == Derived && q.kind.kept && !r.Outside && r.Query == "":
		q.key = derivedKey(q.kind.name, group, cluster, q.shape)
	case config.Keys == Derived:
		q.key = derivedKey(q.kind.name, group, cluster, q.digest)
	}
	return q, nil
}

// derivedKey returns the key of a create that bears none. What identifies it is the digest of what
// a list shows of it, where that is all that matters, or else that of its request.
func derivedKey(kind, group, cluster, identity string) string {
	return digest("derived", kind, group, cluster, identity)
}

// derived reports whether the key of a record was derived from the request.
func derived(r *store.Record) bool {
	return r.Key == derivedKey(r.Kind, r.Group, r.Cluster, r.Match) || r.Key == derivedKey(r.Kind, r.Group, r.Cluster, r.Request)
}

// differs reports whether the record of a request's own key is that of another request.
func (q *request) differs(r *store.Record) bool { return q.given && r.Request != q.digest }

// keyOf returns the key in the values of Idempotency-Key, or nothing where there are none.
func keyOf(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	parts := field().FindStringSubmatch(values[0])
	if len(values) > 1 || parts == nil {
		return "", &Error{Kind: KeyMalformed, Outcome: atlas.NotSent}
	}
	if parts[1] != "" {
		return parts[1], nil
	}
	return parts[2], nil
}

// digest returns a digest of texts, each of which counts with its length.
func digest(texts ...string) string {
	hash := sha256.New()
	var length [8]byte
	for _, text := range texts {
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		hash.Write(length[:])
		hash.Write([]byte(text))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// asWritten returns the object of a body with its numbers as they are written: a float64 can't tell
// long ones apart.
func asWritten(body []byte) (content map[string]any) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	decoder.Decode(&content) // which was checked
	return content
}

// canonical returns the content of a request as JSON whose objects have their members in order,
// and without what Atlas ignores.
func canonical(content map[string]any) string {
	if _, ok := content["links"]; ok {
		content = maps.Clone(content)
		delete(content, "links")
	}
	text, _ := json.Marshal(content) // which sorts the members
	return string(text)
}
