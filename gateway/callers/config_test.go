package callers_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/strictyaml"
	"atlas-export-gateway/secret"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// The configuration reads back from YAML, and its entries print in the form that a user can paste.
func TestConfig(t *testing.T) {
	const text = `
realm: MMS Public API
digest_algorithm: SHA-256
signing_key_file: signing.key
token_lifetime: 30m
nonce_lifetime: 1m
attempts:
  per_client: 20
  overall: 100
list:
- name: reporting
  key_pairs:
  - public_key: agwabc
    ha1_file: reporting.ha1
  tokens:
  - sha256: 00ff
  service_accounts:
  - client_id: agw_id_abc
    secret_sha256: ff00
`
	want := callers.Config{
		Settings: callers.Settings{
			Realm: "MMS Public API", DigestAlgorithm: "SHA-256", SigningKeyFile: "signing.key",
			TokenLifetime: 30 * time.Minute, NonceLifetime: time.Minute, Attempts: callers.Attempts{PerClient: 20, Overall: 100},
		},
		List: []callers.Entry{{
			Name:            "reporting",
			KeyPairs:        []callers.KeyPair{{PublicKey: "agwabc", HA1File: "reporting.ha1"}},
			Tokens:          []callers.Token{{SHA256: "00ff"}},
			ServiceAccounts: []callers.ServiceAccount{{ClientID: "agw_id_abc", SecretSHA256: "ff00"}},
		}},
	}
	var got callers.Config
	if _, err := strictyaml.Decode("c.yaml", []byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	entry, err := yaml.Marshal(want.List)
	if err != nil || !strings.HasSuffix(text, "list:\n"+string(entry)) {
		t.Errorf("%v\n%s", err, entry)
	}
	if _, err := strictyaml.Decode("c.yaml", []byte("list:\n- nam: x\n"), &got); err == nil || err.Error() != "c.yaml:2: list[0].nam: unknown key; did you mean name?" {
		t.Error(err)
	}
}

// Compile finds all mistakes at once, and no message shows what may be a secret.
func TestCompileRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string { return write(t, filepath.Join(dir, name), content) }
	const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	canary := "c4na7y-s3cr3t"
	md5 := "MD5:" + hash[:32] + "\n"
	pair := func(id, ha1 string) []callers.KeyPair { return []callers.KeyPair{{PublicKey: id, HA1File: ha1}} }
	config := callers.Config{
		Settings: callers.Settings{
			Realm: `a"b`, DigestAlgorithm: "MD-5", SigningKeyFile: file("short", "c2hvcnQ=\n"),
			TokenLifetime: time.Second, NonceLifetime: -1, Attempts: callers.Attempts{PerClient: -1, Overall: -1},
		},
		List: []callers.Entry{
			{Name: "", Tokens: []callers.Token{{SHA256: canary}, {SHA256: hash}, {SHA256: strings.ToUpper(hash)}, {SHA256: hash + "00"}, {}}},
			{Name: "a", KeyPairs: pair("", "")},
			{Name: "a", KeyPairs: pair("b:"+canary, filepath.Join(dir, canary))},
			{Name: "ü", ServiceAccounts: []callers.ServiceAccount{{ClientID: "c", SecretSHA256: hash}, {ClientID: "c", SecretSHA256: "x"}}},
			{Name: "none"},
			{Name: "files", KeyPairs: slices.Concat(
				pair("d", file("garbage", canary)), pair("d", file("twice", md5+md5)), pair("e", file("odd", "MD5:"+hash)),
				pair("f", file("large", strings.Repeat("\n", 20<<10))), pair("g", dir), pair("h", file("empty", "")))},
		},
	}
	got := reports(t, config, false)
	want := []string{
		`attempts.overall: is -1; expected 1 to 1000000`,
		`attempts.per_client: is -1; expected 1 to 1000000`,
		`digest_algorithm: is "MD-5"; expected one of MD5, SHA-256; did you mean MD5?`,
		`list[0].name: is required`,
		`list[0].tokens[0].sha256: expected a SHA-256 hash, 64 hexadecimal digits`,
		`list[0].tokens[2].sha256: another token has the same hash`,
		`list[0].tokens[3].sha256: expected a SHA-256 hash, 64 hexadecimal digits`,
		`list[0].tokens[4].sha256: expected a SHA-256 hash, 64 hexadecimal digits`,
		`list[1].key_pairs[0].ha1_file: is required`,
		`list[1].key_pairs[0].public_key: is required`,
		`list[2].key_pairs[0].ha1_file: the file can't be read: no such file or directory`,
		`list[2].key_pairs[0].public_key: expected up to 128 letters, digits, dots, hyphens, underscores and tildes`,
		`list[2].name: another caller has the name a`,
		`list[3].name: expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit`,
		`list[3].service_accounts[1].client_id: occurs twice`,
		`list[3].service_accounts[1].secret_sha256: expected a SHA-256 hash, 64 hexadecimal digits`,
		`list[4]: the caller has no key: expected key_pairs, tokens, service_accounts, identities or certificates`,
		`list[5].key_pairs[0].ha1_file: the file's line 1 is not PUBLIC-KEY:REALM:HASH, with a hash of 32 hexadecimal digits (MD5) or 64 (SHA-256)`,
		`list[5].key_pairs[1].ha1_file: the file has a second line for MD5`,
		`list[5].key_pairs[2].ha1_file: the file's line 1 is not PUBLIC-KEY:REALM:HASH, with a hash of 32 hexadecimal digits (MD5) or 64 (SHA-256)`,
		`list[5].key_pairs[3].ha1_file: the file can't be read: larger than 16384 bytes`,
		`list[5].key_pairs[4].ha1_file: the file can't be read: is a directory`,
		`list[5].key_pairs[5].ha1_file: the file has no line for the digest algorithm, MD-5`,
		`nonce_lifetime: is -1ns; expected 10s to 1h`,
		`realm: expected printable ASCII without quotes and backslashes`,
		`signing_key_file: the file's line 1 is not base64 of at least 32 bytes`,
		`token_lifetime: is 1s; expected 1m to 24h`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, canary) {
		t.Error(all)
	}
}

// When a signing key is required, and what the files of keys must hold.
func TestCompileKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string { return write(t, filepath.Join(dir, name), content) }
	md5 := []callers.KeyPair{{PublicKey: "a", HA1File: file("md5", "MD5:0123456789abcdef0123456789abcdef\n")}}
	one := callers.NewSigningKey().Reveal()
	hashes := []string{"0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	for _, tt := range []struct {
		name   string
		c      callers.Config
		madeUp bool
		want   []string
	}{
		{"nothing", callers.Config{}, false, nil},
		{"tokens need no signing key", callers.Config{List: []callers.Entry{callers.NewToken("a").Entry}}, false, nil},
		{"service accounts do", callers.Config{List: []callers.Entry{callers.NewServiceAccount("a").Entry}}, false,
			[]string{"signing_key_file: is required for key pairs and service accounts, unless a single process listens on a loopback address"}},
		{"a key made up", callers.Config{List: []callers.Entry{callers.NewServiceAccount("a").Entry}}, true, nil},
		{"the file of another algorithm", callers.Config{Settings: callers.Settings{DigestAlgorithm: "SHA-256"}, List: []callers.Entry{{Name: "a", KeyPairs: md5}}}, true,
			[]string{"list[0].key_pairs[0].ha1_file: the file has no line for the digest algorithm, SHA-256"}},
		{"files that name their key and realm", callers.Config{List: []callers.Entry{{Name: "a", KeyPairs: []callers.KeyPair{
			{PublicKey: "agwabc", HA1File: file("named", "agwabc:MMS Public API:"+hashes[0]+"\nagwabc:MMS Public API:"+hashes[1])},
			{PublicKey: "MD5", HA1File: file("capitals", "MD5:MMS Public API:"+strings.ToUpper(hashes[0]))},
		}}}}, true, nil},
		{"a realm with colons", callers.Config{Settings: callers.Settings{Realm: "a:b:"}, List: []callers.Entry{{Name: "a", KeyPairs: []callers.KeyPair{{PublicKey: "agwabc", HA1File: file("colons", "agwabc:a:b::"+hashes[0])}}}}}, true, nil},
		{"files of other keys and realms", callers.Config{List: []callers.Entry{{Name: "a", KeyPairs: []callers.KeyPair{
			{PublicKey: "agwabc", HA1File: file("other", "agwabd:MMS Public API:"+hashes[0])},
			{PublicKey: "agwb", HA1File: file("secret", "c4na7y-s3cr3t:MMS Public API:"+hashes[0])},
			{PublicKey: "agwc", HA1File: file("realm", "agwc:MMS Public API:"+hashes[1]+"\nagwc:c4na7y:"+hashes[0])},
			{PublicKey: "agwd", HA1File: file("short", "agwd:MMS Public API:"+hashes[0][1:])},
			{PublicKey: "agwe", HA1File: file("algorithms", "SHA-256:"+hashes[0])},
		}}}}, true, []string{
			"list[0].key_pairs[0].ha1_file: the file's line 1 is of another public key (agwabd)",
			"list[0].key_pairs[1].ha1_file: the file's line 1 is of another public key (other)",
			"list[0].key_pairs[2].ha1_file: the file's line 2 is for another realm than callers.realm",
			"list[0].key_pairs[3].ha1_file: the file's line 1 is not PUBLIC-KEY:REALM:HASH, with a hash of 32 hexadecimal digits (MD5) or 64 (SHA-256)",
			"list[0].key_pairs[4].ha1_file: the file's line 1 is not PUBLIC-KEY:REALM:HASH, with a hash of 32 hexadecimal digits (MD5) or 64 (SHA-256)",
		}},
		{"a file behind a byte order mark", callers.Config{List: []callers.Entry{{Name: "a", KeyPairs: []callers.KeyPair{{PublicKey: "a", HA1File: file("mark", "\ufeffMD5:"+hashes[0])}}}}}, true,
			[]string{"list[0].key_pairs[0].ha1_file: the file holds U+FEFF (byte order mark)"}},
		{"three signing keys", callers.Config{Settings: callers.Settings{SigningKeyFile: file("three", one+one+one)}}, true,
			[]string{"signing_key_file: the file has 3 lines; expected the current key and, below it, at most one more"}},
		{"no signing key", callers.Config{Settings: callers.Settings{SigningKeyFile: file("none", "")}}, true,
			[]string{"signing_key_file: the file has 0 lines; expected the current key and, below it, at most one more"}},
	} {
		if d := cmp.Diff(tt.want, reports(t, tt.c, tt.madeUp)); d != "" {
			t.Error(tt.name, d)
		}
	}
}

// Compile reads each file once: the content of a pipe can't be read twice.
func TestCompileReadsOnce(t *testing.T) {
	pipe := func(content secret.Secret) string {
		read, written, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { read.Close() })
		written.WriteString(content.Reveal())
		written.Close()
		return fmt.Sprintf("/dev/fd/%d", read.Fd())
	}
	k, config := issue(t)
	config.SigningKeyFile = pipe(callers.NewSigningKey())
	config.List[0].KeyPairs[0].HA1File = pipe(k.pair.HA1File)
	a := build(t, config, callers.Options{})
	if r := reason(a, field{sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 1)}); r != "" {
		t.Error(r)
	}
}

// reports returns what Compile refuses, sorted.
func reports(t *testing.T, c callers.Config, keyMadeUp bool) (all []string) {
	t.Helper()
	d := callers.Compile(c, keyMadeUp, func(path, format string, args ...any) {
		all = append(all, path+": "+fmt.Errorf(format, args...).Error())
	})
	if (d == nil) != (len(all) > 0) {
		t.Errorf("%d mistakes, and the directory is %v", len(all), d)
	}
	slices.Sort(all)
	return all
}

// Each secret that is issued is new and long. It does not show when a value of this package is
// printed, and in no refusal.
func TestNoSecretShows(t *testing.T) {
	k, config := issue(t)
	other, _ := issue(t)
	signing := callers.NewSigningKey()
	config.SigningKeyFile = write(t, filepath.Join(t.TempDir(), "key"), signing.Reveal())
	d, m := compile(t, config), callers.NewMemory()
	a := callers.New(d, m, callers.Options{})
	m.Keep(a)
	server := serve(t, a)
	token := secret.New(accessToken(t, server, k.account))
	var canaries []string
	for _, s := range []secret.Secret{k.pair.Secret, k.account.Secret, k.token.Secret, k.pair.HA1File, signing, token,
		other.pair.Secret, other.account.Secret, other.token.Secret} {
		for line := range strings.Lines(s.Reveal()) {
			line = strings.TrimSpace(line)
			digits := line[strings.LastIndexByte(line, ':')+1:]
			if len(strings.TrimPrefix(digits, "agw_xx_")) < 26 {
				t.Errorf("%d characters are too few", len(digits))
			}
			if slices.Contains(canaries, digits) {
				t.Error("a secret was issued twice")
			}
			canaries = append(canaries, digits)
		}
	}
	var refusals []error
	for _, f := range []field{
		nil,
		{sign(t, challenge(t, server), k.pair.ID, other.pair.Secret, 1)},
		{basic(k.pair.ID, other.pair.Secret)},
		{basic(other.pair.ID, k.pair.Secret)},
		{"Bearer " + other.token.Secret.Reveal()},
		{"Bearer " + token.Reveal() + "A"},
		{"Bearer " + token.Reveal() + " x"},
		{k.token.Secret.Reveal()},
		{"Digest " + k.pair.Secret.Reveal()},
		{"Digest " + k.pair.Secret.Reveal() + "=1, " + k.pair.Secret.Reveal() + "=1"},
	} {
		r := newRequest(f)
		_, err := a.Authenticate(r, netip.Addr{})
		refusals = append(refusals, err)
	}
	for i, err := range refusals {
		if err == nil {
			t.Error(i, "was let in")
		}
	}
	file, _ := os.ReadFile(config.SigningKeyFile)
	if string(file) != signing.Reveal() {
		t.Error("the file was changed")
	}
	dereferenced := *a
	for _, v := range []any{a, dereferenced, d, m, k, config, refusals} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			checkPrinted(t, fmt.Sprintf(verb, v), canaries)
		}
	}
	for _, err := range refusals {
		checkPrinted(t, err.Error(), canaries)
		checkPrinted(t, fmt.Sprintf("%+v %#v", err, err), canaries)
	}
}

func checkPrinted(t *testing.T, printed string, canaries []string) {
	t.Helper()
	for i, canary := range canaries {
		if strings.Contains(strings.ToLower(printed), strings.ToLower(canary)) || strings.Contains(printed, fmt.Sprintf("%x", canary)) {
			t.Errorf("secret %d shows in %.300s", i, printed)
		}
	}
}
