package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

// noKeys is the value of the setting keeps_keys for a server that keeps none.
const noKeys = "none"

// keptKeys are the values of the setting keeps_keys.
var keptKeys = []string{string(client.DerivedKeys), string(client.ExplicitKeys), string(client.RequiredKeys), noKeys}

func checkKeys(text string) error {
	if !slices.Contains(keptKeys, text) {
		return oneOf(text, keptKeys)
	}
	return nil
}

// keysOfAnother takes keeps_keys back where a profile says it of another server than the one that is
// called: to repeat a create there could carry it out twice.
func (r *resolved) keysOfAnother() {
	own := strings.TrimRight(r.profile.values["base_url"], "/")
	if r.values["keeps_keys"].From == r.profile.label() && own != "" && own != strings.TrimRight(r.values["base_url"].Text, "/") {
		r.values["keeps_keys"] = value{noKeys, "default, since the base_url is not that of the profile"}
	}
}

const keyFlag = "idempotency-key"

// defineKey adds the flag for the key of a create.
func defineKey(c *cobra.Command, what string) {
	c.Flags().String(keyFlag, "", "`key` that tells this "+what+" from another like it, where the gateway keeps keys; the same key gets the same "+what)
}

// useKeys sets what is done about the keys of creates.
func (s *session) useKeys(c *cobra.Command, r *resolved, config *client.Config) (err error) {
	if kept := r.values["keeps_keys"]; kept.Text != noKeys {
		if u, err := url.Parse(config.BaseURL); err == nil && hosts.Atlas(u.Hostname()) {
			return &failure{exitInvalid, fmt.Errorf("keeps_keys from %s is for a gateway: %s, from %s, is Atlas itself, which keeps no keys", kept.From, config.BaseURL, r.values["base_url"].From), ""}
		}
		config.KeepsKeys = client.Keys(kept.Text)
		config.BeforeRepeat = func(err error, pause time.Duration) {
			s.repeated = true
			if s.repeating != nil {
				s.repeating(err, pause)
			}
		}
	}
	s.keys = config.KeepsKeys
	if s.createFor, err = time.ParseDuration(r.values["create_timeout"].Text); err != nil {
		return err
	}
	switch f := c.Flags().Lookup(keyFlag); {
	case f == nil || !f.Changed:
	case f.Value.String() == "":
		return usageError(c, "--%s is empty", keyFlag)
	case s.keys == client.NoKeys:
		return &failure{exitUsage, fmt.Errorf("--%s is for a gateway that keeps keys", keyFlag),
			"if base_url is one, say what creates.keys is in its configuration with --keeps-keys, or: atlas-export config set keeps_keys VALUE"}
	default:
		s.key = f.Value.String()
	}
	return nil
}

// creating returns the context of one create. One that is sent once needs no bound.
func (s *session) creating(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.keys == client.NoKeys {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.createFor)
}

// reportRepeats makes the session say that a create is repeated, as it is said of a request for a
// state.
func (a *app) reportRepeats(s *session, quiet bool) {
	p := a.newProgress(s.format, quiet)
	s.repeating = func(err error, pause time.Duration) { p.update(nil, withoutAdvice(err), pause) }
}

// withoutAdvice returns an error without what it says about repeating, which is being done.
func withoutAdvice(err error) error {
	if unknown, ok := errors.AsType[*client.UnknownOutcomeError](err); ok {
		return unknown.Err
	}
	return err
}

// clocksDiffer is how much the clocks of this machine and of Atlas may differ.
const clocksDiffer = 5 * time.Minute

// existed says of an export that the answer was not made by creating it. Its create may all the same
// be this command's: the answer to an earlier try was lost, or the gateway's was, and the gateway
// found the export in Atlas's list.
func (s *session) existed(job *client.ExportJob, began time.Time) string {
	if s.repeated || job.CreatedAt.After(began.Add(-clocksDiffer)) {
		return fmt.Sprintf("the export %s was created at %s, by this command or shortly before it, and is %s; nothing was created twice",
			printable.Escape(job.ID), formatTime(job.CreatedAt), printable.Escape(string(job.State)))
	}
	return fmt.Sprintf("the export %s was created before, at %s, and is %s; nothing was created",
		printable.Escape(job.ID), formatTime(job.CreatedAt), printable.Escape(string(job.State)))
}

// unknownHint says what to do about a create that may have been carried out.
func unknownHint(c *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*client.UnknownOutcomeError](err)
	switch {
	case !ok || !unknown.Kept && unknown.Err.GatewayKind != "outcome_unknown":
		return "look before you repeat it: " + listCommand(c)
	case unknown.Kept && unknown.Key != "" && !c.Flags().Changed(keyFlag):
		key := "--" + keyFlag + " " + unknown.Key
		if c.Flags().Lookup("if-not-exists") != nil && !c.Flags().Changed("duplicate") {
			key = "--if-not-exists " + key
		}
		return "repeat the command with " + key + ": the gateway creates nothing twice"
	}
	return gatewayHints["outcome_unknown"]
}

// unknownFor returns the error about one of several clusters. If the create had a key that was made
// up, the hint is about this cluster only.
func (s *session) unknownFor(cluster string, err error) error {
	unknown, ok := errors.AsType[*client.UnknownOutcomeError](err)
	if !ok || !unknown.Kept || unknown.Key == "" || s.key != "" {
		return err
	}
	return &failure{exitUnknown, err, fmt.Sprintf("repeat the command with --cluster %s --%s %s: the gateway creates nothing twice", quote(cluster), keyFlag, unknown.Key)}
}

// withAnotherKey completes the advice to create another export: the key of a command gets the same
// export, also one that has failed.
func withAnotherKey(c *cobra.Command) string {
	if c.Flags().Changed(keyFlag) {
		return ", with another --" + keyFlag
	}
	return ""
}
