package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Refusal is the error when no grant of a caller allows a request. It holds only the request and
// the caller's own grants, and does not tell what exists, so the caller may read it.
type Refusal struct {
	// Caller is the caller's name.
	Caller string
	// Request is the request that was refused.
	Request Request
	// Part is the key of the list that lacks an entry, in the grants that come closest. Grants come
	// closer the later they fail in the order operations, groups, clusters, export_buckets,
	// cloud_providers, bucket_names, service_urls.
	Part string
	// Allowed are the entries that those grants have in that list.
	Allowed []string
}

// maxEntries is how many entries of a list an error repeats.
const maxEntries = 8

func (r *Refusal) Error() string {
	p := part(slices.Index(keys[:], r.Part))
	var b strings.Builder
	fmt.Fprintf(&b, "no grant of caller %s allows %s", legible(r.Caller), legible(r.Request.Operation))
	o := describe(r.Request.Operation)
	if p >= groups {
		preposition := " in "
		if p >= clusters && slices.Contains(o.parts, clusters) {
			b.WriteString(" on cluster " + legible(r.Request.Cluster))
			preposition = " of "
		}
		switch o.scope {
		case everyGroup:
			b.WriteString(", which shows every group")
		case answerGroup:
			b.WriteString(" for the group of this name, or there is none")
		default:
			b.WriteString(preposition + "group " + legible(r.Request.Group))
		}
	}
	if p >= exportBuckets {
		thing := strings.TrimSuffix(words(r.Part), "s")
		if value := r.Request.value(p); value == "" {
			b.WriteString(" with no " + thing)
		} else {
			b.WriteString(" with " + thing + " " + legible(value))
		}
	}
	switch {
	case len(r.Allowed) > 0:
		b.WriteString("; its grants allow " + words(r.Part) + " " + entries(r.Allowed))
	case p == operations:
		b.WriteString("; it has no grants")
	default:
		b.WriteString("; its grants allow no " + words(r.Part))
	}
	if p == groups && o.scope == everyGroup {
		b.WriteString("; ask for one of them with getGroup or getGroupByName")
	}
	return b.String()
}

func words(key string) string { return strings.ReplaceAll(key, "_", " ") }

// entries lists the first entries of a list.
func entries(list []string) string {
	var texts []string
	for _, entry := range list[:min(len(list), maxEntries)] {
		texts = append(texts, legible(entry))
	}
	text := strings.Join(texts, ", ")
	if more := len(list) - maxEntries; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// legible quotes a text with any but plain characters. Such a text could otherwise be taken for
// the words around it, or end a line of the log.
func legible(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;`, r) }) {
		return fmt.Sprintf("%+q", text)
	}
	return text
}
