package contract

import "strings"

// Programs agree on how to read what is in this file; they may read other texts in different ways.

// plainName reports whether a text is a name such as Atlas's members and parameters have: at most
// 40 letters, digits, underscores and hyphens of ASCII, with a letter at the start. So no name is
// an operator of a database or one that a language of scripts keeps for itself.
func plainName(text string) bool {
	for i, c := range []byte(text) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '_' || c == '-')) {
			return false
		}
	}
	return 0 < len(text) && len(text) <= 40
}

// plainNames reports whether all names of members in a value are plain, however deep.
func plainNames(value any) bool {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			if !plainNames(element) {
				return false
			}
		}
	case map[string]any:
		for name, member := range v {
			if !plainName(name) || !plainNames(member) {
				return false
			}
		}
	}
	return true
}

// plainValue reports whether a value in a query needs no escapes and has none (RFC 3986, section
// 2.3), and is short.
func plainValue(text string) bool {
	for _, c := range []byte(text) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~:,", c) >= 0) {
			return false
		}
	}
	return len(text) <= 256
}

// folds reports whether a name that is not among the known ones is one of them for a program that
// ignores case.
func folds[V any](name string, known map[string]V) bool {
	for k := range known {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}
