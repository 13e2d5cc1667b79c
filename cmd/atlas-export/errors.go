package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses. Scripts depend on them: none changes its meaning.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitInvalid      = 3
	exitUnauthorized = 4
	exitForbidden    = 5
	exitNotFound     = 6
	exitConflict     = 7
	exitWait         = 8
	exitUnavailable  = 9
	exitUnknown      = 10
	exitExportFailed = 11
	exitCancelled    = 12
	exitNotFollowed  = 13
	exitCut          = 14
	exitAmbiguous    = 15
	exitPartial      = 16
	exitNoSnapshot   = 17
	exitInterrupted  = 130
)

const exitStatusHelp = `The exit status says what kind of error ended a command:

    0  none: the command did what it was asked to do
    1  an error that is not listed here; the answer to a question was no; or the command did
       what it was asked to do, and could not write its output
    2  the command line is wrong
    3  the request breaks the contract, Atlas refuses it as wrong, or the configuration is
       not valid
    4  there is no credential, or it is not accepted
    5  the credential is good, but may not do this
    6  what the command names does not exist
    7  a conflict: an export of the snapshot or another on-demand snapshot is in progress, the
       snapshot is not completed, the bucket is in use, or a bucket of the name exists
    8  the gateway or Atlas asks to wait: a rate limit, or a failure with a time after which
       to try again
    9  the network, the gateway or Atlas fails, and another try may succeed
   10  the outcome is not known: what was to be created may have been created
   11  the export or the snapshot failed
   12  the export was cancelled
   13  the export or the snapshot goes on, but the command no longer follows it: the time to wait
       is over, or, with --wait, its state can't be read
   14  the list is cut: it has more items than a list has without --all
   15  the name is that of several buckets: give the id of the one that is meant
   16  some of several clusters failed, or each for another reason: the lines below say which
   17  the cluster has no completed snapshot, or the newest one is older than --max-age
  130  SIGINT, SIGTERM or SIGQUIT, except for 10 while a create is in progress; what was started
       goes on
  141  nobody reads the output any more (SIGPIPE); what was started goes on

After 10, do as the hint says: look before you repeat the command, since a second export costs as
much as the first, or repeat it, if a gateway keeps the keys of creates (the setting keeps_keys).
After 2 to 9, 15 and 17, nothing was created.

With -o json the error is one line of JSON on standard error, the last one there: error,
exitStatus, and what is known of notes, violations, hint, operation, httpStatus, errorCode,
detail, parameters, retryAfterSeconds, gatewayError, gatewayOutcome and gatewayRequestId.`

// failure is an error that knows its exit status.
type failure struct {
	status int
	err    error
	hint   string // what the user can do; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError returns the error for a wrong command line.
func usageError(c *cobra.Command, format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...), c.CommandPath() + " -h shows how it is used"}
}

// A listed error has lines of its own, which stand below it.
type listed struct {
	error
	lines []string
}

func (l *listed) Unwrap() error { return l.error }

// problem is an error as it is reported. As JSON it is one line.
type problem struct {
	Error      string      `json:"error"`
	ExitStatus int         `json:"exitStatus"`
	Notes      []string    `json:"notes,omitempty"` // the lines of a listed error
	Violations []violation `json:"violations,omitempty"`
	Hint       string      `json:"hint,omitempty"`

	// What the answer of Atlas or of a gateway says.
	Operation  string   `json:"operation,omitempty"`
	HTTPStatus int      `json:"httpStatus,omitempty"`
	Code       string   `json:"errorCode,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	Parameters []string `json:"parameters,omitempty"`
	RetryAfter float64  `json:"retryAfterSeconds,omitempty"`
	Gateway    string   `json:"gatewayError,omitempty"`
	Outcome    string   `json:"gatewayOutcome,omitempty"`
	RequestID  string   `json:"gatewayRequestId,omitempty"`
}

type violation struct {
	Field       string `json:"field"`
	From        string `json:"from"` // the field, with the flag or the setting that it comes from
	Description string `json:"description"`
}

// report writes an error to standard error and returns its exit status.
func (a *app) report(ctx context.Context, c *cobra.Command, err error) int {
	p := problem{}
	p.ExitStatus, p.Hint = a.classify(ctx, c, err)
	text := err.Error()
	var call *client.Error
	if errors.As(err, &call) {
		p.Operation, p.HTTPStatus, p.Code, p.Detail, p.Parameters = call.Operation, call.Status, call.Code, call.Detail, call.Parameters
		p.RetryAfter, p.Gateway, p.Outcome, p.RequestID = call.RetryAfter.Seconds(), call.GatewayKind, string(call.Outcome), call.RequestID
		for _, v := range call.Violations {
			p.Violations = append(p.Violations, violation{v.Field, a.fieldSource(c, v.Field), v.Description})
		}
		if len(call.Violations) > 0 { // each gets a line of its own below
			bare := *call
			bare.Violations = nil
			text = strings.Replace(text, call.Error(), bare.Error(), 1)
		}
	}
	var more *listed
	if errors.As(err, &more) {
		for _, line := range more.lines {
			p.Notes = append(p.Notes, withoutPackage(line))
		}
	}
	p.Error = withoutPackage(text)
	if a.errorFormat(c) == "json" {
		encodeJSON(a.stderr, p, "", "")
	} else {
		p.write(a.stderr)
	}
	return p.ExitStatus
}

// withoutPackage returns the text of an error without the name of package client, which says nothing
// to who runs a command.
func withoutPackage(text string) string { return strings.ReplaceAll(text, "client: ", "") }

// write writes the problem for people.
func (p problem) write(w io.Writer) {
	for line := range strings.Lines(p.Error) {
		fmt.Fprintf(w, "atlas-export: %s\n", printable.Escape(strings.TrimSuffix(line, "\n")))
	}
	for _, v := range p.Violations {
		fmt.Fprintf(w, "  %s: %s\n", printable.Escape(v.From), printable.Escape(v.Description))
	}
	for _, line := range p.Notes {
		fmt.Fprintf(w, "  %s\n", printable.Escape(line))
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", printable.Escape(p.Hint))
	}
}

// errorFormat returns the format of the output as far as it is known: the command line may be what
// is wrong, and then it has not been read to its end.
func (a *app) errorFormat(c *cobra.Command) string {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.SetOutput(io.Discard)
	flags.BoolP("help", "h", false, "")
	output := settingOf("output")
	output.define(flags)
	flags.Parse(a.args)
	if f := flags.Lookup(output.flag()); f.Changed {
		return f.Value.String()
	}
	r := &resolved{command: c, env: a.env, profile: &profile{}}
	if c.Flags().Lookup("profile") != nil { // the flags were read
		if p, err := a.loadProfile(c); err == nil {
			r.profile = p
		}
	}
	for _, level := range []func(setting) (value, error){r.byVariable, r.byProfile} {
		if v, err := level(output); err == nil && v.Text != "" {
			return v.Text
		}
	}
	return output.fallback
}

// classify returns the exit status of an error, and a hint.
func (a *app) classify(ctx context.Context, c *cobra.Command, err error) (status int, hint string) {
	var failed *failure
	var call *client.Error
	switch {
	case errors.As(err, &failed):
		return failed.status, failed.hint
	case errors.Is(err, client.ErrUnknownOutcome):
		return exitUnknown, unknownHint(c, err)
	case errors.Is(err, client.ErrExportFailed):
		return exitExportFailed, exportHint(err) + withAnotherKey(c)
	case errors.Is(err, client.ErrExportCancelled):
		return exitCancelled, "create another export of the snapshot" + withAnotherKey(c)
	case ctx.Err() != nil:
		return exitInterrupted, ""
	case errors.As(err, &call):
		return statusOf(call), a.hintOf(c, call)
	}
	return exitFailed, ""
}

// statusOf returns the exit status of an error of a call.
func statusOf(call *client.Error) int {
	switch {
	case asksToWait(call):
		return exitWait
	case errors.Is(call, client.ErrInvalid):
		return exitInvalid
	case errors.Is(call, client.ErrUnauthorized):
		return exitUnauthorized
	case errors.Is(call, client.ErrForbidden):
		return exitForbidden
	case errors.Is(call, client.ErrNotFound):
		return exitNotFound
	case errors.Is(call, client.ErrConflict):
		return exitConflict
	case call.Status < 400, call.Status == http.StatusRequestTimeout, call.Status >= 500: // no answer, or a broken one
		return exitUnavailable
	}
	return exitFailed
}

// asksToWait reports whether an answer says that the same request may succeed later: a rate limit,
// or a failure with a time in Retry-After.
func asksToWait(call *client.Error) bool {
	return errors.Is(call, client.ErrRateLimited) || call.Status >= 500 && call.RetryAfter > 0 || call.Code == updating
}

// listCommand returns the command line that lists what c acts on.
func listCommand(c *cobra.Command) string {
	for p := c; p.HasParent(); p = p.Parent() {
		switch p.Name() {
		case "buckets", "snapshots", "clusters", "groups", "roles":
			return commandLine(c, p.Name()+" list")
		case "schedule":
			return commandLine(c, "clusters list")
		}
	}
	command := commandLine(c, "exports list")
	if snapshot := c.Flags().Lookup("snapshot"); snapshot != nil && snapshot.Changed && snapshot.Value.String() != latest {
		command += " --snapshot " + quote(snapshot.Value.String())
	}
	return command
}

// commandLine returns a command line with the flags of c that say where it calls, and as whom.
func commandLine(c *cobra.Command, command string) string { return commandLineFor(c, "", command) }

// commandLineFor is commandLine for one of several clusters. An empty name stands for what c
// says.
func commandLineFor(c *cobra.Command, cluster, command string) string {
	line := "atlas-export " + command
	ofCluster := strings.HasPrefix(command, "exports") || strings.HasPrefix(command, "snapshots")
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "cluster" && (!ofCluster || cluster != ""):
		case !f.Changed, slices.Contains([]string{"output", "request-timeout", "retries", "keeps-keys", "create-timeout"}, f.Name):
		default:
			line += " --" + f.Name + " " + quote(f.Value.String())
		}
	})
	if ofCluster && cluster != "" {
		line += " --cluster " + quote(cluster)
	}
	return line
}

// quote returns a word as a shell reads it.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~/:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// flagsOfFields are the flags and arguments for the fields of the contract.
var flagsOfFields = map[string]string{
	"groupId":                   "--group",
	"groupName":                 "--group",
	"clusterName":               "--cluster",
	"Idempotency-Key":           "--idempotency-key",
	"exportId":                  "EXPORT",
	"exportBucketId":            "BUCKET",
	"snapshotId":                "SNAPSHOT",
	"/snapshotId":               "--snapshot",
	"/exportBucketId":           "--bucket",
	"/customData":               "--custom-data",
	"/bucketName":               "--name",
	"/iamRoleId":                "--role",
	"/roleId":                   "--role",
	"/serviceUrl":               "--service-url",
	"/requirePrivateNetworking": "--require-private-networking",
	"/description":              "--description",
	"/retentionInDays":          "--retention-days",
	"/export/exportBucketId":    "--bucket",
	"/export/frequencyType":     "--frequency",
}

// fieldSource names a field of the contract, and the flag or argument that it comes from, or else the
// variable or profile.
func (a *app) fieldSource(c *cobra.Command, field string) string {
	flag := flagsOfFields[field]
	if name, ok := strings.CutPrefix(flag, "--"); ok {
		f := c.Flags().Lookup(name)
		switch {
		case f == nil:
			flag = ""
		case !f.Changed && a.settings != nil && a.settings.values[name].From != "":
			return field + ", from " + a.settings.values[name].From
		}
	}
	if flag != "" {
		return field + ", " + flag
	}
	return cmp.Or(field, "body")
}
