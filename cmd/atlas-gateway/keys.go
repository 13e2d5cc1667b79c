package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/nearest"

	"github.com/goccy/go-yaml"
)

// keys makes keys, and lists those of a configuration. It prints secrets once and keeps none of
// them, except what Digest needs, which goes into a file that must not exist yet.
func keys(args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	if status, done := parse(flags, args, len(args), stdout, stderr); done {
		return status
	}
	switch command := flags.Arg(0); command {
	case "new":
		return newKey(flags.Args()[1:], stdout, stderr)
	case "list":
		return listKeys(flags.Args()[1:], env, stdout, stderr)
	case "signing-key":
		return newSigningKey(flags.Args()[1:], stdout, stderr)
	case "":
		return misused(stderr, "expected keys new, keys list or keys signing-key FILE")
	default:
		return misused(stderr, fmt.Sprintf("unknown command %q of keys%s", command, nearest.Hint(command, []string{"new", "list", "signing-key"})))
	}
}

func newSigningKey(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("keys signing-key", flag.ContinueOnError)
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	if flags.NArg() == 0 {
		return misused(stderr, "keys signing-key: FILE is missing")
	}
	file := flags.Arg(0)
	if err := create(file, callers.NewSigningKey().Reveal(), "name another FILE, or remove this one if nothing signs with its key"); err != nil {
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s holds a new signing key; name it in callers.signing_key_file\n", file)
	return exitOK
}

func newKey(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("keys new", flag.ContinueOnError)
	caller := flags.String("caller", "", "the `name` of the caller; required")
	kind := flags.String("kind", "pair", "what to make: pair, for HTTP Digest and Basic; account, for /api/oauth/token; or token, a static bearer token")
	file := flags.String("ha1-file", "", "the `file` to write what the gateway needs of a pair; default NAME.ha1")
	realm := flags.String("realm", callers.DefaultRealm, "the `realm` of a pair, as in callers.realm")
	if status, done := parse(flags, args, 0, stdout, stderr); done {
		return status
	}
	if *caller == "" {
		return misused(stderr, "keys new: -caller is required")
	}
	if err := callers.CheckName(*caller); err != nil {
		return misused(stderr, "keys new: -caller: "+err.Error())
	}
	if err := callers.CheckRealm(*realm); err != nil {
		return misused(stderr, "keys new: -realm: "+err.Error())
	}
	kinds := []string{"pair", "account", "token"}
	if !slices.Contains(kinds, *kind) {
		return misused(stderr, fmt.Sprintf("keys new: -kind is %q; expected pair, account or token%s", *kind, nearest.Hint(*kind, kinds)))
	}
	if given := pairOnly(flags); *kind != "pair" && given != "" {
		return misused(stderr, fmt.Sprintf("keys new: -%s is of no use with -kind %s; it is for -kind pair", given, *kind))
	}
	if *file == "" {
		*file = *caller + ".ha1"
	}
	path, err := filepath.Abs(*file)
	if err != nil {
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		return exitFailed
	}
	var (
		made       callers.Issued
		id, secret string
	)
	switch *kind {
	case "pair":
		made, id, secret = callers.NewKeyPair(*caller, *realm, path), "public key", "private key"
		if err := create(path, made.HA1File.Reveal(), "name another file with -ha1-file, or remove this one if no caller has its key"); err != nil {
			fmt.Fprintln(stderr, "atlas-gateway:", err)
			return exitFailed
		}
	case "account":
		made, id, secret = callers.NewServiceAccount(*caller), "client id", "client secret"
	case "token":
		made, secret = callers.NewToken(*caller), "token"
	}
	entry, err := yaml.Marshal([]callers.Entry{made.Entry})
	if err != nil {
		panic(err) // a struct of strings always encodes
	}
	var out strings.Builder
	fmt.Fprintln(&out, "For the caller, shown this once:")
	if id != "" {
		fmt.Fprintf(&out, "  %s: %s\n", id, made.ID)
	}
	fmt.Fprintf(&out, "  %s: %s\n\nFor callers.list in the configuration, with the groups (projects) of your choice:\n%s", secret, made.Secret.Reveal(), entry)
	fmt.Fprintln(&out, "  grants:\n  - operations: [export]\n    groups: [] # ids; [\"*\"] is any")
	if _, err := io.WriteString(stdout, out.String()); err != nil {
		if *kind == "pair" {
			os.Remove(path) // of no use without the private key
		}
		fmt.Fprintln(stderr, "atlas-gateway: the key could not be shown, and is void:", err)
		return exitFailed
	}
	return exitOK
}

// pairOnly returns the name of a flag that was given and is of use only with -kind pair, or "".
func pairOnly(flags *flag.FlagSet) (given string) {
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "ha1-file" || f.Name == "realm" {
			given = f.Name
		}
	})
	return given
}

// create writes a secret into a new file that only its owner can read. otherwise says what to do
// if the file exists: it is not overwritten, since a key may be in use.
func create(path, content, otherwise string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: file exists; %s", path, otherwise)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
