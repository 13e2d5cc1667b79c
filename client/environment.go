package client

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The variables that hold an API key, a service account, a token and the base URL.
var (
	keyVariables = [][2]string{
		{"MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"},
		{"MONGODB_ATLAS_PUBLIC_KEY", "MONGODB_ATLAS_PRIVATE_KEY"},
		{"MCLI_PUBLIC_API_KEY", "MCLI_PRIVATE_API_KEY"},
	}
	accountVariables = [][2]string{
		{"MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"},
		{"MCLI_CLIENT_ID", "MCLI_CLIENT_SECRET"},
	}
	tokenVariable = "MONGODB_ATLAS_ACCESS_TOKEN"
	urlVariables  = []string{"MONGODB_ATLAS_BASE_URL", "MONGODB_ATLAS_OPS_MANAGER_URL", "MCLI_OPS_MANAGER_URL"}
)

// FromEnv reads a Config from the environment of the process; see [FromEnviron].
func FromEnv() (Config, error) { return FromEnviron(os.Environ()) }

// FromEnviron reads a Config from variables in the form of os.Environ. The names are those of
// Atlas's own tools. An empty variable counts as not set.
//
//   - MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, as for the Atlas CLI, or
//     MONGODB_ATLAS_PUBLIC_KEY and MONGODB_ATLAS_PRIVATE_KEY, as for Terraform: an API key
//   - MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET: a service account
//   - MONGODB_ATLAS_ACCESS_TOKEN: a bearer token
//   - MONGODB_ATLAS_BASE_URL or MONGODB_ATLAS_OPS_MANAGER_URL: Config.BaseURL
//   - MCLI_PUBLIC_API_KEY, MCLI_PRIVATE_API_KEY, MCLI_CLIENT_ID, MCLI_CLIENT_SECRET and
//     MCLI_OPS_MANAGER_URL: the older names of the Atlas CLI
//
// It is no error if no variable of a credential is set. It is an error if only one half of a
// credential is set, or if two credentials or base URLs differ: FromEnviron can't tell which
// of them is meant.
func FromEnviron(environ []string) (Config, error) {
	var c Config
	from := "" // the variable that the credential came from
	take := func(names [2]string, credential func(name, secret string) Credential) error {
		name, secret := lookup(environ, names[0]), lookup(environ, names[1])
		switch found := credential(name, secret); {
		case name == "" && secret == "":
			return nil
		case secret == "":
			return fmt.Errorf("client: %s is set, and %s is not", names[0], names[1])
		case name == "":
			return fmt.Errorf("client: %s is set, and %s is not", names[1], names[0])
		case from != "" && !found.equal(c.Credential):
			return fmt.Errorf("client: %s and %s are of two different credentials; unset one", from, names[0])
		case from == "":
			c.Credential, from = found, names[0]
		}
		return nil
	}
	for _, names := range keyVariables {
		if err := take(names, APIKey); err != nil {
			return Config{}, err
		}
	}
	for _, names := range accountVariables {
		if err := take(names, ServiceAccount); err != nil {
			return Config{}, err
		}
	}
	if token := lookup(environ, tokenVariable); token != "" {
		if from != "" {
			return Config{}, fmt.Errorf("client: %s and %s are of two different credentials; unset one", from, tokenVariable)
		}
		c.Credential = BearerToken(token)
	}
	from = ""
	for _, name := range urlVariables {
		switch url := strings.TrimSuffix(lookup(environ, name), "/"); {
		case url == "":
		case from != "" && url != c.BaseURL:
			return Config{}, fmt.Errorf("client: %s and %s differ; unset one", from, name)
		default:
			c.BaseURL, from = url, cmp.Or(from, name)
		}
	}
	return c, nil
}

// lookup returns the value of a variable. Of several with the same name the last counts, as
// in the Env of an exec.Cmd.
func lookup(environ []string, name string) string {
	for _, variable := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}
