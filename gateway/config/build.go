package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/gateway/tracing"
)

// Parts are what a configuration amounts to: checked, and built once. They never change.
type Parts struct {
	// Config is the configuration with its defaults.
	Config Config
	// PublicURL is listener.public_url in the form that links have, without a slash at its end; empty
	// where it is not set.
	PublicURL string
	// ClientAddress says which proxies are believed, and how they name the client.
	ClientAddress clientaddress.Config
	// Certificate is the listener's; nil where the listener speaks plain HTTP.
	Certificate *tls.Certificate
	// ClientCAs are the authorities that client certificates come from; nil where none counts.
	ClientCAs *Authorities
	// Callers know the callers of the list by their keys, and Policies say what they may do, by the
	// caller's name.
	Callers  *callers.Directory
	Policies map[string]*policy.Policy
	// Atlas is where requests are sent to.
	Atlas atlas.Config
	// Journal is where creates are recorded.
	Journal Journal
	// Tracing says how requests are traced; nil where they are not.
	Tracing *tracing.Config
	// Warnings name settings that are no reason to refuse the configuration: files that hold a secret
	// and that every user of the machine may read, as files in a container often are, and a public
	// URL that a client takes for an error.
	Warnings []Warning

	where places
}

// A Warning is about a file with a secret that every user of the machine may read, or about
// another setting. Then it has no file.
type Warning struct {
	File string
	Mode fs.FileMode // its permission bits
	error
}

// maxFile bounds the configuration and the files of certificates, in bytes, and maxKey those that
// hold one half of a credential.
const (
	maxFile = 1 << 20
	maxKey  = 16 << 10
)

// Build fills in the defaults of a configuration, checks it, and reads each file that it names
// once. The error names every mistake. Build looks up credentials in the environment of the
// process; a [Source] has an environment of its own.
func Build(c Config) (*Parts, error) { return build(c, places{}, os.Getenv) }

// builder builds Parts, and collects what is wrong.
type builder struct {
	parts      *Parts
	getenv     func(name string) string
	operations []string // the operationIds of the contract
	refusals   []refusal
}

// refusal is what is wrong with a setting, and the line of the setting.
type refusal struct {
	line int
	error
}

func build(c Config, where places, getenv func(string) string) (*Parts, error) {
	rules, err := contract.Load()
	if err != nil {
		return nil, err
	}
	b := &builder{parts: &Parts{Config: c, where: where}, getenv: getenv, operations: rules.OperationIDs()}
	b.build()
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.parts, nil
}

// build fills in the parts, and collects the mistakes.
func (b *builder) build() {
	b.parts.Config.fill()
	c := &b.parts.Config
	b.listener(c.Listener)
	b.management(c.Management)
	b.upstream(c.Upstream)
	b.callers(c.Callers)
	b.bounds(c)
	b.creates(c.Creates)
	b.tracing(c.Tracing)
	b.requests(c)
	if c.Audit.Required && c.Audit.File == "" {
		b.refuse("audit.required", "needs audit.file, which names the file of the records")
	}
	b.oneOf(c.Responses.Check, "responses.check", "off", "report", "enforce")
	b.oneOf(c.Reads.Share, "reads.share", "on", Off)
	b.oneOf(c.Log.Level, "log.level", "debug", "info", "warn", "error")
	b.oneOf(c.Log.Format, "log.format", "json", "text")
}

// refuse notes that the setting at a path is refused.
func (b *builder) refuse(path, format string, args ...any) {
	where := &b.parts.where
	b.refusals = append(b.refusals, refusal{where.line(path), where.errorf(path, format, args...)})
}

// err returns all that was refused, in the order of the file.
func (b *builder) err() error {
	slices.SortFunc(b.refusals, func(x, y refusal) int {
		return cmp.Or(cmp.Compare(x.line, y.line), strings.Compare(x.Error(), y.Error()))
	})
	errs := make([]error, len(b.refusals))
	for i, r := range b.refusals {
		errs[i] = r.error
	}
	return errors.Join(errs...)
}

// warnOfMode warns where every user of the machine may read a file that holds a secret.
func (b *builder) warnOfMode(path, file string) {
	info, err := os.Stat(file)
	if err == nil && info.Mode().Perm()&0o004 != 0 {
		b.parts.Warnings = append(b.parts.Warnings, Warning{
			File:  file,
			Mode:  info.Mode().Perm(),
			error: b.parts.where.errorf(path, "every user may read the file, which holds a secret: its mode is %04o", info.Mode().Perm()),
		})
	}
}

// warn notes a warning about the setting at a path.
func (b *builder) warn(path, format string, args ...any) {
	b.parts.Warnings = append(b.parts.Warnings, Warning{error: b.parts.where.errorf(path, format, args...)})
}
