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

// What is wrong with an id is named, and the id is not quoted.
func TestCheck(t *testing.T) {
	const digits = "is not 24 hexadecimal digits in lower case"
	for id, want := range map[string]string{
		"64f0c1a2b3d4e5f607182930":  "",
		"64F0C1A2B3D4E5F607182930":  "has letters in upper case; write them in lower case",
		"64f0c1a2b3d4e5f60718293G":  digits,
		"64f0c1a2b3d4e5f6071829":    digits,
		"64F0C1A2B3D4E5F6071829300": digits,
		"production":                digits,
		"":                          digits,
	} {
		got := ""
		if err := objectid.Check(id); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s", id, got)
		}
	}
}
