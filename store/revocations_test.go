package store_test

import (
	"maps"
	"testing"
	"time"

	"atlas-export-gateway/store"
)

// revoked returns what was revoked within a time: the expiry of each token.
func revoked(t *testing.T, s *store.Store, within time.Duration) map[string]time.Time {
	t.Helper()
	tokens := map[string]time.Time{}
	if err := s.Revoked(t.Context(), within, func(token string, issued, expiry time.Time) {
		if !issued.Equal(expiry.Add(-time.Hour)) {
			t.Errorf("%s: from %s to %s", token, issued, expiry)
		}
		tokens[token] = expiry
	}); err != nil {
		t.Fatal(err)
	}
	return tokens
}

// A token that was revoked is known to all that have the journal, when it is opened again too, and
// forgotten a day after it has expired.
func testRevocations(t *testing.T, j *journal) {
	s := j.open(t)
	now := time.Now().Truncate(time.Millisecond)
	revoke := func(token string, expiry time.Time) {
		t.Helper()
		if err := s.Revoke(t.Context(), token, expiry.Add(-time.Hour), expiry); err != nil {
			t.Fatal(err)
		}
	}
	revoke("long ago", now.Add(-25*time.Hour))
	revoke("a", now.Add(time.Minute))
	revoke("a", now.Add(time.Minute))
	revoke("b", now.Add(-time.Hour))
	want := map[string]time.Time{"a": now.Add(time.Minute), "b": now.Add(-time.Hour)}
	same := func(got map[string]time.Time) bool { return maps.EqualFunc(got, want, time.Time.Equal) }
	if got := revoked(t, s, 0); !same(got) {
		t.Errorf("%v", got)
	}
	if got := revoked(t, s, time.Hour); !same(got) {
		t.Errorf("within an hour: %v", got)
	}
	time.Sleep(5 * time.Millisecond)
	if got := revoked(t, s, time.Millisecond); len(got) > 0 {
		t.Errorf("within a millisecond: %v", got)
	}
	if !j.shared {
		s.Close()
	}
	if got := revoked(t, j.open(t), 0); !same(got) {
		t.Errorf("opened again: %v", got)
	}
}
