package secret_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"
)

// Public halves of keys are shown, and everything else is not: private halves, tokens and free
// text.
func TestShowID(t *testing.T) {
	pair, account, token := callers.NewKeyPair("a", "", "a"), callers.NewServiceAccount("a"), callers.NewToken("a")
	for _, id := range []string{pair.ID, account.ID, "abcdefgh", "mdb_sa_id_51a1a7ed00000000000000aa", "agwabc"} {
		if got := secret.ShowID(id); got != id {
			t.Errorf("%s is shown as %s", id, got)
		}
	}
	for _, text := range []string{
		pair.Secret.Reveal(), account.Secret.Reveal(), token.Secret.Reveal(), callers.NewSigningKey().Reveal(), pair.HA1File.Reveal(),
		strings.ToLower(pair.Secret.Reveal()), strings.TrimPrefix(account.Secret.Reveal(), "agw_"),
		"51a1a7ed-a71a-5000-beef-51a1a7edda7a", "mdb_sa_sk_51a1a7ed00000000000000aa", "eyJhbGciOiJIUzI1NiJ9.e30.x",
		"", "other", "agw", "abcdefghi", "ABCDEFGH", "abcdefg1", " abcdefgh", "abcdefgh\n", "agwabc\" forged=\"1", "agw_sk_abc", "agwabc\u202e",
		"agw" + strings.Repeat("a", 25), strings.Repeat("a", 1<<20),
	} {
		if got := secret.ShowID(text); got != secret.OtherID {
			t.Errorf("%.60q is shown", text)
		}
	}
}
