package config_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// ranges are the ranges of all numbers and times: the least, the most, a value above, and how an
// error names the range.
var ranges = map[string]struct{ least, most, above, named string }{
	"upstream.max_connections":    {"1", "1000000", "1000001", "1 to 1000000"},
	"callers.attempts.per_client": {"1", "1000000", "1000001", "1 to 1000000"},
	"callers.attempts.overall":    {"1", "1000000", "1000001", "1 to 1000000"},
	"callers.token_lifetime":      {"1m", "24h", "24h1ns", "1m to 24h"},
	"callers.nonce_lifetime":      {"10s", "1h", "1h1ns", "10s to 1h"},
	"limits.request_header":       {"1", "1048576", "1048577", "1 to 1048576"},
	"limits.request_body":         {"1", "67108864", "67108865", "1 to 67108864"},
	"limits.request_values":       {"1", "1000000", "1000001", "1 to 1000000"},
	"limits.response_body":        {"1", "268435456", "268435457", "1 to 268435456"},
	"limits.in_flight":            {"1", "1000000", "1000001", "1 to 1000000"},
	"limits.connections":          {"1", "1000000", "1000001", "1 to 1000000"},
	"timeouts.header":             {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"timeouts.request":            {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"timeouts.upstream":           {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"timeouts.idle":               {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"timeouts.drain":              {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"timeouts.shutdown":           {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"creates.retention":           {"1m", "8760h", "8760h0m0.000000001s", "1m to 8760h"},
	"creates.quarantine":          {"1ms", "24h", "24h1ns", "1ms to 24h"},
	"creates.wait":                {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"creates.open_per_caller":     {"1", "1000000", "1000001", "1 to 1000000"},
	"reads.freshness":             {"1ms", "1m", "1m1ns", "1ms to 1m"},
	"reads.kept_bytes":            {"1", "268435456", "268435457", "1 to 268435456"},
	"reads.stale_if_error":        {"1s", "24h", "24h1ns", "1s to 24h"},
	"budget.requests":             {"1", "1000000", "1000001", "1 to 1000000"},
	"budget.per_minute":           {"1", "1000000", "1000001", "1 to 1000000"},
	"budget.wait":                 {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"budget.attempts":             {"1", "10", "11", "1 to 10"},
	"tracing.sample":              {"1", "1000000", "1000001", "1 to 1000000"},
	"tracing.timeout":             {"1ms", "1h", "1h1ns", "1ms to 1h"},
	"responses.sample":            {"1", "1000000", "1000001", "1 to 1000000"},
}

// Every number and time has a range, and a value beyond it is refused with file, line and key.
func TestRanges(t *testing.T) {
	load := func(path, value string) (place string, err error) {
		section, key, _ := strings.Cut(path, ".")
		setting := key + ": " + value
		if outer, inner, nested := strings.Cut(key, "."); nested {
			setting = outer + ": {" + inner + ": " + value + "}"
		}
		text, line := goodFile+section+": {"+setting+"}\n", 8
		if before, behind, ok := strings.Cut(goodFile, section+":\n"); ok {
			text, line = before+section+":\n  "+setting+"\n"+behind, 2+strings.Count(before, "\n")
		}
		file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), text)
		_, err = config.Load(file, environ)
		return fmt.Sprintf("%s:%d: ", file, line), err
	}
	numbers := collectNumbers(reflect.TypeFor[config.Config](), "")
	for path, isTime := range numbers {
		r, ok := ranges[path]
		if !ok {
			t.Errorf("%s has no range", path)
			continue
		}
		for _, good := range []string{r.least, r.most, "0"} {
			if good == "0" && isTime {
				good = "0s"
			}
			if place, err := load(path, good); err != nil {
				t.Errorf("%s%s: %s: %v", place, path, good, err)
			}
		}
		bad := []string{r.above, "-1", "9223372036854775807"}
		if isTime {
			bad = []string{r.above, "-1ns", "1ns", "9223372036854775807ns"}
		}
		for _, value := range bad {
			place, err := load(path, value)
			if err == nil || !strings.HasPrefix(err.Error(), place+path+": is ") || !strings.HasSuffix(err.Error(), "; expected "+r.named) {
				t.Errorf("%s%s: %s: %v", place, path, value, err)
			}
		}
		// What is no number or no time is refused before.
		beyond := []string{"9223372036854775808", "1e30", ".inf", "1.5"}
		if isTime {
			beyond = []string{"9999999h", "1e30s", ".inf", "5"}
		}
		for _, value := range beyond {
			if place, err := load(path, value); err == nil || !strings.HasPrefix(err.Error(), place) {
				t.Errorf("%s%s: %s: %v", place, path, value, err)
			}
		}
	}
	if len(numbers) != len(ranges) {
		t.Errorf("%d settings are numbers or times, and %d have a range", len(numbers), len(ranges))
	}
}

// collectNumbers returns the paths of the settings that are numbers or times, and which are times.
func collectNumbers(in reflect.Type, path string) map[string]bool {
	found := map[string]bool{}
	for i := range in.NumField() {
		field := in.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inner := strings.TrimPrefix(path+"."+key, ".")
		if options == "inline" {
			inner = path
		}
		switch {
		case field.Type == reflect.TypeFor[time.Duration]():
			found[inner] = true
		case field.Type.Kind() == reflect.Struct:
			for name, isTime := range collectNumbers(field.Type, inner) {
				found[name] = isTime
			}
		case field.Type.ConvertibleTo(reflect.TypeFor[float64]()):
			found[inner] = false
		}
	}
	return found
}
