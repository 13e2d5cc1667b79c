// Package objectid checks the form of Atlas's ids. What reads requests or writes them calls it.
// The simulated Atlas has a check of its own, so that one mistake does not hide another.
package objectid

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
