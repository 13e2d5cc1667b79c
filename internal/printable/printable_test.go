package printable_test

import (
	"testing"

	"atlas-export-gateway/internal/printable"
)

func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"acme-exports, 3 €ä": "acme-exports, 3 €ä",
		`it's "quoted" \n`:   `it's "quoted" \n`,
		"a\nb\r\tc":          `a\nb\r\tc`,
		"\x1b[2J\a":          `\x1b[2J\a`,
		"\u202eb\ufeff":      `\u202eb\ufeff`,
		"\u00a0\u2028":       `\u00a0\u2028`,
		"\xff":               "\ufffd",
		"\U000e0001":         `\U000e0001`,
	} {
		if got := printable.Escape(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
