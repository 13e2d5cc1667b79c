// Package policy decides which caller may do what. The gateway calls it for every request
// that is valid, before anything is forwarded.
//
// A caller has grants, and may do what at least one of them allows as a whole; parts of
// several don't add up. Without a grant everything is refused. In the configuration:
//
//	grants:
//	  - operations: [export]                  # required
//	    groups: [64f0c1a2b3d4e5f607182930]    # required
//	    clusters: ["analytics-*"]
//	    export_buckets: [65a9d3e1f20b4c7788990011]
//	  - operations: [listExportBuckets, createExportBucket]
//	    groups: ["*"]
//	    cloud_providers: [AWS]
//	    bucket_names: ["acme-exports-*"]
//	  - operations: [createExportBucket]
//	    groups: ["*"]
//	    service_urls: ["https://acmestore.blob.core.windows.net/*"]
//
// Operations are named by operationId, where a name of v2 stands for its twin of v1.0 too
// and a name such as v1GetExportBucket for v1.0 alone, or by a set: read lists and gets
// export jobs and export buckets, export also creates jobs, manage is everything, and so
// is "*". Listing clusters and reading a backup schedule belong to manage alone: whoever
// deletes buckets needs them. So does an operation that the package does not know, and
// every list of a grant restricts it.
//
// The other lists hold patterns as in [path.Match]: * stands for any number of characters,
// ? for one, [a-f] for one of several, \ takes the meaning from the next; upper and lower
// case differ. No pattern matches an empty value or one with a slash. A list that is left
// out restricts nothing; groups and operations can't be left out. What a list restricts:
//
//	groups           every operation
//	clusters         those with a cluster in their path
//	export_buckets   creating a job, and getting, updating and deleting a bucket
//	cloud_providers  creating a bucket; its entries are AWS, AZURE and GCP
//	bucket_names     creating a bucket of AWS or GCP
//	service_urls     creating a bucket of AZURE
//
// A container of Azure has a name that is unique within its account alone, and is known by its
// URL, https://ACCOUNT.blob.core.windows.net/CONTAINER. Patterns of service_urls have this form,
// with a pattern for the account, whose case does not matter, and one for the container. Names
// of accounts are anybody's to take: acme* also stands for those of others. A grant with one of
// the last two lists allows nothing that only the other can name.
//
// What is read is not filtered: listing buckets or clusters shows all of the group, and an
// export job or a backup schedule shows the id of its bucket. So a grant with clusters
// lists the others too, with all that Atlas says of them, and reads no schedule but of its
// own.
package policy
