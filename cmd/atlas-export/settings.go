package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/outbound"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setting is a value that comes from a flag, or else the environment, or else a profile.
type setting struct {
	key       string // in a profile; the flag has hyphens instead of underscores
	shorthand string
	usage     string              // of the flag
	fallback  string              // the default
	atlas     []string            // the variables of Atlas's own tools for it
	read      func(string) string // reads a value of Atlas's own tools; nil where it is as it stands
	check     func(string) error
	list      bool // the flag may be repeated; the values stand between commas
}

// settings are all settings, in the order in which the program shows them.
var settings = []setting{
	{key: "base_url", usage: "`origin` of Atlas or of a gateway", fallback: client.AtlasURL, check: checkOrigin,
		atlas: []string{"MONGODB_ATLAS_BASE_URL", "MONGODB_ATLAS_OPS_MANAGER_URL", "MCLI_OPS_MANAGER_URL"}},
	{key: "group", usage: "`id` or name of the group, which Atlas also calls a project", atlas: []string{"MONGODB_ATLAS_PROJECT_ID", "MCLI_PROJECT_ID"}},
	{key: "cluster", usage: "`name` of the cluster", list: true},
	{key: "output", shorthand: "o", usage: "`format` of the output: table, json, yaml or name", fallback: "table", check: checkOutput,
		atlas: []string{"MONGODB_ATLAS_OUTPUT", "MCLI_OUTPUT"}, read: readOutput},
	{key: "request_timeout", usage: "`duration` to wait for one answer, such as 75s", fallback: "75s", check: checkDuration},
	{key: "retries", usage: "how many `times` a read, a change or a deletion is sent again after a network error, a rate limit or a 5xx", fallback: "4", check: checkCount},
	{key: "keeps_keys", usage: "which `keys` of creates the gateway keeps, by its setting creates.keys: derived, explicit or required; none at Atlas itself", fallback: noKeys, check: checkKeys},
	{key: "create_timeout", usage: "`duration` to repeat a create that may have been carried out, where the gateway keeps its key", fallback: "10m", check: checkDuration},
	{key: "api", usage: "`generation` of the API: v2, or v1.0, which Atlas has deprecated", fallback: generations[0], check: checkGeneration},
	{key: "ca_file", usage: "`file` of certificate authorities (PEM) to trust instead of the system's"},
	{key: "client_cert", usage: "`file` of a client certificate (PEM) to show to a gateway that asks for one"},
	{key: "client_key", usage: "`file` of its key (PEM); default that of the certificate"},
	{key: "public_key", usage: "public `key` of an API key"},
	{key: "private_key_file", usage: "`file` that holds its private key"},
	{key: "client_id", usage: "client `id` of a service account"},
	{key: "client_secret_file", usage: "`file` that holds its client secret"},
	{key: "token_file", usage: "`file` that holds a token to send as it is, and is read again while the program runs"},
	{key: "credential_process", usage: "`command`, run without a shell, that prints a token to send as it is", check: checkCommand},
}

// settingOf returns the setting with a key. It panics if there is none.
func settingOf(key string) setting {
	return settings[slices.IndexFunc(settings, func(s setting) bool { return s.key == key })]
}

// readOutput returns the format for one of the Atlas CLI, which calls its tables plaintext.
func readOutput(text string) string {
	if text == "plaintext" {
		return "table"
	}
	return text
}

// oneOf is the error for a value that is none of those that are allowed.
func oneOf(text string, allowed []string) error {
	return fmt.Errorf("%q is not one of %s%s", text, strings.Join(allowed, ", "), nearest.Hint(text, allowed))
}

func checkOutput(text string) error {
	if !slices.Contains(formats, text) {
		return oneOf(text, formats)
	}
	return nil
}

func checkGeneration(text string) error {
	if !slices.Contains(generations, text) {
		return oneOf(text, generations)
	}
	return nil
}

func checkOrigin(text string) error {
	_, err := outbound.ParseOrigin(text)
	return err
}

func checkDuration(text string) error {
	if d, err := time.ParseDuration(text); err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration such as 500ms, 30s or 2m", text)
	}
	return nil
}

func checkCount(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n > 100 {
		return fmt.Errorf("%q is not a number from 0 to 100", text)
	}
	return nil
}

func (s setting) flag() string { return strings.ReplaceAll(s.key, "_", "-") }

// variable is the program's own variable. It takes precedence over those of Atlas's tools.
func (s setting) variable() string { return "ATLAS_EXPORT_" + strings.ToUpper(s.key) }

// define adds the flag. The flag has no default: that of the setting comes after environment
// and profile.
func (s setting) define(flags *pflag.FlagSet) {
	usage := s.usage
	if s.fallback != "" {
		usage += " (default " + s.fallback + ")"
	}
	if s.list {
		flags.VarP(new(names), s.flag(), s.shorthand, usage)
		return
	}
	flags.StringP(s.flag(), s.shorthand, "", usage)
}

// names is a flag that may be repeated. Its values stand between commas, each once: for a
// completion, Cobra reads the flags twice.
type names string

func (n *names) Set(text string) error {
	switch {
	case *n == "" || text == "":
		*n = names(text)
	case !slices.Contains(strings.Split(string(*n), ","), text):
		*n += names("," + text)
	}
	return nil
}

func (n *names) String() string { return string(*n) }
func (n *names) Type() string   { return "name" }

func settingsHelp() string {
	var b strings.Builder
	b.WriteString(`Each setting comes from the first of these that has it: its flag, its variable in the
environment, the profile, its default. An empty variable counts as not set.

`)
	for _, s := range settings {
		fmt.Fprintf(&b, "  %-19s --%s, %s\n", s.key, s.flag(), strings.Join(append([]string{s.variable()}, s.atlas...), ", "))
	}
	b.WriteString(`
--project and --projectId are other spellings of --group.

The profile is the one that --profile or ATLAS_EXPORT_PROFILE names, or else the current one,
which atlas-export config use sets, or else "default". atlas-export config path prints the file
that keeps the profiles; ATLAS_EXPORT_CONFIG names another one. If a profile names a file by a
relative path, that path starts at the folder of the profiles.

As long as that file does not exist, the profiles of the Atlas CLI are read instead, from
atlascli/config.toml in the folder for configurations. Of them, project_id, output,
ops_manager_url, service, and the API key or service account count. MONGODB_ATLAS_PROFILE names
one, too, and a profile that is the only one needs no name. Secrets that the Atlas CLI keeps in the
system's keychain are not read. A credential of such a profile is sent only to the base URL of the
profile.

A credential is an API key, a service account or a token of Atlas, or one that atlas-gateway
keys new made. Id and secret must come from the same place: flags, variables or the profile. The
secret is in a file, or the program asks for it on a terminal, or it is in a variable of Atlas's
own tools:

  MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, or
  MONGODB_ATLAS_PUBLIC_KEY and MONGODB_ATLAS_PRIVATE_KEY
  MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET
  MONGODB_ATLAS_ACCESS_TOKEN

A token_file is read again every few seconds, and when the token is refused: projected tokens of
Kubernetes are replaced there. credential_process is a program with its arguments, which may stand
in quotes; no shell reads them, and others can read them in the list of processes. The program
prints one JSON object, of at most 64 KiB, within a minute:

  {"Version": 1, "Token": "eyJ...", "Expiration": "2026-01-02T15:04:05Z"}

It runs again shortly before the expiration, which may be left out, and when the token is refused.
It has no standard input. What it writes to standard error is shown.

The names of the Atlas CLI with MCLI_ instead of MONGODB_ATLAS_, which are its older ones, work too.

keeps_keys of a profile counts only for the base URL of the profile, if the profile has one. See
atlas-export exports create -h for what it does.

client_cert and client_key are read again for each connection: a certificate may be renewed while
the program runs. A gateway that knows the certificate needs no credential, and goes by the
credential where there is one.

A gateway that accepts anonymous callers needs no credential. The program uses no proxy.`)
	return b.String()
}

// value is the value of a setting, and where it comes from. The zero value is not set.
type value struct{ Text, From string }

// resolved are the values of all settings in one run.
type resolved struct {
	command *cobra.Command
	env     []string
	profile *profile
	values  map[string]value
}

// resolve finds and checks the value of every setting.
func (a *app) resolve(c *cobra.Command) (*resolved, error) {
	p, err := a.loadProfile(c)
	if err != nil {
		return nil, &failure{exitInvalid, err, ""}
	}
	r := &resolved{command: c, env: a.env, profile: p, values: map[string]value{}}
	for _, s := range settings {
		v, err := r.find(s)
		if err == nil && v.Text != "" && s.check != nil {
			if invalid := s.check(v.Text); invalid != nil {
				err = r.invalidValue(s, v, invalid)
			}
		}
		if err != nil {
			return nil, err
		}
		r.values[s.key] = v
	}
	r.keysOfAnother()
	return r, nil
}

// find returns the first value that a setting has. An empty flag is an error: as a rule a
// variable of the caller's is unset, and another value would act on something else.
func (r *resolved) find(s setting) (value, error) {
	if f := r.command.Flags().Lookup(s.flag()); f != nil && f.Changed && f.Value.String() == "" {
		return value{}, usageError(r.command, "--%s is empty", s.flag())
	}
	for _, level := range []func(setting) (value, error){r.byFlag, r.byVariable, r.byProfile} {
		if v, err := level(s); err != nil || v.Text != "" {
			return v, err
		}
	}
	if s.fallback != "" {
		return value{s.fallback, "default"}, nil
	}
	return value{}, nil
}

func (r *resolved) byFlag(s setting) (value, error) {
	if f := r.command.Flags().Lookup(s.flag()); f != nil && f.Changed {
		return value{f.Value.String(), "flag --" + f.Name}, nil
	}
	return value{}, nil
}

// byVariable prefers the program's own variable. If variables of Atlas's tools differ, that is
// an error: nobody can know which one is meant.
func (r *resolved) byVariable(s setting) (v value, err error) {
	if text := lookup(r.env, s.variable()); text != "" {
		return value{text, "environment " + s.variable()}, nil
	}
	for _, name := range s.atlas {
		text := lookup(r.env, name)
		if s.read != nil {
			text = s.read(text)
		}
		switch {
		case text == "":
		case v.Text == "":
			v = value{text, "environment " + name}
		case strings.TrimSuffix(v.Text, "/") != strings.TrimSuffix(text, "/"):
			return value{}, &failure{exitInvalid, fmt.Errorf("%s and %s differ", v.From, name), "unset one, or set --" + s.flag()}
		}
	}
	return v, nil
}

func (r *resolved) byProfile(s setting) (value, error) {
	if text := r.profile.values[s.key]; text != "" {
		return value{text, r.profile.label()}, nil
	}
	return value{}, nil
}

// path returns the file that a setting names. A relative path in a profile starts at the folder of
// the profiles.
func (r *resolved) path(v value) string {
	if strings.HasPrefix(v.From, "profile") && !filepath.IsAbs(v.Text) {
		return filepath.Join(filepath.Dir(r.profile.file), v.Text)
	}
	return v.Text
}

// invalidValue returns an error that says where an invalid value comes from.
func (r *resolved) invalidValue(s setting, v value, err error) error {
	switch {
	case strings.HasPrefix(v.From, "flag"):
		return usageError(r.command, "--%s: %w", s.flag(), err)
	case v.From == r.profile.label():
		return &failure{exitInvalid, r.profile.errorf(s.key, "%w", err), ""}
	default:
		return &failure{exitInvalid, fmt.Errorf("%s: %w", v.From, err), ""}
	}
}

// need returns an error if a setting that the command requires has no value.
func (r *resolved) need(key string) error {
	if r.values[key].Text != "" {
		return nil
	}
	s := settingOf(key)
	variables := strings.Join(append([]string{s.variable()}, s.atlas[:min(len(s.atlas), 1)]...), " or ")
	return &failure{exitUsage, fmt.Errorf("--%s is missing", s.flag()),
		fmt.Sprintf("give it with --%s, %s, or: atlas-export config set %s VALUE", s.flag(), variables, key)}
}

// lookup returns a variable of an environment in the form of os.Environ. If it is there more
// than once, the last one counts.
func lookup(environ []string, name string) string {
	for _, variable := range slices.Backward(environ) {
		if text, ok := strings.CutPrefix(variable, name+"="); ok {
			return text
		}
	}
	return ""
}
