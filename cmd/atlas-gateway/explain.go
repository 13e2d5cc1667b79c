package main

import (
	"flag"
	"fmt"
	"io"
	"slices"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/policy"
)

// explain says for each grant of a caller whether it allows a request, or why not.
func explain(args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	caller := flags.String("caller", "", "the `name` of the caller; required")
	var request policy.Request
	flags.StringVar(&request.Operation, "operation", "", "the `operationId`, such as createBackupExport; required")
	flags.StringVar(&request.Group, "group", "", "the `id` of the group (project); required, except with listGroups")
	flags.StringVar(&request.Cluster, "cluster", "", "the `name` of the cluster")
	flags.StringVar(&request.ExportBucket, "export-bucket", "", "the `id` of the export bucket")
	flags.BoolVar(&request.ExportOff, "export-off", false, "the change of a schedule does nothing but turn automatic exports off")
	flags.StringVar(&request.CloudProvider, "cloud-provider", "", "AWS, AZURE or GCP, of a bucket to create")
	flags.StringVar(&request.BucketName, "bucket-name", "", "the `name` of a bucket to create at AWS or Google Cloud")
	flags.StringVar(&request.ServiceURL, "service-url", "", "the `URL` of a bucket to create at Azure, https://ACCOUNT.blob.core.windows.net/CONTAINER")
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	switch {
	case *caller == "" || request.Operation == "" || request.Group == "" && !request.EveryGroup():
		return misused(stderr, "explain: -caller, -operation and -group are required, and one CONFIG after the flags")
	case flags.NArg() == 0: // the environment can't list callers
		return misused(stderr, "explain: CONFIG is missing; it goes after the flags")
	case !slices.Contains([]string{"", "AWS", "AZURE", "GCP"}, request.CloudProvider):
		return misused(stderr, fmt.Sprintf("explain: -cloud-provider is %q; expected AWS, AZURE or GCP", request.CloudProvider))
	}
	parts, err := config.Load(flags.Arg(0), env)
	if err != nil {
		return refused(stderr, err)
	}
	explanations, err := gateway.Explain(parts, *caller, request)
	if err != nil {
		fmt.Fprintln(stderr, "atlas-gateway: explain:", err)
		return exitUsage
	}
	status := exitDenied
	for _, explanation := range explanations {
		fmt.Fprintln(stdout, explanation)
		if explanation.Allows {
			status = exitOK
		}
	}
	if status == exitDenied {
		fmt.Fprintf(stdout, "no grant of %s allows %s\n", *caller, request.Operation)
	}
	explainKeys(parts, *caller, stdout)
	return status
}
