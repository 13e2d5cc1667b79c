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
}

type config struct {
	Server server            `yaml:"server"`
	Peers  []server          `yaml:"peers"`
	Labels map[string]string `yaml:"labels"`
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
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Server: server{Listen: "127.0.0.1:0", Timeout: 90 * time.Second},
		Peers:  []server{{Listen: "a:1", Size: 3}, {Listen: "b:2"}},
		Labels: map[string]string{"any": "thing", "id": "640000000000000000000000", "count": "12", "on": "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, document, want string }{
		{"an unknown key", "server:\n  lissten: a", "f.yaml:2: server.lissten: unknown key; did you mean listen?"},
		{"an unknown key with nothing near", "server:\n  zebra: a", "f.yaml:2: server.zebra: unknown key"},
		{"an unknown key at the top", "servers: {}", "f.yaml:1: servers: unknown key; did you mean server?"},
		{"an unknown key in a list", "peers:\n- listen: a\n- sise: 3", "f.yaml:3: peers[1].sise: unknown key; did you mean size?"},
		{"two unknown keys", "foo: 1\nserver:\n  Listen: a", "f.yaml:1: foo: unknown key\nf.yaml:3: server.Listen: unknown key; did you mean listen?"},
		{"a repeated key", "server:\n  size: 1\n  size: 2", "f.yaml:3: "},
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
		{"bad syntax", "server: [", "f.yaml:1: "},
		{"a tab", "server:\n\tlisten: a", "f.yaml:2: "},
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
		t.Run(test.name, func(t *testing.T) {
			_, err := strictyaml.Decode("f.yaml", []byte(test.document), new(config))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error:\n got %s\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), "c4na7y") {
				t.Errorf("the error shows the value: %s", err)
			}
		})
	}
}

func TestErrorf(t *testing.T) {
	document, err := strictyaml.Decode("f.yaml", []byte("server:\n  listen: a\npeers:\n  - listen: b\n"), new(config))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"server.listen":   "f.yaml:2: server.listen: is wrong",
		"server.timeout":  "f.yaml:1: server.timeout: is wrong",
		"peers[0].listen": "f.yaml:4: peers[0].listen: is wrong",
		"peers[0].size":   "f.yaml:4: peers[0].size: is wrong",
		"labels":          "f.yaml: labels: is wrong",
	} {
		if got := document.Errorf(path, "is %s", "wrong").Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
