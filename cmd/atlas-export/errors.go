package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses. Scripts go by them: none changes its meaning.
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
	exitInterrupted  = 130
)

const exitStatusHelp = `The exit status says what kind of error ended a command:

    0  none; it was done
    1  any that is not listed here; a question that was answered with no; output that could
       not be written, after what was asked for was done
    2  the command line is wrong
    3  the request breaks the contract, Atlas refuses it as wrong, or the configuration is not good
    4  there is no credential, or it is not accepted
    5  the credential is good and may not do this
    6  there is no such thing
    7  something stands in the way: an export of the snapshot under way, a bucket in use
    8  a rate limit
    9  the network, the gateway or Atlas fails, and another try may succeed
   10  the outcome is not known: what was to be created may have been created
   11  the export failed
   12  the export was cancelled
   13  the export goes on, and is no longer followed: the time to wait is over; or with
       create --wait, looks at it fail for good
  130  SIGINT, SIGTERM or SIGQUIT, but 10 while a create is under way; an export that was
       started goes on
  141  nobody reads the output any more (SIGPIPE); an export that was started goes on

After 10, look before you repeat the command: a second export costs what the first did.
After 2 to 9, what was to be created was not created.`

// failure is an error that knows its exit status.
type failure struct {
	status int
	err    error
	hint   string // what to do about it; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is a wrong command line.
func usageError(c *cobra.Command, format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...), c.CommandPath() + " -h shows how it is used"}
}

// report writes an error to standard error and returns its exit status.
func (a *app) report(ctx context.Context, c *cobra.Command, err error) int {
	status, hint := classify(ctx, c, err)
	text := err.Error()
	var call *client.Error
	if errors.As(err, &call) && len(call.Violations) > 0 { // each has a line of its own
		bare := *call
		bare.Violations = nil
		text = strings.Replace(text, call.Error(), bare.Error(), 1)
	}
	for line := range strings.Lines(strings.ReplaceAll(text, "client: ", "")) {
		fmt.Fprintf(a.stderr, "atlas-export: %s\n", clean(strings.TrimSuffix(line, "\n")))
	}
	if call != nil {
		for _, v := range call.Violations {
			fmt.Fprintf(a.stderr, "  %s: %s\n", clean(place(c, v.Field)), clean(v.Description))
		}
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", clean(hint))
	}
	return status
}

// classify returns the exit status of an error, and a hint.
func classify(ctx context.Context, c *cobra.Command, err error) (status int, hint string) {
	var failed *failure
	var call *client.Error
	errors.As(err, &call)
	switch {
	case errors.As(err, &failed):
		return failed.status, failed.hint
	case errors.Is(err, client.ErrUnknownOutcome):
		return exitUnknown, "look before you repeat it: " + listing(c)
	case errors.Is(err, client.ErrExportFailed):
		return exitExportFailed, "once its cause is mended, create another export of the snapshot"
	case errors.Is(err, client.ErrExportCancelled):
		return exitCancelled, "create another export of the snapshot"
	case ctx.Err() != nil:
		return exitInterrupted, ""
	case errors.Is(err, client.ErrInvalid):
		return exitInvalid, ""
	case errors.Is(err, client.ErrUnauthorized):
		return exitUnauthorized, credentialHint
	case errors.Is(err, client.ErrForbidden):
		return exitForbidden, forbiddenHint(call)
	case errors.Is(err, client.ErrNotFound):
		return exitNotFound, missingHint(c, call.Code)
	case errors.Is(err, client.ErrConflict):
		if call.Operation == "deleteExportBucket" {
			return exitConflict, "an export or the cluster's export policy uses the bucket; end that first"
		}
		return exitConflict, "find the export that is under way, and watch it: " + listing(c)
	case errors.Is(err, client.ErrRateLimited):
		if call.RetryAfter > 0 {
			return exitRateLimited, fmt.Sprintf("try again in %s", span(call.RetryAfter))
		}
		return exitRateLimited, "try again later; what other programs call in the group counts as well"
	case call == nil:
		return exitFailed, ""
	case call.Status < 400, call.Status == http.StatusRequestTimeout, call.Status >= 500: // no answer, or a broken one
		if strings.HasPrefix(call.GatewayKind, "upstream_") || call.GatewayKind == "no_credential" {
			return exitUnavailable, "the gateway answers, and what it gets from Atlas is no answer; its log has the request"
		}
		return exitUnavailable, "atlas-export config show says what base_url is"
	case call.Code == "" && call.GatewayKind == "":
		return exitFailed, "what answers is neither Atlas nor a gateway; atlas-export config show says what base_url is"
	default:
		return exitFailed, ""
	}
}

const credentialHint = "atlas-export config show says which credential is used, and where it is from"

func forbiddenHint(call *client.Error) string {
	switch {
	case call.GatewayKind == "forbidden":
		return "the gateway grants its callers what its configuration says; atlas-gateway explain shows why"
	case call.GatewayKind != "":
		return ""
	case call.Code == "IP_ADDRESS_NOT_ON_WHITELIST":
		return "Atlas wants the address of this machine on the access list of the key"
	case call.Operation == "createBackupExport":
		return "Atlas wants the role Project Backup Export Operator or Project Atlas Admin for this"
	case call.Operation == "getExportBucket" || call.Operation == "listExportBuckets":
		return "Atlas wants the role Project Read Only for this"
	default:
		return "Atlas wants the role Project Backup Manager for this"
	}
}

func missingHint(c *cobra.Command, code string) string {
	switch code {
	case "GROUP_NOT_FOUND", "CLUSTER_NOT_FOUND":
		return "atlas-export config show says which group and cluster are meant, if no flag does"
	case "SNAPSHOT_NOT_FOUND":
		return "the snapshot must be one of the cluster's, and not yet deleted"
	case "EXPORT_BUCKET_NOT_FOUND":
		return "see what there is: " + again(c, "buckets list")
	}
	return "see what there is: " + listing(c)
}

// listing is the command that shows what a command is about.
func listing(c *cobra.Command) string {
	if c.Flags().Lookup("cluster") == nil {
		return again(c, "buckets list")
	}
	command := again(c, "exports list")
	if snapshot := c.Flags().Lookup("snapshot"); snapshot != nil && snapshot.Changed {
		command += " --snapshot " + quote(snapshot.Value.String())
	}
	return command
}

// again writes a command line with those flags of c that say whom it calls, and as whom.
func again(c *cobra.Command, command string) string {
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

// quote makes a word of a shell's.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~/:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// places are the flags and arguments that the contract's names stand for.
var places = map[string]string{
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

// place says where on the command line a field of the contract comes from.
func place(c *cobra.Command, field string) string {
	if known, ok := places[field]; ok && (known[0] != '-' || c.Flags().Lookup(known[2:]) != nil) {
		return field + ", " + known
	}
	return cmp.Or(field, "body")
}
