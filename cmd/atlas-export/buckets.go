package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) bucketsCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "buckets",
		Aliases: []string{"bucket"},
		Short:   "Create, list, change and delete the buckets that exports go to",
	})
	c.AddCommand(a.bucketsCreate(), a.bucketsList(), a.bucketsGet(), a.bucketsDelete(), a.bucketsSetPrivateNetworking())
	return c
}

func (a *app) bucketsCreate() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "create",
		Short: "Register a bucket of a cloud provider with Atlas",
		Long: `Register a bucket of a cloud provider with Atlas. The bucket and the role must exist; Atlas
checks whether it can write to the bucket.

Atlas registers the same bucket twice. The command therefore looks first whether the group has a
bucket of the name: it then creates none, and the exit status is 7. With --if-not-exists it prints
that bucket instead, if it is the same in all that the command line says.

The create is sent once. If nobody can know whether it was carried out, the exit status is 10:
look for the bucket before you repeat the command, or repeat it with --if-not-exists.

A gateway that keeps the keys of creates (the setting keeps_keys) registers nothing twice: the create
is then repeated until it is known what became of it, for as long as create_timeout says. The bucket
of the name is looked for first all the same. With --duplicate --idempotency-key KEY another is
registered once, also if the command is repeated.`,
	})
	var aws client.AWSBucket
	ofAWS := a.bucketCommand("aws", "an S3 bucket", "--name acme-exports --role 65a9d2f4f20b4c7788990001", []string{"name", "role"},
		func() client.BucketRequest { return aws })
	ofAWS.Flags().StringVar(&aws.BucketName, "name", "", "`name` of the bucket")
	ofAWS.Flags().StringVar(&aws.IAMRoleID, "role", "", "`id` in Atlas of the IAM role that may write to it")
	ofAWS.Flags().BoolVar(&aws.RequirePrivateNetworking, "require-private-networking", false, "whether Atlas must reach it only over private networking")

	var azure client.AzureBucket
	ofAzure := a.bucketCommand("azure", "a container of Azure Blob Storage",
		"--service-url https://acmebackups.blob.core.windows.net/exports --role 65a9d2f4f20b4c7788990002", []string{"service-url", "role"},
		func() client.BucketRequest { return azure })
	ofAzure.Flags().StringVar(&azure.ServiceURL, "service-url", "", "`url` of the container: https://ACCOUNT.blob.core.windows.net/CONTAINER")
	ofAzure.Flags().StringVar(&azure.RoleID, "role", "", "`id` in Atlas of the service principal that may write to it")
	ofAzure.Flags().StringVar(&azure.BucketName, "name", "", "`name` of the container; optional")

	var gcp client.GCPBucket
	ofGCP := a.bucketCommand("gcp", "a bucket of Google Cloud Storage", "--name acme-archive --role 65a9d2f4f20b4c7788990003", []string{"name", "role"},
		func() client.BucketRequest { return gcp })
	ofGCP.Flags().StringVar(&gcp.BucketName, "name", "", "`name` of the bucket")
	ofGCP.Flags().StringVar(&gcp.RoleID, "role", "", "`id` in Atlas of the service account that may write to it")

	for provider, command := range map[client.CloudProvider]*cobra.Command{client.AWS: ofAWS, client.Azure: ofAzure, client.GCP: ofGCP} {
		must(command.RegisterFlagCompletionFunc("role", a.completeRoles(provider)))
	}

	c.AddCommand(ofAWS, ofAzure, ofGCP)
	return c
}

// bucketCommand is the command that creates a bucket of one cloud provider.
func (a *app) bucketCommand(provider, what, example string, required []string, request func() client.BucketRequest) *cobra.Command {
	var present presence
	c := &cobra.Command{
		Use:     provider,
		Short:   "Register " + what + " with Atlas",
		Example: "  atlas-export buckets create " + provider + " " + example,
		Args:    arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error { return cmp.Or(require(c, required...), present.check(c)) },
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			bucket, err := a.existing(c, s, request(), present)
			if err == nil && bucket == nil {
				a.reportRepeats(s, false)
				ctx, cancel := s.creating(c.Context())
				defer cancel()
				bucket, err = s.CreateExportBucket(ctx, s.group, withKey(request(), s.key))
			}
			if err != nil {
				return a.dryRunOr(s, err)
			}
			if bucket.Replayed {
				fmt.Fprintln(a.stderr, "the bucket was registered before, with the same key; nothing was created")
			}
			return a.printBucket(s.format, bucket)
		}),
	}
	c.Flags().Bool("dry-run", false, dryRunUsage)
	present.define(c)
	defineKey(c, "bucket")
	return c
}

// withKey returns a request with a key of its own.
func withKey(r client.BucketRequest, key string) client.BucketRequest {
	switch r := r.(type) {
	case client.AWSBucket:
		r.IdempotencyKey = key
		return r
	case client.AzureBucket:
		r.IdempotencyKey = key
		return r
	case client.GCPBucket:
		r.IdempotencyKey = key
		return r
	}
	return r
}

func (a *app) bucketsList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the buckets of the group",
		Long:    "List the buckets of the group. " + aboutLists,
		Example: "  atlas-export buckets list\n  atlas-export buckets list -o yaml",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			return printList(a, c, s.format, list[client.ExportBucket]{
				items:  s.ListExportBuckets(c.Context(), s.group, largestPages),
				plural: "buckets",
				none:   "there are no buckets",
				header: []string{"ID", "PROVIDER", "NAME", "REGION", "PRIVATE", "ROLE"},
				name:   func(b *client.ExportBucket) string { return "bucket/" + b.ID },
				row: func(b *client.ExportBucket) []string {
					return []string{b.ID, string(b.CloudProvider), bucketName(b), b.Region, private(b), b.IAMRoleID + b.RoleID}
				},
			}, all)
		}),
	}
	defineAll(c, &all)
	return c
}

func (a *app) bucketsGet() *cobra.Command {
	return &cobra.Command{
		Use:               "get BUCKET",
		Aliases:           []string{"describe"},
		Short:             "Show a bucket",
		Example:           "  atlas-export buckets get acme-exports",
		Args:              arguments("BUCKET"),
		ValidArgsFunction: first(a.completeBuckets()),
		RunE: a.withBucket(func(c *cobra.Command, s *session, id string, _ []string) error {
			bucket, err := s.GetExportBucket(c.Context(), s.group, id)
			if err != nil {
				return err
			}
			return a.printBucket(s.format, bucket)
		}),
	}
}

func (a *app) bucketsDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "delete BUCKET",
		Aliases: []string{"rm"},
		Short:   "Remove a bucket from Atlas; its content stays",
		Long: `Remove a bucket from Atlas. Its content stays. The command asks for a confirmation; without a
terminal to ask on, it requires --yes. A bucket that is in use is not deleted; the error names the
exports under way and the clusters whose backup schedule exports to it.

The answer of Atlas is empty, so that -o json and -o yaml print nothing.`,
		Example:           "  atlas-export buckets delete acme-exports\n  atlas-export buckets delete acme-exports --yes -o name",
		Args:              arguments("BUCKET"),
		ValidArgsFunction: first(a.completeBuckets()),
		RunE: a.withBucket(func(c *cobra.Command, s *session, id string, _ []string) error {
			if !yes && s.dry == nil {
				if err := a.confirmDelete(c, s, id); err != nil {
					return err
				}
			}
			if err := s.DeleteExportBucket(c.Context(), s.group, id); err != nil {
				return a.dryRunOr(s, s.inUse(c.Context(), id, err))
			}
			switch s.format {
			case "table":
				fmt.Fprintln(a.stdout, "bucket/"+id, "deleted")
			case "name":
				fmt.Fprintln(a.stdout, "bucket/"+id)
			}
			return nil
		}),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	c.Flags().Bool("dry-run", false, dryRunUsage)
	return c
}

func (a *app) confirmDelete(c *cobra.Command, s *session, id string) error {
	if terminal(a.stdin) == nil {
		return usageError(c, "not deleted: there is no terminal to ask on, and --yes was not given")
	}
	bucket, err := s.GetExportBucket(c.Context(), s.group, id)
	if err != nil {
		return err
	}
	yes, err := a.confirm(c.Context(), fmt.Sprintf("Delete %s bucket %s (%s) of group %s?", bucket.CloudProvider, bucketName(bucket), id, s.group))
	if err == nil && !yes {
		err = errors.New("not deleted")
	}
	return err
}

func (a *app) bucketsSetPrivateNetworking() *cobra.Command {
	c := &cobra.Command{
		Use:     "set-private-networking BUCKET true|false",
		Short:   "Set whether Atlas must reach an S3 bucket only over private networking",
		Example: "  atlas-export buckets set-private-networking acme-exports true",
		Args:    arguments("BUCKET", "true or false"),
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp
			}
			return first(a.completeBuckets())(c, args, word)
		},
		PreRunE: func(c *cobra.Command, args []string) error {
			if args[1] != "true" && args[1] != "false" {
				return usageError(c, "%q is neither true nor false", args[1])
			}
			return nil
		},
		RunE: a.withBucket(func(c *cobra.Command, s *session, id string, args []string) error {
			bucket, err := s.UpdateExportBucket(c.Context(), s.group, id, client.ExportBucketUpdate{RequirePrivateNetworking: args[1] == "true"})
			if err != nil {
				return a.dryRunOr(s, err)
			}
			return a.printBucket(s.format, bucket)
		}),
	}
	c.Flags().Bool("dry-run", false, dryRunUsage)
	return c
}

// withBucket is withSession for a command whose first argument is a bucket. It passes the id
// of the bucket on.
func (a *app) withBucket(run func(c *cobra.Command, s *session, id string, args []string) error) func(*cobra.Command, []string) error {
	return a.withSession(func(c *cobra.Command, s *session, args []string) error {
		id, err := s.bucketID(c, args[0])
		if err != nil {
			return err
		}
		return run(c, s, id, args)
	})
}

func (a *app) printBucket(format string, b *client.ExportBucket) error {
	rows := [][]string{
		{"ID", b.ID},
		{"PROVIDER", string(b.CloudProvider)},
		{"NAME", b.BucketName},
		{"SERVICE URL", b.ServiceURL},
		{"REGION", b.Region},
		{"PRIVATE", private(b)},
		{"ROLE", b.IAMRoleID + b.RoleID},
		{"TENANT", b.TenantID},
	}
	return a.print(format, b, []string{"bucket/" + b.ID}, filled(rows))
}

// bucketName is the name of a bucket, or the URL of an Azure container that has no name.
func bucketName(b *client.ExportBucket) string {
	if b.BucketName == "" {
		return b.ServiceURL
	}
	return b.BucketName
}

// private says whether Atlas must reach a bucket only over private networking. It is empty
// where Atlas does not say it: in v1.0, and for providers other than AWS.
func private(b *client.ExportBucket) string {
	if b.RequirePrivateNetworking == nil {
		return ""
	}
	return strconv.FormatBool(*b.RequirePrivateNetworking)
}
