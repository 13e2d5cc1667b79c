package observe_test

import (
	"testing"
	"time"

	"atlas-export-gateway/gateway/observe"

	"github.com/google/go-cmp/cmp"
)

// Two tokens whose names are the same by chance have one series, and the metrics go on.
func TestKeysOfOneName(t *testing.T) {
	m := observe.NewMetrics(nil)
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	keys := []observe.Key{
		{Caller: "nightly", Form: "static_token", Key: "00010203", LastUsed: at(5), NotAfter: at(7)},
		{Caller: "nightly", Form: "static_token", Key: "00010203", LastUsed: at(5), NotAfter: at(8)},
		{Caller: "nightly", Form: "static_token", Key: "01020304"},
		{Caller: "weekly", Form: "digest", Key: "agwabc", LastUsed: at(6)},
	}
	m.WatchKeys(func() []observe.Key { return keys })
	got := map[string]string{}
	const prefix = "key_"
	for name, value := range series(t, m) {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			got[name] = value
		}
	}
	want := map[string]string{
		`key_last_used_timestamp_seconds{caller="nightly",form="static_token",key="00010203"}`: "5",
		`key_not_after_timestamp_seconds{caller="nightly",form="static_token",key="00010203"}`: "7",
		`key_last_used_timestamp_seconds{caller="weekly",form="digest",key="agwabc"}`:          "6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
