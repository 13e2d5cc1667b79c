package policy

// Request is what a caller wants to do. What an operation does not have stays empty.
type Request struct {
	// Operation is the operationId as matched, such as v1CreateBackupExport.
	Operation string
	// Group and Cluster are groupId and clusterName of the path.
	Group, Cluster string
	// ExportBucket is exportBucketId, of the path or of the body.
	ExportBucket string
	// CloudProvider, BucketName and ServiceURL are of the body of createExportBucket. Grants
	// restrict Azure's containers by ServiceURL alone, and other buckets by BucketName.
	CloudProvider, BucketName, ServiceURL string
}

// concerns reports whether a list of a grant is for what is requested.
func (r *Request) concerns(p part) bool {
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

// FromBody takes what grants restrict out of the body of a request, as validation decoded it:
// of createBackupExport the exportBucketId, of createExportBucket the cloudProvider, the
// bucketName and the serviceUrl. It changes nothing for every other operation, and leaves empty
// what is not a text, which validation lets through nowhere. It ends with [Request.Settle].
func (r *Request) FromBody(body any) {
	object, _ := body.(map[string]any)
	text := func(name string) string {
		value, _ := object[name].(string)
		return value
	}
	switch twin(r.Operation) {
	case "createBackupExport":
		r.ExportBucket = text("exportBucketId")
	case "createExportBucket":
		r.CloudProvider, r.BucketName, r.ServiceURL = text("cloudProvider"), text("bucketName"), text("serviceUrl")
		r.Settle()
	}
}

// Settle leaves ServiceURL empty, which no pattern matches, where BucketName names another
// container: which of the two Atlas would take is not known.
func (r *Request) Settle() {
	if _, name, _ := container(r.ServiceURL); r.BucketName != "" && r.BucketName != name {
		r.ServiceURL = ""
	}
}
