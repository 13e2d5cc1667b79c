package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/smallfile"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
)

// atlasProfiles is the profile file of the Atlas CLI. The program reads it where there is no file
// of its own, and never writes it.
type atlasProfiles struct {
	file     string
	common   map[string]any            // what stands outside of profiles, and counts before them
	profiles map[string]map[string]any // by their names in lower case, as the Atlas CLI has them
}

// atlasFiles returns where the Atlas CLI may keep its profiles: in the folder that
// os.UserConfigDir names, and first where XDG_CONFIG_HOME says.
func (a *app) atlasFiles() []string {
	home := lookup(a.env, "HOME")
	var own string
	switch runtime.GOOS {
	case "windows":
		own = cmp.Or(lookup(a.env, "AppData"), lookup(a.env, "APPDATA"))
	case "darwin", "ios":
		own = filepath.Join(home, "Library", "Application Support")
	default:
		own = filepath.Join(home, ".config")
	}
	var files []string
	for _, directory := range []string{lookup(a.env, "XDG_CONFIG_HOME"), own} {
		if filepath.IsAbs(directory) {
			files = append(files, filepath.Join(directory, "atlascli", "config.toml"))
		}
	}
	return files
}

// maxAtlasProfiles is how large the Atlas CLI's file may be, in bytes: enough for a thousand
// profiles.
const maxAtlasProfiles = 256 << 10

// readAtlasProfiles reads the first file of the Atlas CLI that exists. Without one it returns nil.
// Its errors quote nothing of the file, which holds secrets.
func (a *app) readAtlasProfiles() (*atlasProfiles, error) {
	for _, file := range a.atlasFiles() {
		text, err := smallfile.Read(file, maxAtlasProfiles)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var content map[string]any
		if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &content); err != nil {
			var where *toml.DecodeError
			if errors.As(err, &where) {
				line, _ := where.Position()
				return nil, fmt.Errorf("%s:%d: is not TOML", file, line)
			}
			return nil, fmt.Errorf("%s: is not TOML", file)
		}
		all := &atlasProfiles{file, map[string]any{}, map[string]map[string]any{}}
		for key, value := range content {
			if profile, ok := value.(map[string]any); ok {
				all.profiles[strings.ToLower(key)] = lowered(profile)
			} else {
				all.common[strings.ToLower(key)] = value
			}
		}
		return all, nil
	}
	return nil, nil
}

func lowered(m map[string]any) map[string]any {
	lower := make(map[string]any, len(m))
	for key, value := range m {
		lower[strings.ToLower(key)] = value
	}
	return lower
}

func (all *atlasProfiles) names() []string { return slices.Sorted(maps.Keys(all.profiles)) }

// choose returns the profile to use, as the Atlas CLI chooses it: the one that is named, or else
// the only one, or else the default.
func (all *atlasProfiles) choose(a *app, c *cobra.Command) (*profile, error) {
	p := a.choose(c, profiles{}, all.file)
	if p.from == "default" {
		for _, name := range []string{"MONGODB_ATLAS_PROFILE", "MCLI_PROFILE"} {
			if text := lookup(a.env, name); text != "" {
				p.name, p.from = text, "environment "+name
				break
			}
		}
	}
	if p.from == "default" && len(all.profiles) == 1 {
		p.name, p.from = all.names()[0], "the only one"
	}
	p.name = strings.ToLower(p.name)
	p.ofAtlas = all
	if all.profiles[p.name] == nil && p.from != "default" {
		return nil, fmt.Errorf("%s: there is no profile %q, which comes from %s%s", all.file, p.name, p.from, nearest.Hint(p.name, all.names()))
	}
	var err error
	if p.values, err = all.values(p.name); err != nil {
		return nil, err
	}
	p.credential, p.missing, err = all.credential(p.name)
	return p, err
}

// text returns the value of a key, which is empty if it is not set.
func (all *atlasProfiles) text(name, key string) (string, error) {
	for _, level := range []struct {
		path   string
		values map[string]any
	}{{key, all.common}, {name + "." + key, all.profiles[name]}} {
		value, ok := level.values[key]
		text, isText := value.(string)
		if ok && !isText {
			return "", fmt.Errorf("%s: %s is not text", all.file, level.path)
		}
		if text != "" {
			return text, nil
		}
	}
	return "", nil
}

// texts returns the values of several keys.
func (all *atlasProfiles) texts(name string, keys ...string) (map[string]string, error) {
	texts := map[string]string{}
	for _, key := range keys {
		text, err := all.text(name, key)
		if err != nil {
			return nil, err
		}
		texts[key] = text
	}
	return texts, nil
}

// atlasKeys are the names that the Atlas CLI has for settings of other names here.
var atlasKeys = map[string]string{"base_url": "ops_manager_url", "group": "project_id"}

// governmentURL is where Atlas for Government is, which the Atlas CLI calls the service cloudgov.
const governmentURL = "https://cloud.mongodbgov.com"

// values returns the settings of a profile by their keys in this program.
func (all *atlasProfiles) values(name string) (map[string]string, error) {
	texts, err := all.texts(name, "project_id", "output", "service", "ops_manager_url", "base_url")
	if err != nil {
		return nil, err
	}
	url := cmp.Or(texts["ops_manager_url"], texts["base_url"])
	switch service := texts["service"]; {
	case service == "cloudgov" && url == "":
		url = governmentURL
	case service != "" && service != "cloud" && service != "cloudgov":
		return nil, fmt.Errorf("%s: %s.service is not cloud or cloudgov: only Atlas has exports", all.file, name)
	}
	return map[string]string{"base_url": url, "group": texts["project_id"], "output": readOutput(texts["output"])}, nil
}

// credential returns the credential of a profile. If there is none that the program can use, it
// returns why.
func (all *atlasProfiles) credential(name string) (found *client.Credential, missing string, err error) {
	texts, err := all.texts(name, "auth_type", "public_api_key", "private_api_key", "client_id", "client_secret", "access_token")
	if err != nil {
		return nil, "", err
	}
	use := func(c client.Credential) (*client.Credential, string, error) { return &c, "", nil }
	public, private, id, secret := texts["public_api_key"], texts["private_api_key"], texts["client_id"], texts["client_secret"]
	key, account := public != "" && private != "", id != "" && secret != ""
	switch {
	case key && (!account || texts["auth_type"] == "api_keys"):
		return use(client.APIKey(public, private))
	case account:
		return use(client.ServiceAccount(id, secret))
	case texts["auth_type"] == "user_account", texts["access_token"] != "":
		return nil, fmt.Sprintf("the Atlas CLI's profile %s has the login of a person, which this program does not use", name), nil
	case texts["auth_type"] == "api_keys", texts["auth_type"] == "service_account", public != "", id != "":
		return nil, fmt.Sprintf("the Atlas CLI keeps the secrets of its profile %s in the system's keychain, which this program does not read", name), nil
	}
	return nil, "", nil
}
