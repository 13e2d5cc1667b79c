package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/internal/invisible"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/strictyaml"
)

// environmentPrefix starts the names of the environment variables that set, or override,
// a setting of the configuration: ATLAS_GATEWAY_LISTENER_ADDRESS is listener.address.
// Lists can be set in the file only.
const environmentPrefix = "ATLAS_GATEWAY_"

// places say where each setting was set.
type places struct {
	document  *strictyaml.Document // nil without a file
	variables map[string]string    // by the path of the setting: the variable that set it
}

// errorf returns an error about the setting at a path, and says where it was set.
func (p *places) errorf(path, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if variable, ok := p.variables[path]; ok {
		return fmt.Errorf("environment: %s: %w", variable, err)
	}
	if p.document != nil {
		return p.document.Errorf(path, "%w", err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// line returns the line of the setting at a path, and 0 where it was not set in the file.
func (p *places) line(path string) int {
	if _, ok := p.variables[path]; ok || p.document == nil {
		return 0
	}
	return p.document.Line(path)
}

// serviceLink matches the variables that Kubernetes sets for each Service of a namespace. For a
// Service called atlas-gateway they begin with environmentPrefix. No setting has such a name.
var serviceLink = regexp.MustCompile(`^[A-Z0-9_]+_(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)`)

// override takes settings from the environment, and notes in where which variables set them.
func (c *Config) override(environ []string, where *places) error {
	settings := map[string]setting{}
	collect(reflect.ValueOf(c).Elem(), "", settings)
	where.variables = map[string]string{}
	var errs []error
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, environmentPrefix) || serviceLink.MatchString(variable) {
			continue
		}
		setting, ok := settings[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("environment: %s is not a setting%s", invisible.Show(name), nearest.Hint(name, slices.Sorted(maps.Keys(settings)))))
			continue
		case setting.value.Kind() == reflect.Slice:
			errs = append(errs, fmt.Errorf("environment: %s is a list, which can be set in the file only", name))
			continue
		}
		where.variables[setting.path] = name
		if err := set(setting.value, text); err != nil {
			errs = append(errs, where.errorf(setting.path, "%w", err))
		}
	}
	return errors.Join(errs...)
}

// setting is where the value of a variable belongs.
type setting struct {
	path  string
	value reflect.Value
}

// collect collects the settings below a path by the names of their variables.
func collect(v reflect.Value, path string, into map[string]setting) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inner := strings.TrimPrefix(path+"."+key, ".")
		switch {
		case options == "inline":
			collect(v.Field(i), path, into)
		case field.Type.Kind() == reflect.Struct:
			collect(v.Field(i), inner, into)
		default:
			into[environmentPrefix+strings.ToUpper(strings.ReplaceAll(inner, ".", "_"))] = setting{inner, v.Field(i)}
		}
	}
}

func set(setting reflect.Value, text string) error {
	switch value := setting.Addr().Interface().(type) {
	case *string:
		*value = text
	case *bool:
		parsed, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("expected true or false")
		}
		*value = parsed
	case *int:
		parsed, err := strconv.Atoi(text)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return errors.New("the number is out of range")
		case err != nil:
			return errors.New("expected a whole number")
		}
		*value = parsed
	case *time.Duration:
		parsed, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("expected a duration such as 500ms, 10s or 1m30s")
		}
		*value = parsed
	}
	return nil
}
