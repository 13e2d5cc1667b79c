package policy

// Request is what a caller wants to do. A field that the operation does not have stays empty.
type Request struct {
	// Operation is the operationId as matched, such as v1CreateBackupExport.
	Operation string
	// Group and Cluster are the path parameters groupId and clusterName.
	Group, Cluster string
	// ExportBucket is the exportBucketId in the path or the body.
	ExportBucket string
	// ExportOff says that the body of updateBackupSchedule does nothing but turn automatic exports
	// off. Then ExportBucket is empty, and lists of export buckets don't matter.
	ExportOff bool
	// CloudProvider, BucketName and ServiceURL come from the body of createExportBucket. Grants
	// restrict Azure containers only by ServiceURL, and other buckets only by BucketName.
	CloudProvider, BucketName, ServiceURL string
}

// EveryGroup reports whether the operation shows every group, so that Group doesn't matter.
func (r *Request) EveryGroup() bool { return describe(r.Operation).scope == everyGroup }

// concerns reports whether a list of a grant matters to what is in the body of the request.
func (r *Request) concerns(p part) bool {
	if p == exportBuckets {
		return !(r.ExportOff && v2Name(r.Operation) == "updateBackupSchedule")
	}
	azure := r.CloudProvider == "AZURE" || r.ServiceURL != ""
	return p < bucketNames || azure == (p == serviceURLs)
}

func (r *Request) value(p part) string {
	switch p {
	case operations:
		return r.Operation
	case groups:
		return r.Group
	case clusters:
		return r.Cluster
	case exportBuckets:
		return r.ExportBucket
	case cloudProviders:
		return r.CloudProvider
	case bucketNames:
		return r.BucketName
	default:
		return r.ServiceURL
	}
}

// Members are the members of bodies that FromBody reads.
var Members = []string{"exportBucketId", "cloudProvider", "bucketName", "serviceUrl", "autoExportEnabled", "export"}

// FromBody copies what grants restrict from the decoded body of a request: for createBackupExport
// the exportBucketId; for createExportBucket the cloudProvider, the bucketName and the serviceUrl,
// followed by [Request.Settle]; for updateBackupSchedule the exportBucketId of export, or that
// exports are turned off. For all other operations it does nothing. A value that is not a string
// leaves its field empty; validation lets none through.
func (r *Request) FromBody(body any) {
	object, _ := body.(map[string]any)
	text := func(name string) string {
		value, _ := object[name].(string)
		return value
	}
	switch v2Name(r.Operation) {
	case "updateBackupSchedule":
		changes := len(object)
		if _, ok := object["clusterName"]; ok { // the path's, which changes nothing
			changes--
		}
		r.ExportOff = changes == 1 && object["autoExportEnabled"] == false
		object, _ = object["export"].(map[string]any)
		r.ExportBucket = text("exportBucketId")
	case "createBackupExport":
		r.ExportBucket = text("exportBucketId")
	case "createExportBucket":
		r.CloudProvider, r.BucketName, r.ServiceURL = text("cloudProvider"), text("bucketName"), text("serviceUrl")
		r.Settle()
	}
}

// Settle empties ServiceURL where BucketName names another container, so that no pattern matches:
// it is not known which of the two Atlas would take.
func (r *Request) Settle() {
	if _, name, _ := container(r.ServiceURL); r.BucketName != "" && r.BucketName != name {
		r.ServiceURL = ""
	}
}
