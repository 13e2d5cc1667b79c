package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"atlas-export-gateway/client"
	"atlas-export-gateway/serviceaccount"

	"github.com/spf13/cobra"
)

const (
	credentialHint   = "atlas-export config show says which credential is used, and where it comes from"
	noCredentialHint = "set MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, " +
		"MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET, or MONGODB_ATLAS_ACCESS_TOKEN; atlas-export help settings lists other ways"
	baseURLHint = "atlas-export config show says what base_url is"
	settingHint = "atlas-export config show says which group and cluster are used, if no flag does"
	logHint     = "the gateway answers, but gets no usable answer from Atlas; its log has the request"

	dedicatedHint = "only dedicated clusters (M10 and larger) with Cloud Backup have snapshots that can be exported"
	paymentHint   = "the organization must be active and paid for; its owner sees more in Atlas"
	versionHint   = "Atlas no longer serves the version that this release asks for; a newer release of atlas-export may know another"
	complianceFor = "the project's Backup Compliance Policy asks for more; its owner sees it in Atlas"
)

// codeHints say what can be done about the errorCodes of Atlas that its endpoints for exports, and
// for what an export needs, can answer with. They are from Atlas's published list. KEY stands for
// the key that called Atlas. A code that is not here has no hint of its own.
var codeHints = map[string]string{
	"NOT_IN_GROUP":             "KEY is of another project, or the group does not exist",
	"USER_CANNOT_ACCESS_GROUP": "KEY is of another project, or the group does not exist",
	"USER_CANNOT_ACCESS_ORG":   "KEY is of another organization",
	"NO_CURRENT_USER":          credentialHint,

	"GROUP_NOT_FOUND":        settingHint,
	"GROUP_NAME_NOT_FOUND":   settingHint,
	"INVALID_GROUP_ID":       settingHint,
	"INVALID_ATLAS_GROUP":    settingHint,
	"NOT_ATLAS_GROUP":        settingHint,
	"CLUSTER_NOT_FOUND":      settingHint,
	"CLUSTER_NAME_NOT_FOUND": settingHint,
	"CLUSTER_NAME_INVALID":   settingHint,
	"SNAPSHOT_NOT_FOUND":     "the snapshot must be one of the cluster's, and not yet deleted",
	"INVALID_SNAPSHOT_ID":    "the snapshot must be one of the cluster's, and not yet deleted",

	"CANNOT_ASSUME_ROLE": "the trust policy of the role must name Atlas's account and the external id that Atlas gave, " +
		"and the role must be allowed to write to the bucket",
	"CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED": "authorize the role in the project first, under cloud provider access",
	"EXPORT_BUCKET_NAME_INVALID":                "give the name alone, as the cloud provider has it, without s3:// and without a path",
	"EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE": "wait for the exports to the bucket, and take it out of the export policies of the clusters",

	"BACKUP_JOB_NOT_FOUND":                          dedicatedHint,
	"BACKUP_CONFIG_NOT_FOUND":                       dedicatedHint,
	"PROVIDER_BACKUP_NOT_SUPPORTED":                 dedicatedHint,
	"CANNOT_USE_FLEX_CLUSTER_IN_CLUSTER_API":        dedicatedHint,
	"CANNOT_USE_SERVERLESS_INSTANCE_IN_CLUSTER_API": dedicatedHint,
	"FEATURE_UNSUPPORTED":                           dedicatedHint,
	"UNSUPPORTED_FOR_CURRENT_PLAN":                  dedicatedHint,
	"UNSUPPORTED_FOR_CURRENT_CONFIG":                dedicatedHint,
	"CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API":       "the cluster is not a flex cluster, and was asked for as one",
	"INCORRECT_BACKUP_API_ENDPOINT":                 "the cluster is of another kind than it was asked for as; the error names the right path",
	"UNFINISHED_ON_DEMAND_SNAPSHOT":                 "wait until the on-demand snapshot that is under way has ended",
	"CANNOT_UPDATE_PAUSED_CLUSTER":                  "resume the cluster first",

	"BACKUP_POLICIES_NOT_MEETING_BACKUP_COMPLIANCE_POLICY_REQUIREMENTS": complianceFor,
	"SNAPSHOT_RETENTION_LESS_THAN_BACKUP_COMPLIANCE_POLICY":             complianceFor,

	"VERSION_GONE":                 versionHint,
	"INVALID_VERSION_DATE":         versionHint,
	"ACCOUNT_SUSPENDED":            paymentHint,
	"NO_PAYMENT_INFORMATION_FOUND": paymentHint,
	"INACTIVE_ORG":                 paymentHint,
	updating:                       "Atlas is being upgraded, and only answers reads; try again later",
}

// updating is the errorCode of Atlas for what it does not change while it is being upgraded.
const updating = "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"

// gatewayHints say what can be done about the kinds of the gateway's own refusals. An empty hint
// says that there is nothing to add to the refusal. The kinds are those of DIVERGENCES.md that a
// caller can see.
var gatewayHints = map[string]string{
	"invalid_target":         "",
	"invalid_request":        "",
	"foreign_site":           "a gateway that needs no key answers only under its own names; " + baseURLHint,
	"forbidden":              "the gateway's configuration does not grant this; atlas-gateway explain shows why",
	"not_found":              "the gateway does not serve this; one of another version may", // of older gateways
	"not_served":             "the gateway does not serve this; one of another version may",
	"not_flex":               "the cluster is not a flex cluster, and was asked for as one",
	"method_not_allowed":     "the gateway does not serve this; one of another version may",
	"invalid_version":        "the gateway is of an older version than this program",
	"request_timeout":        "the request took too long to arrive; try again",
	"request_too_large":      "limits.request_body of the gateway bounds a request",
	"unsupported_media_type": "",
	"rate_limited":           "try again later; calls of other programs in the group count as well",
	"rate_budget":            "try again later; all callers of the gateway share what Atlas allows in the group",
	"caller_rate":            "try again later; the gateway bounds how often this key may ask",
	"upstream_out":           "Atlas fails; try again later, nothing was sent",
	"internal":               "the gateway's log has the request",
	"no_credential":          "the gateway has no key for the group; " + settingHint,
	"upstream_credential":    "Atlas refuses the gateway's own key; tell the gateway's operator",
	"upstream_unreachable":   logHint,
	"upstream_unsigned":      logHint,
	"upstream_response":      logHint,
	"upstream_timeout":       logHint,
	"invalid_key":            "",
	"key_required":           "the gateway takes creates only with a key: --keeps-keys required sends one, as does: atlas-export config set keeps_keys required",
	"key_reused":             "give another --idempotency-key; if the snapshot is the latest, there may be a newer one since the key was first sent",
	"open_creates":           "wait until the gateway knows what became of earlier creates; atlas-gateway creates list shows them",
	"not_carried_out":        "try again: nothing was created",
	"journal":                "try again: nothing was sent; the operator's log says what the journal lacks",
	"audit_unavailable":      "try again: nothing was sent; the operator's log says why changes can't be recorded",
	"outcome_unknown":        "repeat the command: the gateway goes on looking, and creates nothing twice",
	"overloaded":             "the gateway is working on as many requests as it may; try again",
}

// hintOf says what can be done about an error of a call; empty where nothing is sure to help. What
// answers names the cause better than the status does, so that its code decides first.
func (a *app) hintOf(c *cobra.Command, call *client.Error) string {
	hint, known := gatewayHints[call.GatewayKind]
	var token *serviceaccount.TokenError
	switch {
	case asksToWait(call) && call.RetryAfter > 0:
		return "try again in " + formatDuration(call.RetryAfter)
	case asksToWait(call) && errors.As(call, &token):
		return "a service account gets only so many tokens a minute; try again in a minute"
	case known:
		return hint
	case call.GatewayKind == "unauthorized":
		return a.unauthorizedHint()
	case call.GatewayKind != "":
		return "" // of a later version
	case errors.Is(call, client.ErrRateLimited):
		return gatewayHints["rate_limited"]
	case codeHints[call.Code] != "":
		return strings.ReplaceAll(codeHints[call.Code], "KEY", keyAtAtlas(call))
	}
	switch call.Code {
	case "IP_ADDRESS_NOT_ON_ACCESS_LIST", "IP_ADDRESS_NOT_ON_WHITELIST", "ORG_REQUIRES_ACCESS_LIST", "ORG_REQUIRES_WHITELIST",
		"RESOURCE_REQUIRES_ACCESS_LIST", "RESOURCE_REQUIRES_WHITELIST", "GLOBAL_USER_OUTSIDE_SUBNET":
		return accessListHint(call)
	case "USER_UNAUTHORIZED", "ACCESS_FORBIDDEN":
		return keyAtAtlas(call) + " lacks the role " + requiredRole(call.Operation)
	case "CANNOT_START_RESTORE_JOB_FOR_INCOMPLETE_CLUSTER_SNAPSHOT":
		return "only a completed snapshot can be exported; see which are: " + commandLine(c, "snapshots list")
	case "EXPORT_BUCKET_NOT_FOUND":
		return "list what exists: " + commandLine(c, "buckets list")
	}
	return a.hintOfStatus(c, call)
}

// hintOfStatus is hintOf for an error that no code explains.
func (a *app) hintOfStatus(c *cobra.Command, call *client.Error) string {
	switch {
	case len(call.Violations) > 0:
		return ""
	case errors.Is(call, client.ErrNotFound):
		return "list what exists: " + listCommand(c)
	case call.Status == 0:
		return cmp.Or(certificateHint(call), baseURLHint)
	case call.Status == http.StatusUnauthorized:
		return a.unauthorizedHint()
	case call.Code == "" && call.Status == http.StatusBadRequest: // as servers of TLS answer plain HTTP
		return "what answers is neither Atlas nor a gateway, or it expects https; " + baseURLHint
	case call.Code == "" && call.Status >= 400 && call.Status < 500:
		return "what answers is neither Atlas nor a gateway; " + baseURLHint
	case call.Status == http.StatusConflict && call.Operation == "createBackupExport":
		return "find the export that is in progress, and watch it: " + listCommand(c)
	case call.Status >= 500 && call.Code != "":
		return "Atlas failed; try again later"
	case call.Status < 400, call.Status >= 500:
		return baseURLHint
	}
	return ""
}

// exportHint says what can be done about an export that failed.
func exportHint(err error) string {
	cause := "remove the cause"
	var failed *client.ExportError
	if errors.As(err, &failed) && failed.Job.StateReason != nil {
		if hint := codeHints[failed.Job.StateReason.ErrorCode]; hint != "" && !strings.Contains(hint, "KEY") {
			cause = hint
		}
	}
	return cause + "; then create another export of the snapshot"
}

// keyAtAtlas names the key that called Atlas.
func keyAtAtlas(call *client.Error) string {
	if call.RequestID != "" { // a gateway relays the answer
		return "the gateway's key at Atlas"
	}
	return "the key"
}

func accessListHint(call *client.Error) string {
	address := "the address that called"
	for _, parameter := range call.Parameters {
		if ip, err := netip.ParseAddr(parameter); err == nil {
			address = ip.String()
		}
	}
	return fmt.Sprintf("put %s on the API access list of %s", address, keyAtAtlas(call))
}

// requiredRole names the role in a project that Atlas requires for an operation.
func requiredRole(operation string) string {
	if v1, ok := strings.CutPrefix(operation, "v1"); ok && v1 != "" {
		operation = strings.ToLower(v1[:1]) + v1[1:]
	}
	switch operation {
	case "createBackupExport":
		return "Project Backup Export Operator or Project Atlas Admin"
	case "getExportBucket", "listExportBuckets", "listClusters", "getCluster", "getClusterStatus", "getBackupSchedule",
		"listBackupSnapshots", "getClusterBackupSnapshot", "listBackupShardedClusters", "getBackupShardedCluster", "getGroup", "getGroupByName":
		return "Project Read Only"
	case "listGroups":
		return "Organization Read Only"
	case "listCloudProviderAccess", "getCloudProviderAccess", "updateBackupSchedule":
		return "Project Owner"
	default:
		return "Project Backup Manager"
	}
}

// unauthorizedHint tells a credential that is refused from one that is missing.
func (a *app) unauthorizedHint() string {
	if a.settings != nil {
		if c, err := a.settings.credential(); err == nil && c.isZero() {
			return "no credential is set; " + a.settings.noCredentialHint()
		}
	}
	return credentialHint
}

// noCredentialHint says how to give a credential, and first why that of the Atlas CLI is none.
func (r *resolved) noCredentialHint() string {
	if why := r.missing(); why != "" {
		return why + "; " + noCredentialHint
	}
	return noCredentialHint
}

// certificateHint says what can be done about a certificate that is refused; empty for other
// errors.
func certificateHint(err error) string {
	var (
		refused   *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		notTLS    tls.RecordHeaderError
	)
	alert, ended := errors.AsType[*net.OpError](err)
	switch {
	case ended && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate"):
		return "the server asks for a client certificate, or does not trust the one that was shown; --client-cert FILE and --client-key FILE, or the settings client_cert and client_key, name one"
	// The server may also give no reason, or its alert is lost: what net/http says then over HTTP/2 has
	// no type.
	case ended && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "handshake failure"),
		ended && alert.Op == "write" && overTLS(err),
		strings.Contains(err.Error(), "http2: client conn could not be established"):
		return "the server ended the connection at once; it may ask for a client certificate, which --client-cert FILE and --client-key FILE, or the settings client_cert and client_key, name"
	case errors.As(err, &authority):
		return "the certificate is from an authority that is not trusted here; --ca-file FILE, or the setting ca_file, names those to trust"
	case errors.As(err, &name):
		return "the certificate is for other names than base_url has; " + baseURLHint
	case errors.As(err, &refused):
		return "the server needs another certificate, or the clock of this machine is wrong"
	case errors.As(err, &notTLS):
		return "what answers does not speak TLS; " + baseURLHint
	}
	return ""
}

// overTLS reports whether an error is of a request to an https URL.
func overTLS(err error) bool {
	request, ok := errors.AsType[*url.Error](err)
	return ok && strings.HasPrefix(request.URL, "https:")
}
