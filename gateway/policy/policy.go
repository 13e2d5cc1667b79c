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

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"atlas-export-gateway/internal/nearest"
)

// Grant is something that a caller may do, as the configuration writes it; the package
// comment says what the lists mean.
type Grant struct {
	// Operations are operationIds, or the sets read, export and manage, or "*". Required.
	Operations []string `yaml:"operations"`
	// Groups are patterns of group ids; "*" is any. Required.
	Groups []string `yaml:"groups"`
	// Clusters are patterns of cluster names. Default any.
	Clusters []string `yaml:"clusters"`
	// ExportBuckets are patterns of export bucket ids. Default any.
	ExportBuckets []string `yaml:"export_buckets"`
	// CloudProviders are AWS, AZURE and GCP. Default any.
	CloudProviders []string `yaml:"cloud_providers"`
	// BucketNames are patterns of names of buckets at AWS and Google Cloud. Default any or, with
	// ServiceURLs, none.
	BucketNames []string `yaml:"bucket_names"`
	// ServiceURLs are patterns of the URLs of Azure's containers,
	// https://ACCOUNT.blob.core.windows.net/CONTAINER. Default any or, with BucketNames, none.
	ServiceURLs []string `yaml:"service_urls"`
}

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

// part is a list of a grant and what it restricts in a request.
type part int

const (
	operations part = iota
	groups
	clusters
	exportBuckets
	cloudProviders
	bucketNames
	serviceURLs
)

// keys are the parts' names in the configuration.
var keys = [...]string{"operations", "groups", "clusters", "export_buckets", "cloud_providers", "bucket_names", "service_urls"}

func (g *Grant) list(p part) []string {
	switch p {
	case operations:
		return g.Operations
	case groups:
		return g.Groups
	case clusters:
		return g.Clusters
	case exportBuckets:
		return g.ExportBuckets
	case cloudProviders:
		return g.CloudProviders
	case bucketNames:
		return g.BucketNames
	default:
		return g.ServiceURLs
	}
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

// The sets of operations, and the name of all operations.
const (
	read   = "read"
	export = "export"
	manage = "manage"
	all    = "*"
)

var providers = []string{"AWS", "AZURE", "GCP"}

// operation is what the policy knows of an operation and its twin of v1.0.
type operation struct {
	set   string // the least set that it belongs to
	parts []part // what restricts it, apart from operations
}

var known = map[string]operation{
	"listBackupExports":        {read, []part{groups, clusters}},
	"getBackupExport":          {read, []part{groups, clusters}},
	"createBackupExport":       {export, []part{groups, clusters, exportBuckets}},
	"listExportBuckets":        {read, []part{groups}},
	"getExportBucket":          {read, []part{groups, exportBuckets}},
	"createExportBucket":       {manage, []part{groups, cloudProviders, bucketNames, serviceURLs}},
	"updateBackupExportBucket": {manage, []part{groups, exportBuckets}},
	"deleteExportBucket":       {manage, []part{groups, exportBuckets}},
	"listClusters":             {manage, []part{groups}},
	"getBackupSchedule":        {manage, []part{groups, clusters}},
}

func describe(id string) operation {
	if o, ok := known[twin(id)]; ok {
		return o
	}
	return operation{manage, []part{groups, clusters, exportBuckets, cloudProviders, bucketNames, serviceURLs}}
}

// twin returns the name in v2 of an operation of either generation.
func twin(id string) string {
	if name, ok := strings.CutPrefix(id, "v1"); ok && name != "" && 'A' <= name[0] && name[0] <= 'Z' {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return id
}

// covers reports whether a name in a grant stands for an operation.
func covers(name, id string) bool {
	switch set := describe(id).set; name {
	case all, manage:
		return true
	case export:
		return set == read || set == export
	case read:
		return set == read
	}
	return name == id || name == twin(id)
}

// firstMatch returns the first pattern that a value matches.
func (p part) firstMatch(patterns []string, value string) (string, bool) {
	for _, pattern := range patterns {
		if p == serviceURLs && matchesURL(pattern, value) || p != serviceURLs && matches(pattern, value) {
			return pattern, true
		}
	}
	return "", false
}

// matches is path.Match, in which a class such as [^a] matches a slash; here nothing does.
func matches(pattern, value string) bool {
	ok, _ := path.Match(pattern, value)
	return ok && value != "" && !strings.Contains(value, "/")
}

func matchesURL(pattern, value string) bool {
	accounts, names, _ := container(pattern)
	account, name, ok := container(value)
	return ok && !strings.ContainsFunc(account, noAccount) && matches(accounts, account) && matches(names, name)
}

// noAccount reports what no name of an account has, whatever an URL may hold there.
func noAccount(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }

// container splits https://ACCOUNT.blob.core.windows.net/CONTAINER, or a pattern of that form,
// and returns the account in lower case.
func container(url string) (account, name string, ok bool) {
	location, https := strings.CutPrefix(url, "https://")
	host, name, _ := strings.Cut(location, "/")
	account, azure := strings.CutSuffix(strings.ToLower(host), ".blob.core.windows.net")
	return account, name, https && azure && account != "" && name != ""
}

// Policy is what one caller may do. It is immutable and safe for concurrent use. A nil
// Policy allows nothing.
type Policy struct {
	caller string
	grants []Grant
	rules  map[string]rule // by operationId
}

// rule is what concerns one operation.
type rule struct {
	parts  []part
	grants []*Grant // those that name the operation
}

// refusedBy returns the first part of a grant that does not allow the request.
func (r *rule) refusedBy(g *Grant, request *Request) (p part, refused bool) {
	for _, p := range r.parts {
		if list := g.list(p); list != nil && request.concerns(p) {
			if _, ok := p.firstMatch(list, request.value(p)); !ok {
				return p, true
			}
		}
	}
	return 0, false
}

// Compile prepares the grants of the caller of that name. At is where the grants stand in
// the configuration, such as callers.list[2].grants, and operationIDs are all operations of
// the contract. Each mistake is handed to refuse with its path; after one, the Policy is
// nil.
func Compile(caller, at string, grants []Grant, operationIDs []string, refuse func(path, format string, args ...any)) *Policy {
	p := &Policy{caller: caller, rules: map[string]rule{}}
	refused := false
	for i, g := range grants {
		p.grants = append(p.grants, g.clone())
		p.grants[i].check(fmt.Sprintf("%s[%d]", at, i), operationIDs, func(path, format string, args ...any) {
			refused = true
			refuse(path, format, args...)
		})
	}
	if refused {
		return nil
	}
	for i := range p.grants {
		p.grants[i].complete()
	}
	for _, id := range operationIDs {
		r := rule{parts: describe(id).parts}
		for i := range p.grants {
			if g := &p.grants[i]; g.covers(id) {
				r.grants = append(r.grants, g)
			}
		}
		p.rules[id] = r
	}
	return p
}

func (g *Grant) clone() Grant {
	return Grant{
		Operations:     slices.Clone(g.Operations),
		Groups:         slices.Clone(g.Groups),
		Clusters:       slices.Clone(g.Clusters),
		ExportBuckets:  slices.Clone(g.ExportBuckets),
		CloudProviders: slices.Clone(g.CloudProviders),
		BucketNames:    slices.Clone(g.BucketNames),
		ServiceURLs:    slices.Clone(g.ServiceURLs),
	}
}

// complete makes a grant that says which buckets may be created allow none that only the list
// which it leaves out could name.
func (g *Grant) complete() {
	switch {
	case g.BucketNames != nil && g.ServiceURLs == nil:
		g.ServiceURLs = []string{}
	case g.ServiceURLs != nil && g.BucketNames == nil:
		g.BucketNames = []string{}
	}
}

func (g *Grant) covers(id string) bool {
	return slices.ContainsFunc(g.Operations, func(name string) bool { return covers(name, id) })
}

// check hands what can't be meant to refuse.
func (g *Grant) check(at string, operationIDs []string, refuse func(path, format string, args ...any)) {
	restricted := map[part]bool{operations: true} // the parts that matter to the operations
	for _, id := range operationIDs {
		if g.covers(id) {
			for _, p := range describe(id).parts {
				restricted[p] = true
			}
		}
	}
	unknown := false
	for i, name := range g.Operations {
		names := append([]string{read, export, manage, all}, operationIDs...)
		if !slices.Contains(names, name) {
			unknown = true
			refuse(fmt.Sprintf("%s.operations[%d]", at, i), "%q is not an operationId, read, export, manage or *%s", name, nearest.Hint(name, names))
		}
	}
	for p, key := range keys {
		list := g.list(part(p))
		switch {
		case len(list) == 0 && part(p) <= groups:
			refuse(at+"."+key, `is required; write ["*"] to allow all`)
		case len(list) == 0 && list != nil:
			refuse(at+"."+key, "is empty, which allows none; leave it out to allow any")
		case len(list) > 0 && !restricted[part(p)] && !unknown && len(g.Operations) > 0 && !slices.Contains(list, all):
			refuse(at+"."+key, "restricts none of the operations that the grant names")
		}
		if part(p) == operations {
			continue
		}
		for i, pattern := range list {
			if problem := part(p).problem(pattern); problem != "" {
				refuse(fmt.Sprintf("%s.%s[%d]", at, key, i), "%q %s", pattern, problem)
			}
		}
	}
}

// CheckGroups refuses a pattern that can match no group's id.
func CheckGroups(pattern string) error {
	if problem := groups.problem(pattern); problem != "" {
		return fmt.Errorf("%q %s", pattern, problem)
	}
	return nil
}

// problem says what is wrong with a pattern, and nothing where it is good.
func (p part) problem(pattern string) string {
	if p != serviceURLs {
		return p.problemOf(pattern)
	}
	account, name, ok := container(pattern)
	if !ok {
		return "is not https://ACCOUNT.blob.core.windows.net/CONTAINER, with a pattern for the account and one for the container"
	}
	return cmp.Or(p.problemOf(account), p.problemOf(name))
}

func (p part) problemOf(pattern string) string {
	_, err := path.Match(pattern, "")
	switch {
	case pattern == "":
		return "is not a pattern"
	case err != nil:
		return "is not a pattern; a class such as [a-f] ends in ], and \\ stands before a character"
	case strings.Contains(pattern, "[!"):
		return "begins a class with !, which stands for itself; write [^a-f] for all but some"
	case strings.Contains(pattern, "/"):
		return "holds a slash, and would match nothing"
	case p == cloudProviders && pattern != all && !slices.Contains(providers, pattern):
		return "is not AWS, AZURE or GCP" + nearest.Hint(pattern, providers)
	case (p == groups || p == exportBuckets) && !strings.ContainsAny(pattern, `*?[\`) && !isID(pattern):
		return "is not an id, 24 hexadecimal digits in lower case, and would match nothing"
	}
	return ""
}

func isID(s string) bool {
	return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == ""
}

// Allow decides about a request; the error is a *Refusal.
func (p *Policy) Allow(request Request) error {
	if p == nil {
		return &Refusal{Request: request, Part: keys[operations]}
	}
	r := p.rules[request.Operation]
	for _, g := range r.grants {
		if _, refused := r.refusedBy(g, &request); !refused {
			return nil
		}
	}
	return p.refusal(request, &r)
}

// refusal names the part at which the grants that come closest fail, and what they allow
// there.
func (p *Policy) refusal(request Request, r *rule) *Refusal {
	closest := operations
	for _, g := range r.grants {
		at, _ := r.refusedBy(g, &request)
		closest = max(closest, at)
	}
	var allowed []string
	add := func(g *Grant) {
		for _, entry := range g.list(closest) {
			if !slices.Contains(allowed, entry) {
				allowed = append(allowed, entry)
			}
		}
	}
	if closest == operations {
		for i := range p.grants {
			add(&p.grants[i])
		}
	}
	for _, g := range r.grants {
		if at, _ := r.refusedBy(g, &request); at == closest {
			add(g)
		}
	}
	return &Refusal{Caller: p.caller, Request: request, Part: keys[closest], Allowed: allowed}
}
