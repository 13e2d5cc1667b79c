package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/config"

	"github.com/goccy/go-yaml"
)

// Whatever a configuration file holds, it is accepted or refused. It is accepted only if every
// key is a setting's. An error names the file and the line of each mistake, and holds no secret.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	const secret = "c4na7y-of-the-environment"
	environ := []string{"PUBLIC=public", "PRIVATE=" + secret, "MONGODB_ATLAS_PUBLIC_API_KEY=public", "MONGODB_ATLAS_PRIVATE_API_KEY=" + secret}
	located := regexp.MustCompile(`^:([0-9]+): `)
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		parts, err := config.Load(file, environ)
		if said := fmt.Sprintf("%+v %v", parts, err); strings.Contains(said, secret) && !strings.Contains(string(text), secret) {
			t.Fatalf("the secret is in %s", said)
		}
		if err == nil {
			var content any
			if err := yaml.Unmarshal(text, &content); err != nil {
				t.Fatalf("%q was accepted: %v", text, err)
			}
			for _, key := range unknown(content, reflect.TypeFor[config.Config](), "") {
				t.Errorf("%q was accepted; no setting is called %s", text, key)
			}
			return
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + 1
		for message := range strings.SplitSeq(err.Error(), "\n"+file) {
			message = strings.TrimPrefix(message, file)
			line := located.FindStringSubmatch(message)
			if line == nil {
				if !strings.Contains(message, "is required") { // which has no line
					t.Errorf("%q: no line in %q", text, message)
				}
				continue
			}
			var n int
			if fmt.Sscan(line[1], &n); n < 1 || n > lines {
				t.Errorf("%q: line %d of %d in %q", text, n, lines, message)
			}
		}
	})
}

// unknown returns the keys of YAML content that a type does not have, by its tags.
func unknown(content any, t reflect.Type, path string) (keys []string) {
	switch t.Kind() {
	case reflect.Slice:
		list, _ := content.([]any)
		for i, element := range list {
			keys = append(keys, unknown(element, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case reflect.Struct:
		settings := settings(t)
		object, _ := content.(map[string]any)
		for key, value := range object {
			if setting, ok := settings[key]; ok {
				keys = append(keys, unknown(value, setting, path+"."+key)...)
			} else {
				keys = append(keys, path+"."+key)
			}
		}
	}
	return keys
}

func settings(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	if t == reflect.TypeFor[time.Duration]() {
		return all
	}
	for i := range t.NumField() {
		field := t.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if options == "inline" {
			for key, setting := range settings(field.Type) {
				all[key] = setting
			}
		} else if key != "" {
			all[key] = field.Type
		}
	}
	return all
}
