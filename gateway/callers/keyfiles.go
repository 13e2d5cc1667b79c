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

// readHA1 returns the HA1 of a pair from its file, for a realm and an algorithm. Its errors name
// no other key than one in the form of a public key.
func readHA1(pair KeyPair, realm, algorithm string) (secret.Secret, error) {
	lines, err := readLines(pair.HA1File)
	if err != nil {
		return secret.Secret{}, err
	}
	found := map[string]string{}
	for i, line := range lines {
		l, ok := parseHA1(line)
		switch {
		case !ok:
			return secret.Secret{}, fmt.Errorf("the file's line %d is not PUBLIC-KEY:REALM:HASH, with a hash of 32 hexadecimal digits (MD5) or 64 (SHA-256)", i+1)
		case l.named && l.publicKey != pair.PublicKey:
			return secret.Secret{}, fmt.Errorf("the file's line %d is of another public key (%s)", i+1, secret.ShowID(l.publicKey))
		case l.named && l.realm != realm:
			return secret.Secret{}, fmt.Errorf("the file's line %d is for another realm than callers.realm", i+1)
		case found[l.algorithm] != "":
			return secret.Secret{}, fmt.Errorf("the file has a second line for %s", l.algorithm)
		}
		found[l.algorithm] = l.digits
	}
	if found[algorithm] == "" {
		return secret.Secret{}, fmt.Errorf("the file has no line for the digest algorithm, %s", algorithm)
	}
	return secret.New(found[algorithm]), nil
}

// ha1Line is a line of a file with HA1.
type ha1Line struct {
	named             bool // the line names its public key and realm
	publicKey, realm  string
	algorithm, digits string
}

// parseHA1 reads a line in the form of the program htdigest, PUBLIC-KEY:REALM:HASH, where the
// number of digits tells the algorithm. Files that were made before the line named its key have
// lines such as MD5:HASH, which can't be compared with anything.
func parseHA1(line string) (l ha1Line, ok bool) {
	first, last := strings.IndexByte(line, ':'), strings.LastIndexByte(line, ':')
	if first < 0 {
		return l, false
	}
	l.digits = strings.ToLower(line[last+1:])
	decoded, err := hex.DecodeString(l.digits)
	l.algorithm = map[int]string{16: digestauth.MD5, 32: digestauth.SHA256}[len(decoded)]
	if err != nil || l.algorithm == "" {
		return l, false
	}
	if first == last {
		return l, line[:first] == l.algorithm
	}
	l.named, l.publicKey, l.realm = true, line[:first], line[first+1:last]
	return l, true
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
