package callers

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/invisible"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// readHA1 returns the HA1 of the algorithm from a file.
func readHA1(file, algorithm string) (secret.Secret, error) {
	lines, err := readLines(file)
	if err != nil {
		return secret.Secret{}, err
	}
	found := map[string]string{}
	for i, line := range lines {
		name, digits, _ := strings.Cut(line, ":")
		size := map[string]int{digestauth.MD5: 16, digestauth.SHA256: 32}[name]
		decoded, err := hex.DecodeString(digits)
		switch {
		case err != nil || size == 0 || len(decoded) != size:
			return secret.Secret{}, fmt.Errorf("the file's line %d is neither MD5:<32 hexadecimal digits> nor SHA-256:<64 hexadecimal digits>", i+1)
		case found[name] != "":
			return secret.Secret{}, fmt.Errorf("the file has a second line for %s", name)
		}
		found[name] = strings.ToLower(digits)
	}
	if found[algorithm] == "" {
		return secret.Secret{}, fmt.Errorf("the file has no line for the digest algorithm, %s", algorithm)
	}
	return secret.New(found[algorithm]), nil
}

// minKey is the least length of a signing key, in bytes: the length of what HMAC-SHA-256 returns
// (RFC 7518, section 3.2).
const minKey = 32

func readSigningKeys(file string) ([]signingKey, error) {
	lines, err := readLines(file)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || len(lines) > 2 {
		return nil, fmt.Errorf("the file has %d lines; expected the current key and, below it, at most one more", len(lines))
	}
	var keys []signingKey
	for i, line := range lines {
		key, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(key) < minKey {
			return nil, fmt.Errorf("the file's line %d is not base64 of at least %d bytes", i+1, minKey)
		}
		keys = append(keys, newSigningKey(key))
	}
	return keys, nil
}

// maxFile bounds the files that hold keys, in bytes.
const maxFile = 16 << 10

// readLines returns the lines of a file that are not empty. Its errors hold neither the content
// nor the name of the file.
func readLines(file string) ([]string, error) {
	if file == "" {
		return nil, errors.New("is required")
	}
	content, err := smallfile.Read(file, maxFile)
	if err != nil {
		return nil, smallfile.WithoutName(err)
	}
	if hidden := invisible.In(string(content)); hidden != "" {
		return nil, errors.New("the file holds " + hidden)
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
