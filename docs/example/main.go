// Command example exports one snapshot and waits until it is exported, from a module outside
// of the gateway's. The base URL and the credential come from the environment, by the names
// that the Atlas CLI and Terraform have; see client.FromEnviron.
//
//	example GROUP CLUSTER SNAPSHOT EXPORT-BUCKET
//
// Exit status: 0 when the export succeeded, 1 when it did not, 2 for a wrong command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"atlas-export-gateway/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) != 4 {
		fmt.Fprintln(stderr, "usage: example GROUP CLUSTER SNAPSHOT EXPORT-BUCKET")
		return 2
	}
	config, err := client.FromEnviron(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	c, err := client.New(config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	defer c.CloseIdleConnections()
	if err := export(ctx, c, args[0], args[1], args[2], args[3], stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// export starts an export, or finds the one that was started, and waits for its end.
func export(ctx context.Context, c *client.Client, group, cluster, snapshot, bucket string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Hour)
	defer cancel()
	job, err := c.CreateExport(ctx, group, cluster, client.ExportRequest{SnapshotID: snapshot, ExportBucketID: bucket})
	var unknown *client.UnknownOutcomeError
	if errors.As(err, &unknown) {
		// It may have been started, and must not be started twice.
		const clocksDiffer = time.Minute
		job, err = c.FindExport(ctx, group, cluster, snapshot, unknown.SentAt.Add(-clocksDiffer))
		if errors.Is(err, client.ErrNotFound) {
			err = unknown // it may still come
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, job.ID)
	job, err = c.WaitForExport(ctx, group, cluster, job.ID, client.WaitOptions{Progress: func(p client.ExportProgress) {
		if p.Err != nil {
			fmt.Fprintln(stdout, p.Err)
		} else {
			fmt.Fprintln(stdout, p.Job.State)
		}
	}})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, job.Prefix)
	return nil
}
