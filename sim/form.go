package sim

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	objectID   = regexp.MustCompile(`^[a-f0-9]{24}$`)
	bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$`)
	// seedCheck checks the length of a cluster name, at most 64.
	clusterName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]*$`)
)

// members are the members of the JSON object in a request.
type members map[string]json.RawMessage

// form lists the attributes that the content of a request may have, in the order in which
// they are checked.
type form []attribute

type attribute struct {
	name     string
	required bool
	check    func(name string, value json.RawMessage) error // nil: any value, which is ignored
}

const required = true

// Clients send links, and tenantId for Azure. Atlas ignores both.
var ignoredLinks = attribute{name: "links"}

func exportForm(string, members) (form, error) {
	return form{
		{"snapshotId", required, isObjectID},
		{"exportBucketId", required, isObjectID},
		{"customData", !required, isCustomData(!required)},
		ignoredLinks,
	}, nil
}

func v1ExportForm(string, members) (form, error) {
	return form{
		{"snapshotId", required, isObjectID},
		{"exportBucketId", required, isObjectID},
		{"customData", !required, isCustomData(required)},
		ignoredLinks,
	}, nil
}

func legacyBucketForm(string, members) (form, error) {
	return form{
		{"cloudProvider", required, isOneOf("AWS")},
		{"bucketName", required, isBucketName},
		{"iamRoleId", required, isObjectID},
		ignoredLinks,
	}, nil
}

func bucketForm(version string, m members) (form, error) {
	if version == v20230101.date {
		return legacyBucketForm(version, m)
	}
	provider := attribute{"cloudProvider", required, isOneOf("AWS", "AZURE", "GCP")}
	switch string(m["cloudProvider"]) {
	case `"AZURE"`:
		return form{
			provider,
			{"roleId", required, isObjectID},
			{"serviceUrl", required, isServiceURL},
			{"bucketName", !required, isBucketName},
			{name: "tenantId"},
			ignoredLinks,
		}, nil
	case `"GCP"`:
		return form{
			provider,
			{"bucketName", required, isBucketName},
			{"roleId", required, isObjectID},
			ignoredLinks,
		}, nil
	default: // AWS, or a provider that the check of cloudProvider refuses
		return form{
			provider,
			{"bucketName", required, isBucketName},
			{"iamRoleId", required, isObjectID},
			{"requirePrivateNetworking", !required, isBool},
			ignoredLinks,
		}, nil
	}
}

func bucketUpdateForm(string, members) (form, error) {
	return form{{"requirePrivateNetworking", required, isBool}}, nil
}

func snapshotForm(string, members) (form, error) {
	return form{
		{"description", !required, isText},
		{"retentionInDays", !required, isPositive},
		ignoredLinks,
	}, nil
}

// scheduleForm has the attributes that a schedule can be changed in. The simulation ignores those
// that have no check.
func scheduleForm(string, members) (form, error) {
	return form{
		{"autoExportEnabled", !required, isBool},
		{"export", !required, isExportPolicy},
		{"useOrgAndGroupNamesInExportPrefix", !required, isBool},
		{"referenceHourOfDay", !required, isNumber},
		{"referenceMinuteOfHour", !required, isNumber},
		{"restoreWindowDays", !required, isNumber},
		{"policies", !required, isPolicies},
		{name: "copySettings"},
		{name: "deleteCopiedBackups"},
		{name: "deleteSnapshots"},
		{name: "extraRetentionSettings"},
		{name: "updateSnapshots"},
		{name: "clusterId"},
		{name: "clusterName"},
		{name: "nextSnapshot"},
		ignoredLinks,
	}, nil
}

// checkContent checks a request's content as Atlas does: it stops at the first mistake.
// Content that passes fits the generated types. Ignored attributes are taken out of it.
func (x *exchange) checkContent() error {
	if x.op.form == nil {
		return nil
	}
	if !acceptedContent(x.request.Header.Get("Content-Type")) {
		return failure(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The content type is not supported.") // inferred
	}
	var m members
	if !json.Valid(x.body) {
		return failure(http.StatusBadRequest, "MALFORMED_JSON", "Received JSON is malformed.")
	}
	if err := json.Unmarshal(x.body, &m); err != nil || m == nil {
		return invalidJSON()
	}
	form, err := x.op.form(x.version, m)
	if err != nil {
		return err
	}
	given := len(m)
	if err := form.check(m); err != nil {
		return err
	}
	if len(m) < given {
		content, err := json.Marshal(m)
		if err != nil {
			return err
		}
		x.request.Body = io.NopCloser(bytes.NewReader(content))
	}
	return nil
}

// check checks the members of an object, and takes those out that are ignored.
func (f form) check(m members) error {
	for _, a := range f {
		value, present := m[a.name]
		if null := string(value) == "null"; a.required && (!present || null) {
			return missingAttribute(a.name)
		} else if null {
			return invalidAttribute(a.name) // inferred
		}
		switch {
		case !present:
		case a.check == nil:
			delete(m, a.name)
		default:
			if err := a.check(a.name, value); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.ContainsFunc(f, func(a attribute) bool { return a.name == name }) {
			return invalidAttribute(name)
		}
	}
	return nil
}

func invalidJSON() error {
	return failure(http.StatusBadRequest, "INVALID_JSON", "Received JSON does not match expected format.")
}

func invalidAttribute(name string) error {
	return failure(http.StatusBadRequest, "INVALID_ATTRIBUTE", "Invalid attribute %s specified.", name)
}

func missingAttribute(name string) error {
	return failure(http.StatusBadRequest, "MISSING_ATTRIBUTE", "The required attribute %s was not specified.", name)
}

// decodeAs reads a value whose JSON type must be that of a Go type.
func decodeAs[T any](name string, value json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return v, failure(http.StatusBadRequest, "INVALID_JSON_ATTRIBUTE", "Received JSON for the %s attribute does not match expected format.", name)
	}
	return v, nil
}

func isBool(name string, value json.RawMessage) error {
	_, err := decodeAs[bool](name, value)
	return err
}

func isText(name string, value json.RawMessage) error {
	_, err := decodeAs[string](name, value)
	return err
}

func isNumber(name string, value json.RawMessage) error {
	_, err := decodeAs[int](name, value)
	return err
}

// isPositive wants a number above 0. The error for others is inferred.
func isPositive(name string, value json.RawMessage) error {
	n, err := decodeAs[int](name, value)
	if err == nil && n < 1 {
		err = failure(http.StatusBadRequest, "ATTRIBUTE_NEGATIVE_OR_ZERO", "The attribute %s cannot be negative or zero.", name)
	}
	return err
}

func isPolicies(name string, value json.RawMessage) error {
	policies, err := decodeAs[[]struct {
		PolicyItems []PolicyItem `json:"policyItems"`
	}](name, value)
	if err == nil && len(policies) != 1 {
		err = failure(http.StatusBadRequest, "INVALID_NUM_OF_POLICIES", "Must have exactly one policy.")
	}
	return err
}

// isExportPolicy wants a bucket and a frequency, or one of them.
func isExportPolicy(name string, value json.RawMessage) error {
	m, err := decodeAs[members](name, value)
	if err != nil {
		return err
	}
	return form{
		{"exportBucketId", !required, isObjectID},
		{"frequencyType", !required, isOneOf(frequencies[1:]...)},
	}.check(m)
}

func isObjectID(name string, value json.RawMessage) error {
	id, err := decodeAs[string](name, value)
	if err == nil && !objectID.MatchString(id) {
		err = invalidAttribute(name)
	}
	return err
}

func isOneOf(values ...string) func(string, json.RawMessage) error {
	return func(name string, value json.RawMessage) error {
		v, err := decodeAs[string](name, value)
		if err == nil && !slices.Contains(values, v) {
			err = failure(http.StatusBadRequest, "INVALID_ENUM_VALUE", "An invalid enumeration value %s was specified.", v)
		}
		return err
	}
}

// isBucketName wants 3 to 63 characters, each of which one of the three providers allows.
func isBucketName(name string, value json.RawMessage) error {
	v, err := decodeAs[string](name, value)
	if err == nil && !bucketName.MatchString(v) {
		err = failure(http.StatusBadRequest, "EXPORT_BUCKET_NAME_INVALID", "Export Bucket name is invalid.")
	}
	return err
}

func isServiceURL(name string, value json.RawMessage) error {
	v, err := decodeAs[string](name, value)
	if err != nil {
		return err
	}
	u, err := url.Parse(v)
	if err != nil || len(v) < 33 || len(v) > 2048 || u.Scheme != "https" ||
		!strings.HasSuffix(u.Host, ".blob.core.windows.net") || container(v) == "" {
		return invalidAttribute(name)
	}
	return nil
}

// container returns the name of the container in an Azure service URL.
func container(serviceURL string) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(serviceURL, "https://"), "/")
	return strings.Trim(path, "/")
}

// isCustomData wants pairs of strings. In v1.0, both the key and the value are required.
func isCustomData(both bool) func(string, json.RawMessage) error {
	return func(name string, value json.RawMessage) error {
		pairs, err := decodeAs[[]members](name, value)
		if err != nil {
			return err
		}
		for _, pair := range pairs {
			if pair == nil {
				return invalidAttribute(name)
			}
			for _, half := range []string{"key", "value"} {
				v, present := pair[half]
				delete(pair, half)
				if !present && both {
					return missingAttribute(half)
				}
				if !present {
					continue
				}
				if string(v) == "null" {
					return invalidAttribute(half)
				}
				if _, err := decodeAs[string](half, v); err != nil {
					return err
				}
			}
			if len(pair) > 0 {
				return invalidAttribute(slices.Min(slices.Collect(maps.Keys(pair))))
			}
		}
		return nil
	}
}
