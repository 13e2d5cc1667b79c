package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
		Short: "Make a bucket of a cloud provider known to Atlas",
		Long: `Make a bucket of a cloud provider known to Atlas. The bucket and the role must be there; Atlas
tries whether it can write to it.

The create is sent once. If nobody can know whether it was carried out, the exit status is 10:
look for the bucket before you repeat the command, since Atlas takes the same one twice.`,
	})
	var aws client.AWSBucket
	ofAWS := a.bucketCommand("aws", "an S3 bucket", "--name acme-exports --role 65a9d2f4f20b4c7788990001", []string{"name", "role"},
		func() client.BucketRequest { return aws })
	ofAWS.Flags().StringVar(&aws.BucketName, "name", "", "`name` of the bucket")
	ofAWS.Flags().StringVar(&aws.IAMRoleID, "role", "", "`id`, of Atlas, of the IAM role that may write to it")
	ofAWS.Flags().BoolVar(&aws.RequirePrivateNetworking, "require-private-networking", false, "whether Atlas must reach it over private networking alone")

	var azure client.AzureBucket
	ofAzure := a.bucketCommand("azure", "a container of Azure Blob Storage",
		"--service-url https://acmebackups.blob.core.windows.net/exports --role 65a9d2f4f20b4c7788990002", []string{"service-url", "role"},
		func() client.BucketRequest { return azure })
	ofAzure.Flags().StringVar(&azure.ServiceURL, "service-url", "", "`url` of the container: https://ACCOUNT.blob.core.windows.net/CONTAINER")
	ofAzure.Flags().StringVar(&azure.RoleID, "role", "", "`id`, of Atlas, of the service principal that may write to it")
	ofAzure.Flags().StringVar(&azure.BucketName, "name", "", "`name` of the container; optional")

	var gcp client.GCPBucket
	ofGCP := a.bucketCommand("gcp", "a bucket of Google Cloud Storage", "--name acme-archive --role 65a9d2f4f20b4c7788990003", []string{"name", "role"},
		func() client.BucketRequest { return gcp })
	ofGCP.Flags().StringVar(&gcp.BucketName, "name", "", "`name` of the bucket")
	ofGCP.Flags().StringVar(&gcp.RoleID, "role", "", "`id`, of Atlas, of the service account that may write to it")

	c.AddCommand(ofAWS, ofAzure, ofGCP)
	return c
}

// bucketCommand is the command that creates a bucket of one cloud provider.
func (a *app) bucketCommand(provider, what, example string, required []string, request func() client.BucketRequest) *cobra.Command {
	c := &cobra.Command{
		Use:     provider,
		Short:   "Make " + what + " known to Atlas",
		Example: "  atlas-export buckets create " + provider + " " + example,
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := require(c, required...); err != nil {
				return err
			}
			s, err := a.connect(c)
			if err != nil {
				return err
			}
			defer s.CloseIdleConnections()
			bucket, err := s.CreateExportBucket(c.Context(), s.group, request())
			if err != nil {
				return a.shown(s, err)
			}
			return a.printBucket(s.format, bucket)
		},
	}
	c.Flags().Bool("dry-run", false, "check the request against the contract and print it; send nothing")
	return c
}

func (a *app) bucketsList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the buckets of the group",
		Example: "  atlas-export buckets list\n  atlas-export buckets list -o yaml",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.connect(c)
			if err != nil {
				return err
			}
			defer s.CloseIdleConnections()
			list := client.Page[client.ExportBucket]{Results: []client.ExportBucket{}}
			names, rows := []string{}, [][]string{{"ID", "PROVIDER", "NAME", "REGION", "PRIVATE", "ROLE"}}
			for b, err := range s.ListExportBuckets(c.Context(), s.group, wholePages) {
				if err != nil {
					return err
				}
				list.Results = append(list.Results, *b)
				names = append(names, "bucket/"+b.ID)
				rows = append(rows, []string{b.ID, string(b.CloudProvider), bucketName(b), b.Region, private(b), b.IAMRoleID + b.RoleID})
			}
			list.TotalCount = len(list.Results)
			if len(rows) == 1 && s.format == "table" {
				fmt.Fprintln(a.stderr, "there are no buckets")
				return nil
			}
			return a.print(s.format, list, names, rows)
		},
	}
}

func (a *app) bucketsGet() *cobra.Command {
	return &cobra.Command{
		Use:               "get BUCKET",
		Aliases:           []string{"describe"},
		Short:             "Show a bucket",
		Example:           "  atlas-export buckets get acme-exports",
		Args:              arguments("BUCKET"),
		ValidArgsFunction: a.complete(bucketNames),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect(c)
			if err != nil {
				return err
			}
			defer s.CloseIdleConnections()
			id, err := s.bucketID(c, args[0])
			if err != nil {
				return err
			}
			bucket, err := s.GetExportBucket(c.Context(), s.group, id)
			if err != nil {
				return err
			}
			return a.printBucket(s.format, bucket)
		},
	}
}

func (a *app) bucketsDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "delete BUCKET",
		Aliases: []string{"rm"},
		Short:   "Withdraw a bucket from Atlas; what it holds stays",
		Long: `Withdraw a bucket from Atlas. What it holds stays. The command asks before it does so; where
there is no terminal to ask on, it wants --yes.

Atlas answers nothing, so with -o json and -o yaml nothing is printed.`,
		Example:           "  atlas-export buckets delete acme-exports\n  atlas-export buckets delete acme-exports --yes -o name",
		Args:              arguments("BUCKET"),
		ValidArgsFunction: a.complete(bucketNames),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect(c)
			if err != nil {
				return err
			}
			defer s.CloseIdleConnections()
			id, err := s.bucketID(c, args[0])
			if err != nil {
				return err
			}
			if !yes && s.dry == nil {
				if err := a.confirmDelete(c, s, id); err != nil {
					return err
				}
			}
			if err := s.DeleteExportBucket(c.Context(), s.group, id); err != nil {
				return a.shown(s, err)
			}
			switch s.format {
			case "table":
				fmt.Fprintln(a.stdout, "bucket/"+id, "deleted")
			case "name":
				fmt.Fprintln(a.stdout, "bucket/"+id)
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	c.Flags().Bool("dry-run", false, "check the request against the contract and print it; send nothing")
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
		Short:   "Say whether Atlas must reach an S3 bucket over private networking alone",
		Example: "  atlas-export buckets set-private-networking acme-exports true",
		Args:    arguments("BUCKET", "true or false"),
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.complete(bucketNames)(c, args, word)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if args[1] != "true" && args[1] != "false" {
				return usageError(c, "%q is neither true nor false", args[1])
			}
			s, err := a.connect(c)
			if err != nil {
				return err
			}
			defer s.CloseIdleConnections()
			id, err := s.bucketID(c, args[0])
			if err != nil {
				return err
			}
			bucket, err := s.UpdateExportBucket(c.Context(), s.group, id, client.ExportBucketUpdate{RequirePrivateNetworking: args[1] == "true"})
			if err != nil {
				return a.shown(s, err)
			}
			return a.printBucket(s.format, bucket)
		},
	}
	c.Flags().Bool("dry-run", false, "check the request against the contract and print it; send nothing")
	return c
}

// bucketID returns the id of a bucket that is given by its id or by its name. 24 hexadecimal
// digits are an id.
func (s *session) bucketID(c *cobra.Command, bucket string) (string, error) {
	bucket = trimKind(bucket, "bucket")
	switch {
	case objectID(bucket):
		return bucket, nil
	case bucket == "": // which buckets for Azure may have for a name
		return "", usageError(c, "the bucket is empty: give its name or its id")
	case s.dry != nil:
		return "", &failure{exitUsage, fmt.Errorf("%q is not the id of a bucket: a dry run sends nothing, and can't look a name up", bucket), "find its id: " + again(c, "buckets list")}
	}
	var ids, found []string
	for b, err := range s.ListExportBuckets(c.Context(), s.group, wholePages) {
		if err != nil {
			return "", err
		}
		if b.BucketName == bucket {
			ids = append(ids, b.ID)
			found = append(found, fmt.Sprintf("%s (%s, role %s)", b.ID, b.CloudProvider, b.IAMRoleID+b.RoleID))
		}
	}
	switch len(ids) {
	case 0:
		return "", &failure{exitNotFound, fmt.Errorf("the group has no bucket of the name %q", bucket), "see what there is: " + again(c, "buckets list")}
	case 1:
		return ids[0], nil
	default:
		return "", &failure{exitUsage, fmt.Errorf("%d buckets have the name %q: %s", len(ids), bucket, strings.Join(found, "; ")), "give the id of the one that is meant"}
	}
}

func objectID(s string) bool {
	return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == ""
}

func bucketNames(ctx context.Context, s *session) (names []string, err error) {
	for b, err := range s.ListExportBuckets(ctx, s.group, wholePages) {
		if err != nil {
			return nil, err
		}
		names = append(names, b.ID+"\t"+bucketName(b))
	}
	return names, nil
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
	kept := rows[:0]
	for _, row := range rows {
		if row[1] != "" {
			kept = append(kept, row)
		}
	}
	return a.print(format, b, []string{"bucket/" + b.ID}, kept)
}

// bucketName is what a bucket is called; a container of Azure may have its URL alone.
func bucketName(b *client.ExportBucket) string {
	if b.BucketName == "" {
		return b.ServiceURL
	}
	return b.BucketName
}

// private says whether Atlas must reach a bucket over private networking; others than those
// of AWS don't have that.
func private(b *client.ExportBucket) string {
	if b.CloudProvider != client.AWS {
		return ""
	}
	return strconv.FormatBool(b.RequirePrivateNetworking)
}
