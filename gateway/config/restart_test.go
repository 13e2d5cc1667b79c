package config_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// fixed are the settings that can't be changed without a restart.
var fixed = []string{
	"listener.address", "listener.tls_cert_file", "listener.tls_key_file", "listener.allow_plain_http", "listener.client_address", "management.address",
	"limits.request_header", "limits.connections",
	"timeouts.header", "timeouts.request", "timeouts.upstream", "timeouts.idle", "timeouts.drain", "timeouts.shutdown",
	"creates.journal", "creates.file", "creates.postgres_url_file", "creates.postgres_url_env", "creates.wait",
	"audit.file", "audit.required",
	"tracing.endpoint", "tracing.ca_file", "tracing.headers_file", "tracing.timeout", "tracing.sample", "tracing.trust_traceparent",
	"tracing.service_name", "tracing.resource_attributes",
	"log.level", "log.format",
}

// CheckFixed refuses a change of the fixed settings, each by its path, and of no others.
func TestCheckFixed(t *testing.T) {
	before := &config.Parts{}
	if err := before.CheckFixed(before); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	after := &config.Parts{}
	eachSetting(reflect.ValueOf(&after.Config).Elem(), "", func(path string, setting reflect.Value) {
		seen[path] = true
		was := reflect.ValueOf(setting.Interface())
		switch setting.Interface().(type) {
		case string:
			setting.SetString("changed")
		case bool:
			setting.SetBool(true)
		case int:
			setting.SetInt(7)
		case time.Duration:
			setting.SetInt(int64(7 * time.Second))
		case []string:
			setting.Set(reflect.ValueOf([]string{"changed"}))
		case []config.CredentialSource:
			setting.Set(reflect.ValueOf([]config.CredentialSource{{}}))
		case []issuers.Config:
			setting.Set(reflect.ValueOf([]issuers.Config{{}}))
		case []config.Caller:
			setting.Set(reflect.ValueOf([]config.Caller{{}}))
		default:
			t.Errorf("%s has a type that the test can't change: %s", path, setting.Type())
		}
		err := after.CheckFixed(before)
		if slices.Contains(fixed, path) {
			if want := path + ": can't be changed without a restart"; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
		} else if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		setting.Set(was)
	})
	for _, path := range fixed {
		if !seen[path] {
			t.Errorf("no setting is called %s: %v", path, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// eachSetting calls f for all settings below a path.
func eachSetting(v reflect.Value, path string, f func(path string, setting reflect.Value)) {
	for i := range v.NumField() {
		key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		inner := strings.TrimPrefix(path+"."+key, ".")
		switch {
		case options == "inline":
			eachSetting(v.Field(i), path, f)
		case v.Field(i).Kind() == reflect.Struct:
			eachSetting(v.Field(i), inner, f)
		default:
			f(inner, v.Field(i))
		}
	}
}

// The error names all changed settings, each with the place where it was set.
func TestCheckFixedNamesPlaces(t *testing.T) {
	load := func(settings string, environ ...string) (*config.Parts, string) {
		t.Helper()
		file := gatewaytest.WriteFile(t, t.TempDir()+"/gateway.yaml", "upstream: {credentials: [{public_key_file: testdata/key, private_key_file: testdata/key}]}\ncallers: {anonymous: true}\n"+settings)
		parts, err := config.Load(file, environ)
		if err != nil {
			t.Fatal(err)
		}
		return parts, file
	}
	before, _ := load("")
	same, _ := load("timeouts: {idle: 120s}\nlimits: {in_flight: 7}\n", "ATLAS_GATEWAY_LOG_LEVEL=info")
	if err := same.CheckFixed(before); err != nil {
		t.Errorf("with the defaults written out: %v", err)
	}
	after, file := load("limits: {connections: 7}\ntimeouts:\n  idle: 7s\n", "ATLAS_GATEWAY_LOG_LEVEL=debug")
	const restart = "can't be changed without a restart"
	want := fmt.Sprintf("%[1]s:3: limits.connections: %[2]s\n%[1]s:5: timeouts.idle: %[2]s\nenvironment: ATLAS_GATEWAY_LOG_LEVEL: %[2]s", file, restart)
	if err := after.CheckFixed(before); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
