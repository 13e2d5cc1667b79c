package objectid_test

import (
	"regexp"
	"testing"

	"atlas-export-gateway/internal/objectid"
)

// An id is what the pattern says, byte by byte.
func TestValid(t *testing.T) {
	pattern := regexp.MustCompile(objectid.Pattern)
	const id = "64f0c1a2b3d4e5f607182930"
	values := []string{"", id, id[1:], id + "0", id + id, id + "\n"}
	for b := range 256 {
		values = append(values, id[:7]+string([]byte{byte(b)})+id[8:], id[:23]+string([]byte{byte(b)}), string([]byte{byte(b)})+id[1:])
	}
	for _, value := range values {
		if got, want := objectid.Valid(value), pattern.MatchString(value); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}
