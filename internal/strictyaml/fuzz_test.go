package strictyaml_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/strictyaml"
)

// Whatever a file holds, repeated as often as 32 KB allow: to read it takes neither long nor much
// memory.
func FuzzDecode(f *testing.F) {
	for _, part := range []string{"[", "{a: ", "- ", "? ", ": ", "- a\n", "k: 1\n", "a: &a [*a]\n", "!a ", "'", "\"\\n", "a: |\n  x\n", "a:\n ", "# [\n", "--- \n", "\t- {", "k: 1\r", "#\r[", "? k\n", "a: 1\r\n"} {
		f.Add(part, "\n")
		f.Add(part, "]")
	}
	f.Fuzz(func(t *testing.T, part, end string) {
		if part == "" {
			return
		}
		text := strings.Repeat(part, 32<<10/len(part)) + end
		var into struct {
			A string
			B []string
			C map[string]struct{ D []int }
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		strictyaml.Decode("f", []byte(text), &into)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; took > 5*time.Second || allocated > 256<<20 {
			t.Errorf("%d bytes of %q took %s and %d MiB", len(text), part, took, allocated>>20)
		}
	})
}
