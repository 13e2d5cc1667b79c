package store_test

import (
	"testing"
	"time"

	"atlas-export-gateway/store"

	"github.com/google/go-cmp/cmp"
)

// keyUse returns the use of a key of the caller nightly; 0 stands for no use.
func keyUse(key string, since, used int64) store.KeyUse {
	u := store.KeyUse{Caller: "nightly", Form: "digest", Key: key, Since: time.UnixMilli(since)}
	if used != 0 {
		u.Used = time.UnixMilli(used)
	}
	return u
}

func checkKeyUses(t *testing.T, s *store.Store, want ...store.KeyUse) {
	t.Helper()
	got, err := s.KeyUses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The latest use of each key is known to all that have the journal, also when it is opened again,
// whoever notes it first. What nobody has noted for 30 days is forgotten.
func testKeyUses(t *testing.T, j *journal) {
	s := j.open(t)
	note := func(uses ...store.KeyUse) {
		t.Helper()
		check(t, s.NoteKeyUses(t.Context(), uses), nil)
	}
	checkKeyUses(t, s)
	note()
	another := store.KeyUse{Caller: "nightly", Form: "static_token", Key: "a", Since: time.UnixMilli(7)}
	note(keyUse("b", 5000, 0), another, keyUse("a", 1000, 2000))
	checkKeyUses(t, s, keyUse("a", 1000, 2000), keyUse("b", 5000, 0), another)
	note(keyUse("a", 1500, 1000), keyUse("b", 4000, 9000))
	checkKeyUses(t, s, keyUse("a", 1000, 2000), keyUse("b", 4000, 9000), another)

	// A clock that was ahead makes no key look used for long.
	ahead := time.Now().Add(time.Hour).UnixMilli()
	note(keyUse("c", ahead, ahead))
	checkKeyUses(t, s, keyUse("a", 1000, 2000), keyUse("b", 4000, 9000), keyUse("c", ahead, ahead), another)
	note(keyUse("c", 3000, 4000))
	s.Close()
	j.change(t, `UPDATE atlas_gateway_key_uses SET noted_at = noted_at - 86400000 * CAST(30 AS BIGINT) - 1 WHERE key <> 'a'`,
		`UPDATE atlas_gateway_key_uses SET noted_at = noted_at + 86400000 WHERE form = 'static_token'`)
	s = j.open(t)
	checkKeyUses(t, s, keyUse("a", 1000, 2000), keyUse("b", 4000, 9000), keyUse("c", 3000, 4000), another) // who reads first still knows it
	note(keyUse("b", 6000, 0))
	checkKeyUses(t, s, keyUse("a", 1000, 2000), keyUse("b", 4000, 9000), another)
	if !j.shared {
		return
	}
	other := j.open(t)
	done := make(chan error)
	for i, s := range []*store.Store{s, other} { // in orders that would lock each other out
		go func() {
			var err error
			for n := range int64(20) {
				order := []store.KeyUse{keyUse("a", 1000, 10_000+n), keyUse("b", 1000, 10_000+n)}
				if err == nil {
					err = s.NoteKeyUses(t.Context(), []store.KeyUse{order[i], order[1-i]})
				}
			}
			done <- err
		}()
	}
	for range 2 {
		check(t, <-done, nil)
	}
	checkKeyUses(t, other, keyUse("a", 1000, 10_019), keyUse("b", 1000, 10_019), another)
}

// The schema before the uses of keys is upgraded, with what is in it.
func testSchemaWithoutKeyUses(t *testing.T, j *journal) {
	s := j.open(t)
	r := begin(t, s, record("a"))
	r.State = store.Sent
	expiry := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	check(t, s.Revoke(t.Context(), "token", expiry.Add(-time.Hour), expiry), nil)
	s.Close()
	j.change(t, `DROP TABLE atlas_gateway_key_uses`, `DELETE FROM atlas_gateway_schema WHERE version > 3`)
	s = j.open(t)
	checkRecord(t, s, r)
	if got := revoked(t, s, 0); len(got) != 1 || !got["token"].Equal(expiry) {
		t.Errorf("%v", got)
	}
	check(t, s.NoteKeyUses(t.Context(), []store.KeyUse{keyUse("a", 1000, 2000)}), nil)
	checkKeyUses(t, s, keyUse("a", 1000, 2000))
}
