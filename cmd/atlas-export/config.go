package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"atlas-export-gateway/internal/nearest"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "config",
		Short: "Show and change settings, and the profiles that keep them",
	})
	c.AddCommand(
		&cobra.Command{
			Use:   "path",
			Short: "Print the file that keeps the profiles",
			Args:  arguments(),
			RunE: func(*cobra.Command, []string) error {
				file, err := a.configFile()
				if err != nil {
					return &failure{exitInvalid, err, ""}
				}
				fmt.Fprintln(a.stdout, file)
				return nil
			},
		},
		&cobra.Command{
			Use:   "show",
			Short: "Show every setting, and which flag, variable or profile it comes from",
			Args:  arguments(),
			RunE:  func(c *cobra.Command, _ []string) error { return a.configShow(c) },
		},
		&cobra.Command{
			Use:   "list",
			Short: "List the profiles",
			Args:  arguments(),
			RunE:  func(c *cobra.Command, _ []string) error { return a.configList(c) },
		},
		a.configSetCommand(),
		a.configUseCommand(),
	)
	return c
}

func (a *app) configSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY [VALUE]",
		Short: "Set a value in the profile",
		Long: `Set a value in the profile. An empty VALUE removes it. The profile is the one that --profile
or ATLAS_EXPORT_PROFILE names, or else the current one. The command creates a profile that does
not exist.

The keys are ` + strings.Join(keys()[:6], ", ") + `,
` + strings.Join(keys()[6:12], ", ") + `,
` + strings.Join(keys()[12:], ", ") + `.

private_key, client_secret and token take no VALUE, which others could read in the list of
processes. The command asks for the secret on a terminal, or else reads it from standard input.
It writes the secret to a file beside the profiles, and the name of that file into the profile.`,
		Example: `  atlas-export config set base_url http://127.0.0.1:8080
  atlas-export config set public_key demopubl
  atlas-export config set private_key`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && secretFiles[args[0]] != "" {
				if len(args) > 1 {
					return usageError(c, "%s must not be an argument, which others can read; without it, the command asks for it", args[0])
				}
				return nil
			}
			return arguments("KEY", "VALUE")(c, args)
		},
		RunE: a.configSet,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return keysOfSet(), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// keysOfSet are the keys that config set takes.
func keysOfSet() []string { return append(keys(), slices.Sorted(maps.Keys(secretFiles))...) }

func (a *app) configUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "use PROFILE",
		Short: "Make a profile the current one",
		Args:  arguments("PROFILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.edit(func(file string, p *profiles) error {
				if _, ok := p.Profiles[args[0]]; !ok {
					names := slices.Sorted(maps.Keys(p.Profiles))
					return &failure{exitNotFound, fmt.Errorf("%s: there is no profile %q%s", file, args[0], nearest.Hint(args[0], names)),
						"atlas-export config list lists them; atlas-export config set --profile " + args[0] + " creates it"}
				}
				p.Current = args[0]
				return nil
			})
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeProfiles(c, args, word)
		},
	}
}

// secretFiles are, by the secrets that config set takes, the settings that name their files.
var secretFiles = map[string]string{
	"private_key":   "private_key_file",
	"client_secret": "client_secret_file",
	"token":         "token_file",
}

// settingRow is a setting in the output of config show.
type settingRow struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
	From  string `json:"from,omitempty"`
}

func (a *app) configShow(c *cobra.Command) error {
	r, err := a.resolve(c)
	if err != nil {
		return err
	}
	found, invalid := r.credential() // the other settings are shown also after an error
	from := cmp.Or(r.profile.from, "default")
	if r.profile.ofAtlas != nil {
		from += ", of the Atlas CLI in " + r.profile.file
	}
	list := []settingRow{{"profile", r.profile.name, from}}
	for _, s := range settings[:slices.IndexFunc(settings, isCredential)] {
		list = append(list, settingRow{s.key, r.values[s.key].Text, r.values[s.key].From})
	}
	switch {
	case invalid != nil:
	case found.isZero():
		list = append(list, settingRow{"credential", "none", r.missing()})
	default:
		list = append(list, found.rows()...)
	}
	names, rows := []string{}, [][]string{{"KEY", "VALUE", "FROM"}}
	for _, s := range list {
		names, rows = append(names, s.Key), append(rows, []string{s.Key, s.Value, s.From})
	}
	return errors.Join(a.print(r.values["output"].Text, list, names, rows), invalid)
}

func isCredential(s setting) bool { return s.key == credentialKinds[0].id }

func (a *app) configList(c *cobra.Command) error {
	r, err := a.resolve(c)
	if err != nil {
		return err
	}
	all, err := a.allProfiles(r.profile)
	if err != nil {
		return err
	}
	type entry struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		BaseURL string `json:"base_url,omitempty"`
		Group   string `json:"group,omitempty"`
	}
	list, names, rows := []entry{}, []string{}, [][]string{{"CURRENT", "NAME", "BASE_URL", "GROUP"}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		values, mark := all[name], ""
		if name == r.profile.name {
			mark = "*"
		}
		list = append(list, entry{name, mark != "", values["base_url"], values["group"]})
		names, rows = append(names, name), append(rows, []string{mark, name, values["base_url"], values["group"]})
	}
	return a.print(r.values["output"].Text, list, names, rows)
}

func (a *app) configSet(c *cobra.Command, args []string) error {
	return a.edit(func(file string, p *profiles) error {
		name := a.choose(c, *p, file).name
		if !profileName.MatchString(name) {
			return usageError(c, "%q: %w", name, errProfileName)
		}
		key, value := args[0], ""
		if secretFile, ok := secretFiles[key]; ok {
			secret, err := a.readSecret(c, key)
			if err != nil {
				return err
			}
			value = name + "." + key
			if err := writePrivate(filepath.Join(filepath.Dir(file), value), []byte(secret+"\n")); err != nil {
				return err
			}
			key = secretFile
		} else {
			value = args[1]
		}
		i := slices.Index(keys(), key)
		if i < 0 {
			return usageError(c, "unknown key %q%s", key, nearest.Hint(key, keysOfSet()))
		}
		if check := settings[i].check; check != nil && value != "" {
			if err := check(value); err != nil {
				return usageError(c, "%s: %w", key, err)
			}
		}
		if p.Profiles == nil {
			p.Profiles = map[string]map[string]string{}
		}
		if p.Profiles[name] == nil {
			p.Profiles[name] = map[string]string{}
		}
		p.Profiles[name][key] = value
		if value == "" {
			delete(p.Profiles[name], key)
		}
		return nil
	})
}

// readSecret asks for a secret on a terminal. Without one, it reads standard input.
func (a *app) readSecret(c *cobra.Command, key string) (string, error) {
	secret, err := a.askSecret(c.Context(), key)
	if errors.Is(err, errNoTerminal) {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(a.stdin, 64<<10))
		secret = string(text)
	}
	secret = strings.TrimSpace(secret)
	if err == nil && secret == "" {
		return "", usageError(c, "no %s was entered", key)
	}
	return secret, err
}

// edit lets a function change the content of the configuration file.
func (a *app) edit(change func(file string, p *profiles) error) error {
	file, err := a.configFile()
	if err != nil {
		return &failure{exitInvalid, err, ""}
	}
	p, before, document, err := readProfiles(file)
	if err != nil {
		return &failure{exitInvalid, err, ""}
	}
	if err := change(file, &p); err != nil {
		return err
	}
	if err := writeProfiles(file, p, before); err != nil || document != nil {
		return err
	}
	if atlas, err := a.readAtlasProfiles(); atlas != nil || err != nil {
		fmt.Fprintf(a.stderr, "the profiles of the Atlas CLI are no longer read, since %s exists now\n", file)
	}
	return nil
}
