package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/internal/smallfile"
)

// credential says as whom to call Atlas. It comes from the settings, or from the variables of
// Atlas's own tools. The zero credential is none.
type credential struct {
	kind   *credentialKind // nil if it does not come from the settings
	id     value           // public key or client id
	secret value           // where the secret is; empty if the user must be asked for it

	ofAtlas client.Credential // from the variables of Atlas's tools, or from a profile of the Atlas CLI
	from    string            // which of them, for ofAtlas
}

func (c credential) isZero() bool { return c.kind == nil && c.from == "" }

// credentialKind is a kind of credential that settings can give.
type credentialKind struct {
	id, secretFile string // keys of settings; id is empty for a token
	secret         string // name of the secret in messages
	make           func(id, secret string) client.Credential

	source func(*app, *resolved, value) *bearertoken.Source // in the place of make
	status int                                              // exit status if the source gives no token
}

var credentialKinds = []*credentialKind{
	{id: "public_key", secretFile: "private_key_file", secret: "private key", make: client.APIKey},
	{id: "client_id", secretFile: "client_secret_file", secret: "client secret", make: client.ServiceAccount},
	{secretFile: "token_file", source: tokenFile, status: exitInvalid},
	{secretFile: "credential_process", source: credentialProcess, status: exitUnauthorized},
}

// credential finds the credential. It reads no file yet.
func (r *resolved) credential() (credential, error) {
	for _, level := range []func() (credential, error){
		func() (credential, error) { return r.credentialAt(r.byFlag) },
		func() (credential, error) { return r.credentialAt(r.byVariable) },
		r.credentialOfAtlas,
		func() (credential, error) { return r.credentialAt(r.byProfile) },
		func() (credential, error) { return r.credentialOfAtlasProfile(), nil },
	} {
		if found, err := level(); err != nil || !found.isZero() {
			return found, err
		}
	}
	return credential{}, nil
}

// credentialAt finds the credential at one level of settings. It never puts an id and a secret
// of two levels together: they would rarely fit.
func (r *resolved) credentialAt(level func(setting) (value, error)) (credential, error) {
	var found credential
	for _, kind := range credentialKinds {
		c := credential{kind: kind}
		var err error
		if c.secret, err = level(settingOf(kind.secretFile)); err != nil {
			return c, err
		}
		if kind.id != "" {
			if c.id, err = level(settingOf(kind.id)); err != nil {
				return c, err
			}
		}
		switch {
		case c.id.Text == "" && c.secret.Text == "":
		case c.id.Text == "" && kind.id != "":
			return c, &failure{exitInvalid, fmt.Errorf("%s is set from %s, and %s is not", kind.secretFile, c.secret.From, kind.id), credentialHint}
		case found.kind != nil:
			return c, &failure{exitInvalid, fmt.Errorf("%s and %s are of two credentials", found.source(), c.source()), "unset one; " + credentialHint}
		default:
			found = c
		}
	}
	return found, nil
}

// source names a setting of the credential, and where it comes from.
func (c credential) source() string {
	if c.id.Text != "" {
		return c.kind.id + " from " + c.id.From
	}
	return c.kind.secretFile + " from " + c.secret.From
}

// credentialOfAtlas finds the credential in the variables of Atlas's own tools.
func (r *resolved) credentialOfAtlas() (credential, error) {
	var credentials []string // FromEnviron would also check base URLs
	for _, variable := range r.env {
		if name, _, _ := strings.Cut(variable, "="); !strings.HasSuffix(name, "_URL") {
			credentials = append(credentials, variable)
		}
	}
	config, err := client.FromEnviron(credentials)
	if err != nil {
		return credential{}, &failure{exitInvalid, fmt.Errorf("environment: %w", err), ""}
	}
	found := credential{ofAtlas: config.Credential}
	for _, name := range []string{"MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PUBLIC_KEY", "MCLI_PUBLIC_API_KEY", "MONGODB_ATLAS_CLIENT_ID", "MCLI_CLIENT_ID", "MONGODB_ATLAS_ACCESS_TOKEN"} {
		if found.from == "" && lookup(r.env, name) != "" {
			found.from = "environment " + name
		}
	}
	return found, nil
}

// credentialOfAtlasProfile returns the credential in a profile of the Atlas CLI. It is for the
// base URL of that profile: a gateway that a flag or a variable names must not get a secret of
// Atlas.
func (r *resolved) credentialOfAtlasProfile() credential {
	if r.profile.credential == nil || !r.atAtlasProfile() {
		return credential{}
	}
	return credential{ofAtlas: *r.profile.credential, from: r.profile.label()}
}

// atAtlasProfile reports whether the base URL is that of the Atlas CLI's profile.
func (r *resolved) atAtlasProfile() bool {
	own, err := outbound.ParseOrigin(cmp.Or(r.profile.values["base_url"], client.AtlasURL))
	if err != nil {
		return false
	}
	called, err := outbound.ParseOrigin(r.values["base_url"].Text)
	return err == nil && called.String() == own.String()
}

// missing says why the profile of the Atlas CLI gives no credential; empty if it says nothing of
// one.
func (r *resolved) missing() string {
	if r.profile.credential != nil {
		return fmt.Sprintf("the credential of the Atlas CLI's profile %s is for the base URL of that profile, and is not sent to another", r.profile.name)
	}
	return r.profile.missing
}

// load reads the secret from its file, or asks the user for it.
func (a *app) load(ctx context.Context, r *resolved, c credential) (client.Credential, error) {
	switch {
	case c.kind == nil:
		return c.ofAtlas, nil
	case c.kind.source != nil:
		source := c.kind.source(a, r, c.secret)
		if _, err := source.Token(ctx); err != nil && ctx.Err() == nil {
			return client.Credential{}, &failure{c.kind.status, fmt.Errorf("%s from %s: %w", c.kind.secretFile, c.secret.From, err), ""}
		}
		return client.TokenFrom(source), ctx.Err()
	case c.secret.Text == "":
		secret, err := a.askSecret(ctx, c.kind.secret+" of "+c.id.Text)
		if errors.Is(err, errNoTerminal) {
			err = &failure{exitUnauthorized, fmt.Errorf("%s is set from %s, and %s is not", c.kind.id, c.id.From, c.kind.secretFile),
				"without a terminal to ask on, the " + c.kind.secret + " must be in a file"}
		}
		return c.kind.make(c.id.Text, secret), err
	}
	file := r.path(c.secret)
	content, err := smallfile.Read(file, 16<<10)
	secret := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		err = fmt.Errorf("%s from %s: %w", c.kind.secretFile, c.secret.From, err)
	case secret == "":
		err = fmt.Errorf("%s from %s: %s is empty", c.kind.secretFile, c.secret.From, file)
	}
	if err != nil {
		return client.Credential{}, &failure{exitInvalid, err, ""}
	}
	return c.kind.make(c.id.Text, secret), nil
}

// rows are the credential in the output of config show, without its secret.
func (c credential) rows() []settingRow {
	if c.kind == nil {
		return []settingRow{{"credential", c.ofAtlas.String() + ", secret REDACTED", c.from}}
	}
	var rows []settingRow
	if c.kind.id != "" {
		rows = append(rows, settingRow{c.kind.id, c.id.Text, c.id.From})
	}
	if c.secret.Text == "" {
		return append(rows, settingRow{c.kind.secretFile, "asked for", ""})
	}
	return append(rows, settingRow{c.kind.secretFile, c.secret.Text, c.secret.From})
}
