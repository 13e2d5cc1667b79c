package sim

import (
	"net/http"
	"strconv"
	"time"
)

// serviceVersion is the X-MongoDB-Service-Version of every answer.
const serviceVersion = "gitHash=0000000000000000000000000000000000000000; versionString=v20261101"

// liveFields are fields that every recorded answer of the live service has, errors included.
// Inferred: answers of which there is no recording, such as a challenge, have them too.
var liveFields = map[string][]string{
	"Referrer-Policy":                   {"strict-origin-when-cross-origin"},
	"Server":                            {"mdbws"},
	"Strict-Transport-Security":         {"max-age=31536000; includeSubdomains;"},
	"X-Content-Type-Options":            {"nosniff"},
	"X-Frame-Options":                   {"DENY"},
	"X-Java-Version":                    {"17.0.17+10"},
	"X-MongoDB-Service-Version":         {serviceVersion},
	"X-Permitted-Cross-Domain-Policies": {"none"},
}

// javaMethods are the recorded X-Java-Method fields, by operationId. The answers of the other
// operations, and of v1.0, were not recorded and have none.
var javaMethods = map[string]string{
	"createBackupExport":          "ApiAtlasDiskBackupExportJobsResource::createExportRestoreJob",
	"createExportBucket":          "ApiAtlasDiskBackupExportBucketsResource::addExportBucket",
	"deleteClusterBackupSchedule": "ApiAtlasDiskBackupScheduleResource::deleteSnapshotSchedule",
	"deleteExportBucket":          "ApiAtlasDiskBackupExportBucketsResource::deleteExportBucket",
	"getBackupExport":             "ApiAtlasDiskBackupExportJobsResource::getExportJob",
	"getBackupSchedule":           "ApiAtlasDiskBackupScheduleResource::getSnapshotSchedule",
	"getClusterBackupSnapshot":    "ApiAtlasDiskBackupSnapshotsResource::getSnapshot",
	"getExportBucket":             "ApiAtlasDiskBackupExportBucketsResource::getExportBucketById",
	"listBackupExports":           "ApiAtlasDiskBackupExportJobsResource::getExportRestoreJobs",
	"listBackupSnapshots":         "ApiAtlasDiskBackupSnapshotsResource::getSnapshots",
	"listCloudProviderAccess":     "ApiAtlasCloudProviderAccessResource::getCloudProviderAccess",
	"listExportBuckets":           "ApiAtlasDiskBackupExportBucketsResource::getAllExportBucketsByGroup",
	"listFlexBackups":             "ApiAtlasFlexBackupResource::getSnapshots",
	"takeSnapshots":               "ApiAtlasDiskBackupSnapshotsResource::onDemandSnapshot",
	"updateBackupSchedule":        "ApiAtlasDiskBackupScheduleResource::patchSnapshotSchedule",
}

// setLiveFields adds the fields of the live service to an answer.
func (x *exchange) setLiveFields(h http.Header) {
	for name, values := range liveFields {
		h[name] = values
	}
	h["X-Envoy-Upstream-Service-Time"] = []string{strconv.FormatInt(time.Since(x.began).Milliseconds(), 10)}
	if x.op == nil {
		return
	}
	if method := javaMethods[x.op.id]; method != "" {
		h["X-Java-Method"] = []string{method}
	}
}
