package client

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"

	"atlas-export-gateway/internal/objectid"
)

// violations collects the mistakes in a request. The rules are those of the contract; a test
// compares them with it. Descriptions do not repeat a value, since a value in a wrong place may
// be a secret.
type violations []Violation

var errInvalid = errors.New("not sent, since it breaks the contract")

// err returns the error of an operation that is not sent, or nil if there are no violations.
func (v violations) err(operation string) error {
	if len(v) == 0 {
		return nil
	}
	return &Error{Operation: operation, Violations: v, Err: errInvalid}
}

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// required adds a violation if a value is empty, and reports whether it is not.
func (v *violations) required(field, value string) bool {
	if value == "" {
		v.add(field, "is required")
	}
	return value != ""
}

// id checks an id of Atlas.
func (v *violations) id(field, value string) {
	if v.required(field, value) {
		if err := objectid.Check(value); err != nil {
			v.add(field, "%v", err)
		}
	}
}

// Lengths are checked beside the patterns: to compile {1,64} of all letters takes milliseconds, in
// each program that imports the package.
var (
	clusterPattern    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]*$`)
	groupPattern      = regexp.MustCompile(`^[\p{L}\p{N} \-_.(),:&@+']+$`)
	serviceURLPattern = regexp.MustCompile(`^https://[A-Za-z0-9-]+\.blob\.core\.windows\.net/[A-Za-z0-9$-]+$`)
)

// bucket checks the parameters of the path of one bucket.
func (v *violations) bucket(groupID, exportBucketID string) {
	v.id("groupId", groupID)
	v.id("exportBucketId", exportBucketID)
}

// inCluster checks the parameters of the path of a cluster's jobs.
func (v *violations) inCluster(groupID, clusterName string) {
	v.id("groupId", groupID)
	v.cluster(clusterName)
}

func (v *violations) cluster(value string) {
	if v.required("clusterName", value) && (len(value) > 64 || !clusterPattern.MatchString(value)) {
		v.add("clusterName", "is not a cluster name: at most 64 letters, digits and hyphens, not a hyphen first")
	}
}

func (v *violations) serviceURL(value string) {
	if v.required("/serviceUrl", value) && (len(value) > 2048 || !serviceURLPattern.MatchString(value)) {
		v.add("/serviceUrl", "is not https://ACCOUNT.blob.core.windows.net/CONTAINER")
	}
}

func (v *violations) bucketName(value string) {
	if !v.required("/bucketName", value) || !v.text("/bucketName", value) {
		return
	}
	if n := utf8.RuneCountInString(value); n < 3 || n > 63 {
		v.add("/bucketName", "has %d characters, not 3 to 63", n)
	}
}

// text refuses what is not UTF-8: encoding/json would replace it without an error.
func (v *violations) text(field, value string) bool {
	if !utf8.ValidString(value) {
		v.add(field, "is not valid UTF-8")
		return false
	}
	return true
}

func (v *violations) export(r ExportRequest) {
	v.id("/snapshotId", r.SnapshotID)
	v.id("/exportBucketId", r.ExportBucketID)
	for i, pair := range r.CustomData {
		at := "/customData/" + strconv.Itoa(i)
		v.text(at+"/key", pair.Key)
		v.text(at+"/value", pair.Value)
	}
}

// key is what a gateway takes for the field Idempotency-Key.
func (v *violations) key(value string, kept Keys) {
	switch {
	case value == "":
	case kept == NoKeys:
		v.add("Idempotency-Key", "needs a gateway that keeps keys (Config.KeepsKeys)")
	case len(value) > 255 || !keyPattern.MatchString(value):
		v.add("Idempotency-Key", "is not 1 to 255 visible characters that begin with no quotation mark")
	}
}

var keyPattern = regexp.MustCompile(`^[!#-~][!-~]*$`)

func (v *violations) groupName(value string) {
	// The path of . or .. would be another one.
	if v.required("groupName", value) && (utf8.RuneCountInString(value) > 64 || !groupPattern.MatchString(value) || value == "." || value == "..") {
		v.add("groupName", "is not a group name: 1 to 64 letters, digits, spaces and the marks -_.(),:&@+'")
	}
}

func (v *violations) snapshot(r SnapshotRequest) {
	v.text("/description", r.Description)
	if r.RetentionInDays < 0 {
		v.add("/retentionInDays", "is less than 1")
	}
}

func (v *violations) schedule(u BackupScheduleUpdate) {
	if u == (BackupScheduleUpdate{}) {
		v.add("", "nothing is to be changed")
	}
	switch {
	case u.Export == nil:
		return
	case *u.Export == AutoExport{}:
		v.add("/export", "nothing of it is to be changed")
	}
	if u.Export.ExportBucketID != "" {
		v.id("/export/exportBucketId", u.Export.ExportBucketID)
	}
	switch u.Export.FrequencyType {
	case "", "daily", "weekly", "monthly", "yearly":
	default:
		v.add("/export/frequencyType", "is not daily, weekly, monthly or yearly")
	}
}

func (v *violations) page(o ListOptions) {
	if o.PageNum < 0 {
		v.add("pageNum", "is less than 1")
	}
	if o.ItemsPerPage < 0 || o.ItemsPerPage > maxItems {
		v.add("itemsPerPage", "is not 1 to 500")
	}
}
