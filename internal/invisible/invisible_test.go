package invisible_test

import (
	"testing"

	"atlas-export-gateway/internal/invisible"
)

func Test(t *testing.T) {
	for _, test := range []struct{ text, in, without, show string }{
		{"", "", "", ""},
		{"listener", "", "listener", "listener"},
		{"a b-c_d.é, 木 🚀", "", "a b-c_d.é, 木 🚀", "a b-c_d.é, 木 🚀"},
		{"a\tb\r\nc", "", "a\tb\r\nc", "a<U+0009>b<U+000D><U+000A>c"},
		{"\ufefflistener", "U+FEFF (byte order mark)", "listener", "<U+FEFF>listener"},
		{"lis\u200btener\ufeff", "U+200B (zero width space)", "listener", "lis<U+200B>tener<U+FEFF>"},
		{"a\u00a0b", "U+00A0 (no-break space)", "ab", "a<U+00A0>b"},
		{"a\u202eb", "U+202E (a mark of the direction of writing)", "ab", "a<U+202E>b"},
		{"a\u200fb", "U+200F (right-to-left mark)", "ab", "a<U+200F>b"},
		{"a\u2067b", "U+2067 (a mark of the direction of writing)", "ab", "a<U+2067>b"},
		{"a\x1b[31m", "U+001B (a control character)", "a[31m", "a<U+001B>[31m"},
		{"a\u3164", "U+3164, which can't be seen", "a", "a<U+3164>"},
		{"a\ufe0f", "U+FE0F, which can't be seen", "a", "a<U+FE0F>"},
	} {
		if in, without, show := invisible.In(test.text), invisible.Without(test.text), invisible.Show(test.text); in != test.in || without != test.without || show != test.show {
			t.Errorf("%+q: %q, %q, %q", test.text, in, without, show)
		}
	}
}
