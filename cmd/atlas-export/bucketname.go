package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/objectid"

	"github.com/spf13/cobra"
)

// mostNamed is how many of the buckets that have one name an error lists.
const mostNamed = 20

// bucketID returns the id of a bucket that is given by its id or its name. 24 hexadecimal
// digits are an id.
func (s *session) bucketID(c *cobra.Command, bucket string) (string, error) {
	bucket = trimKind(bucket, "bucket")
	switch {
	case objectid.Valid(bucket):
		return bucket, nil
	case bucket == "": // may be the name of a bucket for Azure
		return "", usageError(c, "the bucket is empty: give its name or its id")
	case objectid.Valid(strings.ToLower(bucket)):
		return "", usageError(c, "the id of the bucket, %q, %w", bucket, objectid.Check(bucket))
	case s.dry != nil:
		return "", &failure{exitUsage, fmt.Errorf("%q is not the id of a bucket: a dry run sends nothing, and can't look up a name", bucket), "find its id: " + commandLine(c, "buckets list")}
	}
	found, n, err := s.bucketsWhere(c, func(b *client.ExportBucket) bool { return b.BucketName == bucket || b.ServiceURL == bucket })
	switch {
	case errors.Is(err, errCut):
		return "", &failure{exitUsage, fmt.Errorf("the group has more than %d buckets, too many to look for the name %q", maxListed, bucket), "give the id of the one that is meant"}
	case err != nil:
		return "", err
	case n == 0:
		return "", &failure{exitNotFound, fmt.Errorf("the group has no bucket with the name %q", bucket), "list what exists: " + commandLine(c, "buckets list")}
	case n == 1:
		return found[0].ID, nil
	}
	err = &listed{fmt.Errorf("%d buckets have the name %q", n, bucket), describeBuckets(found, n)}
	return "", &failure{exitAmbiguous, err, "give the id of the one that is meant"}
}

// bucketsWhere returns the first buckets of the group that are as asked for, and how many are. The
// error is errCut if the group has too many to look at.
func (s *session) bucketsWhere(c *cobra.Command, is func(*client.ExportBucket) bool) (found []*client.ExportBucket, n int, err error) {
	for b, err := range atMost(maxListed, s.ListExportBuckets(c.Context(), s.group, largestPages)) {
		if err != nil {
			return nil, 0, err
		}
		if is(b) {
			if n++; n <= mostNamed {
				found = append(found, b)
			}
		}
	}
	return found, n, nil
}

// describeBuckets returns a line for each bucket, with what tells it from others of its name.
func describeBuckets(found []*client.ExportBucket, n int) []string {
	var lines []string
	for _, b := range found {
		line := fmt.Sprintf("%s: %s, role %s", b.ID, b.CloudProvider, b.IAMRoleID+b.RoleID)
		if b.Region != "" {
			line += ", region " + b.Region
		}
		if private(b) == "true" {
			line += ", only over private networking"
		}
		if b.ServiceURL != "" {
			line += ", " + b.ServiceURL
		}
		if at := registered(b.ID); !at.IsZero() {
			line += ", registered at " + formatTime(at)
		}
		lines = append(lines, line)
	}
	if n > len(found) {
		lines = append(lines, fmt.Sprintf("and %d others", n-len(found)))
	}
	return lines
}

// registered returns when an id was made. The first four bytes of an id of MongoDB are the seconds
// since 1970.
func registered(id string) time.Time {
	seconds, err := hex.DecodeString(id[:min(len(id), 8)])
	if err != nil || len(seconds) < 4 {
		return time.Time{}
	}
	return time.Unix(int64(seconds[0])<<24|int64(seconds[1])<<16|int64(seconds[2])<<8|int64(seconds[3]), 0)
}

// nameTime bounds how long the program waits for the name of a bucket that it only shows.
const nameTime = 3 * time.Second

// bucketLabel returns the id of a bucket, with its name if that can be read.
func (s *session) bucketLabel(ctx context.Context, id string) string {
	b := s.bucket(ctx, id)
	if b == nil || bucketName(b) == "" {
		return id
	}
	return id + " (" + bucketName(b) + ")"
}

// bucket returns a bucket for its name to be shown, or nil if it can't be read. It asks once for
// each bucket.
func (s *session) bucket(ctx context.Context, id string) *client.ExportBucket {
	b, asked := s.seen[id]
	if asked || id == "" {
		return b
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	if found, err := s.GetExportBucket(ctx, s.group, id); err == nil {
		b = found
	}
	if s.seen == nil {
		s.seen = map[string]*client.ExportBucket{}
	}
	s.seen[id] = b
	return b
}

// presence says what create does if a bucket of the same name is registered already.
type presence struct{ ifNotExists, duplicate bool }

func (p *presence) define(c *cobra.Command) {
	c.Flags().BoolVar(&p.ifNotExists, "if-not-exists", false, "if the same bucket is registered already, print it and create none")
	c.Flags().BoolVar(&p.duplicate, "duplicate", false, "create the bucket also if one of its name is registered already")
}

func (p presence) check(c *cobra.Command) error {
	if p.ifNotExists && p.duplicate {
		return usageError(c, "--if-not-exists and --duplicate exclude each other")
	}
	return nil
}

// existing looks for a bucket of the same provider and name. It returns one that is the same in
// all, if that is enough, or else nil. The error says that another one is in the way.
func (a *app) existing(c *cobra.Command, s *session, r client.BucketRequest, p presence) (*client.ExportBucket, error) {
	if s.dry != nil || p.duplicate {
		return nil, nil
	}
	named, n, err := s.bucketsWhere(c, func(b *client.ExportBucket) bool { return sameName(r, b) })
	switch {
	case errors.Is(err, client.ErrInvalid):
		return nil, nil // creating it returns the error
	case !p.ifNotExists && (errors.Is(err, client.ErrForbidden) || errors.Is(err, errCut)):
		fmt.Fprintln(a.stderr, "atlas-export: nobody knows whether a bucket of this name exists, since the buckets can't be listed")
		return nil, nil
	case errors.Is(err, errCut): // of --if-not-exists
		return nil, &failure{exitFailed, fmt.Errorf("the group has more than %d buckets, too many to look for one", maxListed), ""}
	case err != nil:
		return nil, fmt.Errorf("nothing was created, since it is not known whether the bucket exists: %w", err)
	case n == 0:
		return nil, nil
	}
	for _, b := range named {
		if p.ifNotExists && sameBucket(r, b) {
			fmt.Fprintln(a.stderr, "the bucket is registered already; nothing was created")
			return b, nil
		}
	}
	text, hint := "a bucket of this name exists", "--if-not-exists accepts one that is the same, and --duplicate creates another"
	if p.ifNotExists {
		text, hint = "a bucket of this name exists, and is not the same", "--duplicate creates another"
	}
	return nil, &failure{exitConflict, &listed{errors.New(text), describeBuckets(named, n)}, hint}
}

// sameName reports whether a bucket has the name of the one to create, at the same provider. The
// name of an Azure container is unique only within its account, which the URL tells.
func sameName(r client.BucketRequest, b *client.ExportBucket) bool {
	switch r := r.(type) {
	case client.AWSBucket:
		return b.CloudProvider == client.AWS && b.BucketName == r.BucketName
	case client.AzureBucket:
		return b.CloudProvider == client.Azure && b.ServiceURL == r.ServiceURL
	case client.GCPBucket:
		return b.CloudProvider == client.GCP && b.BucketName == r.BucketName
	}
	return false
}

// sameBucket reports whether a bucket that has the name is the same in all else that r asks for.
func sameBucket(r client.BucketRequest, b *client.ExportBucket) bool {
	switch r := r.(type) {
	case client.AWSBucket:
		return b.IAMRoleID == r.IAMRoleID && (private(b) == "true") == r.RequirePrivateNetworking
	case client.AzureBucket:
		return b.RoleID == r.RoleID
	case client.GCPBucket:
		return b.RoleID == r.RoleID
	}
	return false
}
