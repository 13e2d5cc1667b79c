package policy

import "slices"

// Grant is something that a caller may do, as it stands in the configuration. The package comment
// says what the lists mean.
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
	// BucketNames are patterns of names of buckets at AWS and Google Cloud. Default any, but none
	// if ServiceURLs is set.
	BucketNames []string `yaml:"bucket_names"`
	// ServiceURLs are patterns of the URLs of Azure containers,
	// https://ACCOUNT.blob.core.windows.net/CONTAINER. Default any, but none if BucketNames is set.
	ServiceURLs []string `yaml:"service_urls"`
}

// A part is a list of a grant, and the value of a request that the list restricts.
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

// complete empties the list that is left out where a grant has only one of BucketNames and
// ServiceURLs, so that the grant allows no bucket that only the other list could name.
func (g *Grant) complete() {
	switch {
	case g.BucketNames != nil && g.ServiceURLs == nil:
		g.ServiceURLs = []string{}
	case g.ServiceURLs != nil && g.BucketNames == nil:
		g.BucketNames = []string{}
	}
}
