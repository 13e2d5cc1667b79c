package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/sim"
)

// atlasCLI is a home with a profile file of the Atlas CLI, and the environment for it.
func atlasCLI(t *testing.T, text string) (home string, env []string) {
	t.Helper()
	home = t.TempDir()
	directory := filepath.Join(home, ".config", "atlascli")
	if runtime.GOOS == "darwin" {
		directory = filepath.Join(home, "Library", "Application Support", "atlascli")
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(directory, "config.toml"), text)
	return home, []string{"HOME=" + home}
}

func runIn(t *testing.T, env []string, command string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	args := strings.Fields(command)
	if args[0] == "__complete" {
		args = append(args, "") // the word to complete
	}
	status := run(t.Context(), args, env, strings.NewReader("c4na7y\n"), &stdout, &stderr)
	if got := stdout.String() + stderr.String(); strings.Contains(got, "c4na7y") || strings.Contains(got, sim.PrivateKey) || strings.Contains(got, sim.ClientSecret) {
		t.Errorf("%s: a secret is in the output: %s", command, got)
	}
	return result{status, stdout.String(), stderr.String()}
}

// A profile of the Atlas CLI is enough to call Atlas, with each kind of credential, from each
// place where the Atlas CLI keeps it.
func TestAtlasCLIProfileWorks(t *testing.T) {
	w := direct(t, sim.Config{})
	for name, credential := range map[string]string{
		"API key":         "public_api_key = '" + sim.PublicKey + "'\nprivate_api_key = '" + sim.PrivateKey + "'\n",
		"service account": "auth_type = 'service_account'\nclient_id = '" + sim.ClientID + "'\nclient_secret = '" + sim.ClientSecret + "'\n",
	} {
		text := "skip_update_check = true\nversion = 2\n\n[default]\n  org_id = '5f0c'\n  service = 'cloud'\n  output = 'plaintext'\n  project_id = '" + sim.GroupID + "'\n" +
			"  ops_manager_url = '" + w.url + "/'\n" + credential
		home, env := atlasCLI(t, text)
		other := t.TempDir()
		if err := os.Rename(filepath.Join(home, ".config"), filepath.Join(other, "moved")); err == nil {
			env = append(env, "XDG_CONFIG_HOME="+filepath.Join(other, "moved"))
		}
		got := runIn(t, env, "buckets list")
		if want := (result{0, "", "there are no buckets\n"}); got != want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// What config show says of profiles of the Atlas CLI.
func TestAtlasCLIProfile(t *testing.T) {
	const two = "[default]\nproject_id = 'a'\noutput = 'json'\n[Staging]\nproject_id = 'b'\nservice = 'cloudgov'\npublic_api_key = 'demo'\nprivate_api_key = 'c4na7y'\n"
	const keychain = "the Atlas CLI keeps the secrets of its profile default in the system's keychain, which this program does not read"
	for name, test := range map[string]struct {
		text, env, args string
		status          int
		want            string // a regular expression
	}{
		"the default":            {two, "", "", 0, `(?s)"default, of the Atlas CLI in .*/config.toml".*"value": "a",\s*"from": "Atlas CLI profile default".*"value": "json",\s*"from": "Atlas CLI profile default".*"value": "none"`},
		"by flag":                {two, "", "--profile STAGING", 0, `(?s)profile +staging +flag --profile, of.*\nbase_url +https://cloud.mongodbgov.com +Atlas CLI profile staging\ngroup +b +Atlas CLI profile staging\n.*\ncredential +API key demo, secret REDACTED +Atlas CLI profile staging\n`},
		"by our variable":        {two, "ATLAS_EXPORT_PROFILE=staging", "", 0, `profile +staging +environment ATLAS_EXPORT_PROFILE, of`},
		"by its variable":        {two, "MONGODB_ATLAS_PROFILE=staging", "", 0, `profile +staging +environment MONGODB_ATLAS_PROFILE, of`},
		"by its older variable":  {two, "MCLI_PROFILE=staging", "", 0, `profile +staging +environment MCLI_PROFILE, of`},
		"the only one":           {"[work]\nproject_id = 'w'\n", "", "", 0, `(?s)profile +work +the only one, of.*\ngroup +w +Atlas CLI profile work\n`},
		"none by that name":      {two, "", "--profile stagin", exitInvalid, `config.toml: there is no profile "stagin", which comes from flag --profile; did you mean staging\?\n`},
		"common values first":    {"project_id = 'common'\n" + two, "", "-P staging", 0, `\ngroup +common +Atlas CLI profile staging\n`},
		"the variables first":    {two, "MONGODB_ATLAS_PROJECT_ID=v", "-o table", 0, `\ngroup +v +environment MONGODB_ATLAS_PROJECT_ID\n`},
		"upper case":             {"[default]\nPROJECT_ID = 'a'\nBase_Url = 'https://gateway.example.com'\n", "", "", 0, `\nbase_url +https://gateway.example.com +Atlas`},
		"a byte order mark":      {"\ufeff[default]\nproject_id = 'a'\n", "", "", 0, `\ngroup +a +Atlas`},
		"the keychain":           {"version = 2\n[default]\nauth_type = 'api_keys'\nproject_id = 'a'\n", "", "", 0, `\ncredential +none +` + keychain + `\n`},
		"half in the keychain":   {"[default]\npublic_api_key = 'demo'\n", "", "", 0, `\ncredential +none +` + keychain + `\n`},
		"a person":               {"[default]\naccess_token = 'c4na7y'\nrefresh_token = 'c4na7y'\n", "", "", 0, `\ncredential +none +the Atlas CLI's profile default has the login of a person, which this program does not use\n`},
		"both kinds":             {"[default]\npublic_api_key = 'demo'\nprivate_api_key = 'c4na7y'\nclient_id = 'id'\nclient_secret = 'c4na7y'\n", "", "", 0, `\ncredential +service account id, `},
		"both kinds, one chosen": {"[default]\nauth_type = 'api_keys'\npublic_api_key = 'demo'\nprivate_api_key = 'c4na7y'\nclient_id = 'id'\nclient_secret = 'c4na7y'\n", "", "", 0, `\ncredential +API key demo, `},
		"no text":                {"[default]\nproject_id = 5\n", "", "", exitInvalid, `config.toml: default.project_id is not text\n`},
		"no TOML":                {"[default]\nproject_id = 'a'\nprivate_api_key = c4na7y\n", "", "", exitInvalid, `^atlas-export: .*config.toml:3: is not TOML\n$`},
		"a bad value":            {"[default]\noutput = 'go-template={{.}}'\n", "", "", exitInvalid, `config.toml: default.output: "go-template={{.}}" is not one of table, json, yaml, name\n`},
		"a bad URL":              {"[default]\nops_manager_url = 'https://gateway.example.com/x'\n", "", "", exitInvalid, `config.toml: default.ops_manager_url: has a path; expected scheme and host only\n`},
		"another product":        {"[default]\nservice = 'ops-manager'\n", "", "", exitInvalid, `config.toml: default.service is not cloud or cloudgov: only Atlas has exports\n`},
		"too large":              {"# " + strings.Repeat("x", maxAtlasProfiles), "", "", exitInvalid, `config.toml: larger than 262144 bytes\n`},
		"nested":                 {"a = " + strings.Repeat("[", 200_000), "", "", exitInvalid, `config.toml:1: is not TOML\n`},
		"empty":                  {"", "", "", 0, `profile +default +default, of the Atlas CLI`},
	} {
		t.Run(name, func(t *testing.T) {
			_, env := atlasCLI(t, test.text)
			got := runIn(t, append(env, test.env), "config show "+test.args)
			if got.Status != test.status || !regexp.MustCompile(test.want).MatchString(got.Stdout+got.Stderr) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A command that needs a credential says why that of the Atlas CLI is none.
func TestAtlasCLIKeychain(t *testing.T) {
	_, env := atlasCLI(t, "[default]\nauth_type = 'service_account'\nproject_id = '"+sim.GroupID+"'\n")
	got := runIn(t, env, "buckets list")
	want := result{exitUnauthorized, "", "atlas-export: there is no credential, and Atlas requires one\n" +
		"hint: the Atlas CLI keeps the secrets of its profile default in the system's keychain, which this program does not read; " + noCredentialHint + "\n"}
	if got != want {
		t.Errorf("got %+v", got)
	}
}

// A credential of a profile is not sent to another base URL than that of the profile: a gateway would
// get a secret of Atlas.
func TestAtlasCLICredentialStays(t *testing.T) {
	var received atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.Path == "/api/oauth/token" {
			received.Add(1)
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":401,"errorCode":"UNEXPECTED_ERROR","detail":"No."}`)
	}))
	defer server.Close()
	_, env := atlasCLI(t, "[default]\nproject_id = '"+sim.GroupID+"'\nclient_id = 'id'\nclient_secret = 'c4na7y'\n")
	want := "atlas-export: listExportBuckets: 401 UNEXPECTED_ERROR: No.\nhint: no credential is set; the credential of the Atlas CLI's profile default " +
		"is for the base URL of that profile, and is not sent to another; " + noCredentialHint + "\n"
	for _, test := range []struct{ args, env string }{{"--base-url " + server.URL, ""}, {"", "MONGODB_ATLAS_BASE_URL=" + server.URL}} {
		if got := runIn(t, append(env, test.env), "buckets list "+test.args); got != (result{exitUnauthorized, "", want}) {
			t.Errorf("got %+v", got)
		}
	}
	if n := received.Load(); n > 0 {
		t.Errorf("the server received the credential %d times", n)
	}
	if got := runIn(t, env, "config show --base-url https://CLOUD.mongodb.com:443/"); !strings.Contains(got.Stdout, "service account id, secret REDACTED") {
		t.Errorf("got %+v", got)
	}
}

// The Atlas CLI's profiles can be listed and completed. They count until this program has profiles
// of its own, which is said at that moment, and then no more. The Atlas CLI's file stays as it is.
func TestOwnProfilesFirst(t *testing.T) {
	const text = "[default]\nproject_id = 'a'\n[staging]\nproject_id = 'b'\nops_manager_url = 'https://gateway.example.com'\n['x y']\n"
	home, env := atlasCLI(t, text)
	if got := runIn(t, env, "config list"); !regexp.MustCompile(`\n\* +default +- +a\n- +staging +https://gateway.example.com +b\n- +x y +- +-\n$`).MatchString(got.Stdout) {
		t.Errorf("got %+v", got)
	}
	if got := runIn(t, env, "__complete buckets list --profile "); !strings.HasPrefix(got.Stdout, "default\nstaging\n:") {
		t.Errorf("got %+v", got)
	}
	if got := runIn(t, env, "config use staging"); got.Status != exitNotFound {
		t.Errorf("got %+v", got)
	}
	for i, want := range []string{"the profiles of the Atlas CLI are no longer read, since " + filepath.Join(home, ".config", "atlas-export", "config.yaml") + " exists now\n", ""} {
		if got := runIn(t, env, "config set cluster orders"); got.Status != 0 || got.Stderr != want {
			t.Errorf("%d: got %+v", i, got)
		}
	}
	if got := runIn(t, env, "config show"); !regexp.MustCompile(`\ngroup +- +-\ncluster +orders +profile default\n`).MatchString(got.Stdout) {
		t.Errorf("got %+v", got)
	}
	if got := runIn(t, env, "config list -o name"); got.Stdout != "default\n" {
		t.Errorf("got %+v", got)
	}
	for _, file := range (&app{env: env}).atlasFiles() {
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%s: %v, %s", file, err, now)
		}
	}
}
