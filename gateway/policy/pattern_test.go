package policy_test

import (
	"testing"

	"atlas-export-gateway/gateway/policy"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"acme-*", "acme-exports", true},
		{"acme-*", "acme-", true},
		{"acme-*", "acme", false},
		{"acme-*", "xacme-exports", false},
		{"acme-*", "ACME-exports", false},
		{"acme-*", "acme-a/secret", false},
		{"*", "acme", true},
		{"*", "", false},
		{"*", "a/b", false},
		{"acme[^x]exports", "acme-exports", true},
		{"acme[^x]exports", "acme/exports", false},
		{"acme[+-0]exports", "acme/exports", false},
		{"acme?exports", "acme/exports", false},
		{"acme?exports", "acme.exports", true},
		{"*-prod", "orders-prod", true},
		{"*-prod", "orders-prod-2", false},
		{"a.me", "acme", false},
		{`acme\*`, "acme*", true},
		{`acme\*`, "acme-", false},
		{"[acme]", "[acme]", false},
		{"exports", "exports\n", false},
	} {
		p := compile(t, policy.Grant{Operations: []string{"*"}, Groups: []string{"64*"}, BucketNames: []string{"never", test.pattern}})
		request := policy.Request{Operation: "createExportBucket", Group: group, BucketName: test.name}
		if err := p.Allow(request); (err == nil) != test.want {
			t.Errorf("%q on %q: %v", test.pattern, test.name, err)
		}
	}
}

func TestServiceURLs(t *testing.T) {
	for _, test := range []struct {
		pattern, url string
		want         bool
	}{
		{acmestore + "snapshots", acmestore + "snapshots", true},
		{acmestore + "snapshots", "https://ACMEstore.Blob.core.windows.net/snapshots", true},
		{"https://AcmeStore.blob.core.windows.net/snapshots", acmestore + "snapshots", true},
		{acmestore + "snapshots", acmestore + "Snapshots", false},
		{acmestore + "snapshots", acmestore + "snapshots-2", false},
		{acmestore + "snapshots", "https://xacmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", acmestore + "$root", true},
		{acmestore + "*", acmestore, false},
		{acmestore + "*", acmestore + "a/b", false},
		{acmestore + "[^x]*", acmestore + "a/b", false},
		{acmestore + "*", "https://other.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "http://acmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "https://acmestore.blob.core.windows.net.example.com/snapshots", false},
		{acmestore + "*", "acmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "acmestore/snapshots", false},
		{acmestore + "*", "snapshots", false},
		{acmestore + "*", "", false},
		{"https://acme*.blob.core.windows.net/s?", "https://acmeprod.blob.core.windows.net/s1", true},
		{"https://acme*.blob.core.windows.net/s?", "https://prodacme.blob.core.windows.net/s1", false},
		{"https://acme*.blob.core.windows.net/*", "https://acme@example.com?.blob.core.windows.net/x", false},
		{"https://acme*.blob.core.windows.net/*", "https://acme%2f.blob.core.windows.net/x", false},
		{"https://*.blob.core.windows.net/*", "https://example.com/x.blob.core.windows.net/s1", false},
		{"https://acme[^x]*.blob.core.windows.net/*", "https://acme/x.blob.core.windows.net/s1", false},
	} {
		p := compile(t, policy.Grant{Operations: []string{"*"}, Groups: []string{"*"}, ServiceURLs: []string{"https://never.blob.core.windows.net/never", test.pattern}})
		request := policy.Request{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", ServiceURL: test.url}
		wantRefused(t, p, request, !test.want, "service_urls")
	}
}
