package policy

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
