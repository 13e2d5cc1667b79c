// Package objectid checks the form of Atlas's ids. What reads requests or writes them calls it.
// The simulated Atlas has a check of its own, so that one mistake does not hide another.
package objectid

import (
	"errors"
	"strings"
)

// Pattern is the form of an id as a regular expression, which is how the contract writes it.
const Pattern = `^[a-f0-9]{24}$`

// Valid reports whether s has the form of an id: 24 hexadecimal digits in lower case.
func Valid(s string) bool {
	for _, digit := range []byte(s) {
		if (digit < '0' || digit > '9') && (digit < 'a' || digit > 'f') {
			return false
		}
	}
	return len(s) == 24
}

// Check returns an error that says how s differs from the form of an id, or nil. The error quotes
// nothing of s: a secret may stand in the place of an id.
func Check(s string) error {
	switch {
	case Valid(s):
		return nil
	case Valid(strings.ToLower(s)):
		return errors.New("has letters in upper case; write them in lower case")
	}
	return errors.New("is not 24 hexadecimal digits in lower case")
}
