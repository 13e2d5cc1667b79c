package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"atlas-export-gateway/secret"
)

// credential is a struct with a secret.
type credential struct {
	Username string
	Password secret.Secret
}

func TestSecretNeverPrints(t *testing.T) {
	const canary = "c4na7y-7f3a"
	s := secret.New(canary)
	inside := struct {
		Exported   secret.Secret
		unexported secret.Secret
		credential *credential
	}{s, s, &credential{Username: "u", Password: s}}

	var out bytes.Buffer
	for _, verb := range strings.Split("v +v #v s q x X d t c U e f g b o O T p 08.3s -20q", " ") {
		for _, v := range []any{s, &s, inside, &inside, []secret.Secret{s}, map[string]secret.Secret{"k": s}} {
			fmt.Fprintf(&out, "%"+verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, s, s.String(), fmt.Errorf("%w: %v", fmt.Errorf("%v", s), inside))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("m", "s", s, "p", &s, "inside", inside, slog.Group("g", "s", s))
	}
	for _, v := range []any{s, &s, inside, map[string]any{"s": s}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
	}
	if b, err := xml.Marshal(s); err != nil {
		t.Error(err)
	} else {
		out.Write(b)
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("printed as %q", out.String()[max(0, i-80):i+len(form)])
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "REDACTED" {
			t.Errorf("%s prints %q, want REDACTED", verb, got)
		}
	}
}

func TestSecret(t *testing.T) {
	a, b, other := secret.New("a"), secret.New("a"), secret.New("ab")
	var zero, read secret.Secret
	if !a.Equal(b) || a.Equal(other) || a.Equal(zero) || !zero.Equal(secret.New("")) {
		t.Error("Equal is wrong")
	}
	if a.Reveal() != "a" || zero.Reveal() != "" || !zero.IsZero() || a.IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
	if err := json.Unmarshal([]byte(`"a"`), &read); err != nil || !read.Equal(a) {
		t.Errorf("read %q, %v", read.Reveal(), err)
	}
	if err := json.Unmarshal([]byte(`"REDACTED"`), &read); err == nil {
		t.Error("a redacted secret was taken for a secret")
	}
}
