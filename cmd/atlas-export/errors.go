package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
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
	exitRateLimited  = 8
	exitUnavailable  = 9
	exitUnknown      = 10
	exitExportFailed = 11
	exitCancelled    = 12
	exitNotFollowed  = 13
	exitCut          = 14
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
    7  a conflict: an export of the snapshot is in progress, or the bucket is in use
    8  a rate limit
    9  the network, the gateway or Atlas fails, and another try may succeed
   10  the outcome is not known: what was to be created may have been created
   11  the export failed
   12  the export was cancelled
   13  the export goes on, but the command no longer follows it: the time to wait is over, or,
       with create --wait, the state of the export can't be read
   14  the list is cut: it has more items than a list has without --all
  130  SIGINT, SIGTERM or SIGQUIT, except for 10 while a create is in progress; an export that
       was started goes on
  141  nobody reads the output any more (SIGPIPE); an export that was started goes on

After 10, look before you repeat the command: a second export costs as much as the first.
After 2 to 9, nothing was created.`

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

// report writes an error to standard error and returns its exit status.
func (a *app) report(ctx context.Context, c *cobra.Command, err error) int {
	status, hint := a.classify(ctx, c, err)
	text := err.Error()
	var call *client.Error
	if errors.As(err, &call) && len(call.Violations) > 0 { // each gets a line of its own below
		bare := *call
		bare.Violations = nil
		text = strings.Replace(text, call.Error(), bare.Error(), 1)
	}
	for line := range strings.Lines(strings.ReplaceAll(text, "client: ", "")) {
		fmt.Fprintf(a.stderr, "atlas-export: %s\n", printable.Escape(strings.TrimSuffix(line, "\n")))
	}
	if call != nil {
		for _, v := range call.Violations {
			fmt.Fprintf(a.stderr, "  %s: %s\n", printable.Escape(a.fieldSource(c, v.Field)), printable.Escape(v.Description))
		}
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable.Escape(hint))
	}
	return status
}

// classify returns the exit status of an error, and a hint.
func (a *app) classify(ctx context.Context, c *cobra.Command, err error) (status int, hint string) {
	var failed *failure
	var call *client.Error
	errors.As(err, &call)
	switch {
	case errors.As(err, &failed):
		return failed.status, failed.hint
	case errors.Is(err, client.ErrUnknownOutcome):
		return exitUnknown, "look before you repeat it: " + listCommand(c)
	case errors.Is(err, client.ErrExportFailed):
		return exitExportFailed, "remove the cause, then create another export of the snapshot"
	case errors.Is(err, client.ErrExportCancelled):
		return exitCancelled, "create another export of the snapshot"
	case ctx.Err() != nil:
		return exitInterrupted, ""
	case errors.Is(err, client.ErrInvalid):
		return exitInvalid, ""
	case errors.Is(err, client.ErrUnauthorized):
		return exitUnauthorized, a.unauthorizedHint()
	case errors.Is(err, client.ErrForbidden):
		return exitForbidden, forbiddenHint(call)
	case errors.Is(err, client.ErrNotFound):
		return exitNotFound, missingHint(c, call.Code)
	case errors.Is(err, client.ErrConflict):
		if call.Operation == "deleteExportBucket" {
			return exitConflict, "an export or the cluster's export policy uses the bucket; end that first"
		}
		return exitConflict, "find the export that is in progress, and watch it: " + listCommand(c)
	case errors.Is(err, client.ErrRateLimited):
		if call.RetryAfter > 0 {
			return exitRateLimited, fmt.Sprintf("try again in %s", formatDuration(call.RetryAfter))
		}
		return exitRateLimited, "try again later; calls of other programs in the group count as well"
	case call == nil:
		return exitFailed, ""
	case call.Status < 400, call.Status == http.StatusRequestTimeout, call.Status >= 500: // no answer, or a broken one
		if strings.HasPrefix(call.GatewayKind, "upstream_") || call.GatewayKind == "no_credential" {
			return exitUnavailable, "the gateway answers, but gets no usable answer from Atlas; its log has the request"
		}
		return exitUnavailable, "atlas-export config show says what base_url is"
	case call.Code == "" && call.GatewayKind == "":
		return exitFailed, "what answers is neither Atlas nor a gateway; atlas-export config show says what base_url is"
	default:
		return exitFailed, ""
	}
}

const (
	credentialHint   = "atlas-export config show says which credential is used, and where it comes from"
	noCredentialHint = "set MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, " +
		"MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET, or MONGODB_ATLAS_ACCESS_TOKEN; atlas-export help settings lists other ways"
)

// unauthorizedHint tells a credential that is refused from one that is missing.
func (a *app) unauthorizedHint() string {
	if a.settings != nil {
		if c, err := a.settings.credential(); err == nil && c.isZero() {
			return "no credential is set; " + noCredentialHint
		}
	}
	return credentialHint
}

func forbiddenHint(call *client.Error) string {
	switch {
	case call.GatewayKind == "forbidden":
		return "the gateway's configuration does not grant this; atlas-gateway explain shows why"
	case call.GatewayKind != "":
		return ""
	case call.Code == "IP_ADDRESS_NOT_ON_WHITELIST":
		return "Atlas requires the address of this machine on the access list of the key"
	case call.Operation == "createBackupExport":
		return "Atlas requires the role Project Backup Export Operator or Project Atlas Admin for this"
	case call.Operation == "getExportBucket" || call.Operation == "listExportBuckets":
		return "Atlas requires the role Project Read Only for this"
	default:
		return "Atlas requires the role Project Backup Manager for this"
	}
}

func missingHint(c *cobra.Command, code string) string {
	switch code {
	case "GROUP_NOT_FOUND", "CLUSTER_NOT_FOUND":
		return "atlas-export config show says which group and cluster are used, if no flag does"
	case "SNAPSHOT_NOT_FOUND":
		return "the snapshot must be one of the cluster's, and not yet deleted"
	case "EXPORT_BUCKET_NOT_FOUND":
		return "list what exists: " + commandLine(c, "buckets list")
	}
	return "list what exists: " + listCommand(c)
}

// listCommand returns the command line that lists what c acts on.
func listCommand(c *cobra.Command) string {
	if c.Flags().Lookup("cluster") == nil {
		return commandLine(c, "buckets list")
	}
	command := commandLine(c, "exports list")
	if snapshot := c.Flags().Lookup("snapshot"); snapshot != nil && snapshot.Changed {
		command += " --snapshot " + quote(snapshot.Value.String())
	}
	return command
}

// commandLine returns a command line with the flags of c that say where it calls, and as whom.
func commandLine(c *cobra.Command, command string) string {
	line := "atlas-export " + command
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case !f.Changed, f.Name == "output", f.Name == "request-timeout", f.Name == "retries":
		case f.Name == "cluster" && !strings.HasPrefix(command, "exports"):
		default:
			line += " --" + f.Name + " " + quote(f.Value.String())
		}
	})
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
	"clusterName":               "--cluster",
	"exportId":                  "EXPORT",
	"exportBucketId":            "BUCKET",
	"/snapshotId":               "--snapshot",
	"/exportBucketId":           "--bucket",
	"/customData":               "--custom-data",
	"/bucketName":               "--name",
	"/iamRoleId":                "--role",
	"/roleId":                   "--role",
	"/serviceUrl":               "--service-url",
	"/requirePrivateNetworking": "--require-private-networking",
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
