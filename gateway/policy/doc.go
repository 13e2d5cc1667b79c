// Package policy decides which caller may do what. The gateway calls it for every request
// that is valid, before anything is forwarded, and for some answers before they are relayed.
//
// A caller has grants. A request is allowed if at least one grant allows all of it; parts of
// several grants don't add up. Without a grant everything is refused. In the configuration:
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
// Operations are named by operationId or by a set. An operationId of v2 also stands for the same
// operation of v1.0; one such as v1GetExportBucket stands only for v1.0. The set read lists and
// gets export jobs, export buckets, snapshots, groups and the roles of cloud provider access, and
// gets clusters. The set export also creates jobs and takes snapshots, and manage is everything,
// as is "*". Listing clusters and reading a backup schedule are only in manage, because whoever
// deletes buckets needs them, and so is changing a schedule. An operation that the package does
// not know is only in manage too, and every list of a grant restricts it.
//
// The other lists hold patterns as in [path.Match]: * stands for any number of characters,
// ? for one character, [a-f] for one of several, and \ makes the next character literal. Upper
// and lower case differ. No pattern matches an empty value or a value with a slash. A list that
// is left out restricts nothing; groups and operations can't be left out. What a list restricts:
//
//	groups           every operation
//	clusters         operations with a cluster in their path
//	export_buckets   creating a job, getting, updating and deleting a bucket, changing a schedule
//	cloud_providers  creating a bucket; its entries are AWS, AZURE and GCP
//	bucket_names     creating a bucket of AWS or GCP
//	service_urls     creating a bucket of AZURE
//
// Listing groups shows every group, so only a grant whose groups have "*" allows it. Whose name
// getGroupByName asks for, only Atlas's answer tells. The gateway asks Atlas for whoever is
// granted the operation, and then compares the id in the answer with the groups of the grants. A
// caller without "*" gets the same refusal for a group that no grant names and for a name that no
// group has.
//
// Where a grant has export_buckets, a change of a schedule names the bucket to export to. Only a
// change that does nothing but turn automatic exports off may leave it out.
//
// The name of an Azure container is unique only within its account, so a container is named by its
// URL, https://ACCOUNT.blob.core.windows.net/CONTAINER. Patterns of service_urls have this form,
// with a pattern for the account, whose case does not matter, and one for the container. Anybody
// can take a free account name: acme* also matches accounts of others. If a grant has only one of
// the last two lists, it allows no bucket that only the other list could name.
//
// Responses are not filtered: listing buckets, clusters or roles shows all of the group, and an
// export job or a backup schedule shows the id of its bucket. So a caller whose grant has
// clusters can still list the other clusters, if it may list clusters at all, with all that Atlas
// says of them, but reads the schedules of its own clusters only. The roles of a group have no
// cluster, so clusters doesn't keep a caller from them: they show accounts at cloud providers, and
// which buckets use them. Name operations by operationId where a caller shall not read them.
package policy
