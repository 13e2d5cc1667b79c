package strictjson_test

import (
	"testing"
	"time"

	"atlas-export-gateway/internal/strictjson"

	"github.com/google/go-cmp/cmp"
)

type config struct {
	Name  string         `json:"name"`
	Size  int            `json:"size,omitempty"`
	Share float64        `json:"share"`
	On    bool           `json:"on"`
	At    time.Time      `json:"at"`
	Peers []config       `json:"peers"`
	Sizes map[string]int `json:"sizes"`
}

func TestDecode(t *testing.T) {
	got := config{Name: "kept", Size: 1}
	if err := strictjson.Decode([]byte("\ufeff"+` {"size": 2, "peers": [{"share": 0.5}], "sizes": {"a": 3}} `), &got); err != nil {
		t.Fatal(err)
	}
	want := config{Name: "kept", Size: 2, Peers: []config{{Share: 0.5}}, Sizes: map[string]int{"a": 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                  `line 1, column 1: the JSON ends early`,
		"{\n \"size\": 1,\n":                `line 3, column 1: the JSON ends early`,
		`{"size": 1`:                        `line 1, column 11: the JSON ends early`,
		`size: 1`:                           `line 1, column 1: not valid JSON: invalid character 's' at start of value`,
		"{\"size\": 1,\n\"peers\": [{},,]}": `line 2, column 14: /peers/1: not valid JSON: invalid character ',' at start of value`,
		`{"size": 1} {}`:                    `line 1, column 13: not valid JSON: invalid character '{' after top-level value`,
		`{"size": 1, "size": 2}`:            `line 1, column 13: /size: not valid JSON: duplicate object member name`,
		`{"peers": [{}, {"sise": 1}]}`:      `line 1, column 17: /peers/1/sise: is not a known member; did you mean size?`,
		`{"Size": 1}`:                       `line 1, column 2: /Size: is not a known member; did you mean size?`,
		"{\"si\u200bze\": 1}":               "line 1, column 2: /si<U+200B>ze: is not a known member; did you mean size without U+200B (zero width space)?",
		`{"zebra": 1}`:                      `line 1, column 2: /zebra: is not a known member`,
		`[]`:                                `line 1, column 1: must be an object`,
		`{"peers": {}}`:                     `line 1, column 11: /peers: must be an array`,
		`{"name": 1}`:                       `line 1, column 10: /name: must be a string`,
		`{"on": 1}`:                         `line 1, column 8: /on: must be true or false`,
		`{"share": "1"}`:                    `line 1, column 11: /share: must be a number`,
		`{"share": 1e999}`:                  `line 1, column 11: /share: is out of range`,
		`{"sizes": {"a": 1.5}}`:             `line 1, column 17: /sizes/a: must be a whole number`,
		`{"size": 99999999999999999999}`:    `line 1, column 10: /size: is out of range`,
		`{"at": 5}`:                         `line 1, column 8: /at: must be a string`,
		`{"at": "noon"}`:                    `line 1, column 8: /at: parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"`,
	} {
		if err := strictjson.Decode([]byte(text), new(config)); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}
