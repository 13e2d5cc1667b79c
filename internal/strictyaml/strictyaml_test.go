package strictyaml_test

import (
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/strictyaml"

	"github.com/google/go-cmp/cmp"
)

type server struct {
	Listen  string        `yaml:"listen"`
	Timeout time.Duration `yaml:"timeout"`
	Size    int           `yaml:"size"`
	TLS     bool          `yaml:"tls"`
	Zone    string        `yaml:"time_zone"`
}

type config struct {
	Server server            `yaml:"server"`
	Peers  []server          `yaml:"peers"`
	Labels map[string]string `yaml:"labels"`

	Claims map[string]strictyaml.Texts `yaml:"claims"`
}

func TestDecode(t *testing.T) {
	var got config
	_, err := strictyaml.Decode("good.yaml", []byte(`
# a comment
---
server:
  listen: 127.0.0.1:0
  timeout: 1m30s
peers:
  - listen: a:1
    size: 3
  - {listen: "b:2"}
labels: {any: thing, id: 640000000000000000000000, count: 12, on: true}
claims: {sub: "a:*", /b/c: [d, 12], id: 640000000000000000000000, on: true}
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Server: server{Listen: "127.0.0.1:0", Timeout: 90 * time.Second},
		Peers:  []server{{Listen: "a:1", Size: 3}, {Listen: "b:2"}},
		Labels: map[string]string{"any": "thing", "id": "640000000000000000000000", "count": "12", "on": "true"},
		Claims: map[string]strictyaml.Texts{"sub": {"a:*"}, "/b/c": {"d", "12"}, "id": {"640000000000000000000000"}, "on": {"true"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A file may begin with a byte order mark, which changes nothing: not the lines of errors, and not
// what the file may begin with.
func TestByteOrderMark(t *testing.T) {
	for _, text := range []string{"server: {listen: a}\n", "# a comment\nserver: {listen: a}\n", "---\nserver: {listen: a}\n", "\n\nserver:\n  listen: a\n", "server: {listen: a}\r\n"} {
		var got config
		if _, err := strictyaml.Decode("f.yaml", []byte("\ufeff"+text), &got); err != nil || got.Server.Listen != "a" {
			t.Errorf("%q: %v, %+v", text, err, got)
		}
		_, with := strictyaml.Decode("f.yaml", []byte("\ufeff"+text+"x: y\n"), &got)
		_, without := strictyaml.Decode("f.yaml", []byte(text+"x: y\n"), &got)
		if with == nil || with.Error() != without.Error() {
			t.Errorf("%q: %v, without the mark %v", text, with, without)
		}
	}
	if _, err := strictyaml.Decode("f.yaml", []byte("\ufeff"), new(config)); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, document, want string }{
		{"an unknown key", "server:\n  lissten: a", "f.yaml:2: server.lissten: unknown key; did you mean listen?"},
		{"an unknown key with nothing near", "server:\n  zebra: a", "f.yaml:2: server.zebra: unknown key"},
		{"an unknown key at the top", "servers: {}", "f.yaml:1: servers: unknown key; did you mean server?"},
		{"an unknown key in a list", "peers:\n- listen: a\n- sise: 3", "f.yaml:3: peers[1].sise: unknown key; did you mean size?"},
		{"a number that is read as another text", "claims: {a: 0x10}", "f.yaml:1: claims.a: expected a text; put it in quotes"},
		{"keys in the place of texts", "claims: {a: {b: c}}", "f.yaml:1: claims.a: expected a text"},
		{"a list in the place of a text", "claims: {a: [[b]]}", "f.yaml:1: claims.a[0]: expected a text"},
		{"two unknown keys", "foo: 1\nserver:\n  Listen: a", "f.yaml:1: foo: unknown key\nf.yaml:3: server.Listen: unknown key; did you mean listen?"},
		{"a beginning of keys", "server:\n  time: 1s", "f.yaml:2: server.time: unknown key; did you mean time_zone?"},
		{"a repeated key", "server:\n  size: 1\n  size: 2", "f.yaml:3: the key size is there twice; the first is in line 2"},
		{"a repeated key of a map", "labels: {a: b, \"a\": c}", "f.yaml:1: the key a is there twice; the first is in line 1"},
		{"a number beyond int", "server:\n  size: 9223372036854775808", "f.yaml:2: server.size: the number is out of range"},
		{"a number beyond uint", "server:\n  size: 99999999999999999999", "f.yaml:2: server.size: the number is out of range"},
		{"a negative number beyond int", "server:\n  size: -9223372036854775809", "f.yaml:2: server.size: the number is out of range"},
		{"a word where a number belongs", "server:\n  size: many", "f.yaml:2: server.size: expected a whole number"},
		{"a secret where a number belongs", "server:\n  size: c4na7y", "f.yaml:2: server.size: expected a whole number"},
		{"a fraction", "server:\n  size: 1.5", "f.yaml:2: server.size: expected a whole number"},
		{"an octal number", "server:\n  size: 010", "f.yaml:2: server.size: expected a whole number"},
		{"a number with a sign", "server:\n  size: +1", "f.yaml:2: server.size: expected a whole number"},
		{"a number in quotes", "server:\n  size: '1'", "f.yaml:2: server.size: expected a whole number"},
		{"yes", "server:\n  tls: yes", "f.yaml:2: server.tls: expected true or false"},
		{"a number for true", "server:\n  tls: 1", "f.yaml:2: server.tls: expected true or false"},
		{"a number where keys belong", "server: 7", "f.yaml:1: server: expected keys with values"},
		{"a list where keys belong", "server: []", "f.yaml:1: server: expected keys with values"},
		{"a text where a map belongs", "labels: a", "f.yaml:1: labels: expected keys with values"},
		{"a text where the document belongs", "a", "f.yaml:1: expected keys with values"},
		{"a text where a list belongs", "peers: a", "f.yaml:1: peers: expected a list"},
		{"keys where a list belongs", "peers: {listen: a}", "f.yaml:1: peers: expected a list"},
		{"a list where a text belongs", "server: {listen: [a]}", "f.yaml:1: server.listen: expected a text"},
		{"keys where a text belongs", "labels: {a: {b: c}}", "f.yaml:1: labels.a: expected a text"},
		{"an octal number where a text belongs", "peers: [{listen: 010}]", "f.yaml:1: peers[0].listen: expected a text; put it in quotes"},
		{"a fraction that would lose a digit", "server: {listen: 1.50}", "f.yaml:1: server.listen: expected a text; put it in quotes"},
		{"a word where a duration belongs", "server:\n  timeout: soon", "f.yaml:2: server.timeout: expected a duration such as 500ms, 10s or 1m30s"},
		{"a number where a duration belongs", "server:\n  timeout: 5", "f.yaml:2: server.timeout: expected a duration such as 500ms, 10s or 1m30s"},
		{"two values of other types", "server: {size: a, timeout: b}", "f.yaml:1: server.size: expected a whole number\nf.yaml:1: server.timeout: expected a duration such as 500ms, 10s or 1m30s"},
		{"an open list", "server: [", "f.yaml:1: the list in brackets has no ]"},
		{"open braces", "server: {", "f.yaml:1: the mapping in braces has no }"},
		{"a tab", "server:\n\tlisten: a", "f.yaml:2: a tab; indent with spaces"},
		{"a tab behind a key", "server:\n  listen: a\n\tsize: 1", "f.yaml:3: a tab; indent with spaces"},
		{"a tab at the start", "\tserver: {}", "f.yaml:1: a tab; indent with spaces"},
		{"a line without a colon", "server {}\npeers: []", "f.yaml:1: expected a key, a colon and a space"},
		{"two colons in a line", "server: listen: a", "f.yaml:1: a second colon with a space; put the text in quotes"},
		{"another indentation", "server:\n  listen: a\n size: 1", "f.yaml:3: a value that belongs to no key; is the line indented as the others?"},
		{"a list without a value", "server: {}\npeers:", "f.yaml:2: peers: has no value; leave the key out, or write a list"},
		{"a list that is null", "peers: ~", "f.yaml:1: peers: has no value"},
		{"a tag", "peers: !!null ''", "f.yaml:1: peers: anchors, aliases and tags are not accepted"},
		{"a tag without a value", "peers: !!seq", "f.yaml:1: peers: has no value"},
		{"an anchor", "server: &s {listen: a}", "f.yaml:1: server: anchors"},
		{"an alias", "labels: {a: &n b}\npeers: *n", "f.yaml:2: peers: anchors"},
		{"an alias alone", "\n*n", "f.yaml:2: anchors"},
		{"a merge", "server: {listen: a}\npeers:\n- <<: *x", "f.yaml:3"},
		{"a document behind an empty one", "---\n---\nserver: {listen: a}\n", "f.yaml:2: a second document"},
		{"a document behind a comment", "---\n# none\n--- # here\nserver: {}", "f.yaml:3: a second document"},
		{"a second document", "server: {}\n---\nserver: {}", "f.yaml:3: a second document"},
	}
	for _, test := range tests {
		refuses(t, test.name, test.document, test.want)
	}
}

// What the library says of indentation, colons and stars would lead astray.
func TestDecodeRewordsUsualMistakes(t *testing.T) {
	for _, test := range []struct{ name, document, want string }{
		{"a key that is indented further", "server:\n  listen: a\n   size: 1", "f.yaml:3: a line that is indented further than the one before it, which has a value; indent them alike"},
		{"a key that is indented further, behind quotes", "server:\n  listen: 'a'\n   size: 1", "f.yaml:3: a line that is indented further"},
		{"a key that is indented further, in a list", "peers:\n  - listen: a\n      size: 1", "f.yaml:3: a line that is indented further"},
		{"a first key that is not indented", "server:\nlisten: a\n  size: 1", "f.yaml:3: a line that is indented further"},
		{"a key without a colon", "server:\n  size: 1\n  listen [a]", "f.yaml:3: expected a key, a colon and a space"},
		{"a colon without a space", "server:\n  size: 1\n  listen:[a]\n  tls: true", "f.yaml:3: expected a key, a colon and a space"},
		{"a star without quotes", "claims: {sub: *}", "f.yaml:1: a text that begins with * needs quotes"},
		{"a star without quotes in a list", "claims: {sub: [*]}", "f.yaml:1: a text that begins with * needs quotes"},
		{"a star in a line of its own", "claims:\n  sub: *", "f.yaml:2: a text that begins with * needs quotes"},
		{"a star without quotes before a key", "claims:\n  sub: *\nlabels: {}", "f.yaml:2: a text that begins with * needs quotes"},
		{"a star without quotes in lines", "claims:\n  sub:\n    - *\n    - b", "f.yaml:3: a text that begins with * needs quotes"},
		{"a pattern without quotes", "claims: {sub: [*event]}", "f.yaml:1: claims.sub[0]: anchors, aliases and tags are not accepted; a text that begins with &, * or ! needs quotes"},
	} {
		refuses(t, test.name, test.document, test.want)
	}
}

// What can't be seen in a key or a value is named in the error.
func TestDecodeNamesWhatIsInvisible(t *testing.T) {
	for _, test := range []struct{ name, document, want string }{
		{"a byte order mark behind the first", "\ufeff\ufeffserver: {}", "f.yaml:1: <U+FEFF>server: unknown key; did you mean server without U+FEFF (byte order mark)?"},
		{"a byte order mark further on", "server: {}\n\ufeffpeers: []", "f.yaml:2: <U+FEFF>peers: unknown key; did you mean peers without U+FEFF (byte order mark)?"},
		{"a space without width", "server:\n  lis\u200bten: a", "f.yaml:2: server.lis<U+200B>ten: unknown key; did you mean listen without U+200B (zero width space)?"},
		{"a mark of direction", "server:\n  \u202elisten: a", "f.yaml:2: server.<U+202E>listen: unknown key; did you mean listen without U+202E (a mark of the direction of writing)?"},
		{"spaces that do not break", "server:\n\u00a0\u00a0listen: a", "f.yaml:2: <U+00A0><U+00A0>listen: unknown key; it holds U+00A0 (no-break space)"},
		{"a space that does not break behind a colon", "server:\u00a0{listen: a}", "f.yaml:1: server:<U+00A0>{listen: unknown key; it holds U+00A0 (no-break space)"},
		{"a control character", "\x1b[31m: a", "f.yaml:1: <U+001B>[31m: unknown key; it holds U+001B (a control character)"},
		{"a number with what can't be seen", "server:\n  size: \u200b1", "f.yaml:2: server.size: expected a whole number; it holds U+200B (zero width space)"},
		{"a duration with what can't be seen", "server: {timeout: 1s\ufeff}", "f.yaml:1: server.timeout: expected a duration such as 500ms, 10s or 1m30s; it holds U+FEFF (byte order mark)"},
		{"UTF-16", "\xff\xfea\x00", "f.yaml: the file is in UTF-16; save it as UTF-8"},
		{"UTF-16 the other way round", "\xfe\xff\x00a", "f.yaml: the file is in UTF-16"},
	} {
		refuses(t, test.name, test.document, test.want)
	}
}

// refuses fails the test unless a document is refused with an error that holds want.
func refuses(t *testing.T, name, document, want string) {
	t.Run(name, func(t *testing.T) {
		_, err := strictyaml.Decode("f.yaml", []byte(document), new(config))
		if err == nil {
			t.Fatal("accepted")
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error:\n got %s\nwant %s", err, want)
		}
		if strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("the error shows the value: %s", err)
		}
	})
}

func TestErrorf(t *testing.T) {
	document, err := strictyaml.Decode("f.yaml", []byte("server:\n  listen: a\npeers:\n  - listen: b\n  - listen: \u200bc\n"), new(config))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"server.listen":   "f.yaml:2: server.listen: is wrong",
		"server.timeout":  "f.yaml:1: server.timeout: is wrong",
		"peers[0].listen": "f.yaml:4: peers[0].listen: is wrong",
		"peers[0].size":   "f.yaml:4: peers[0].size: is wrong",
		"labels":          "f.yaml: labels: is wrong",
		"peers[1].listen": "f.yaml:5: peers[1].listen: is wrong; it holds U+200B (zero width space)",
		"peers[1].size":   "f.yaml:5: peers[1].size: is wrong",
	} {
		if got := document.Errorf(path, "is %s", "wrong").Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
