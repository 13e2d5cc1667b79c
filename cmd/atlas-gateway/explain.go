package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/printable"
	"atlas-export-gateway/internal/smallfile"
)

// explain says for each grant of a caller whether it allows a request, or why not. It also says
// which caller a token or a client certificate is.
func explain(args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	caller := flags.String("caller", "", "the `name` of the caller; required, except with -token-file or -certificate")
	tokenFile := flags.String("token-file", "", "a `file` with a caller's token; explain says whose it is, or what keeps it out, and fetches the keys of issuers for that")
	certificate := flags.String("certificate", "", "a `file` with a client certificate and, behind it, those of authorities between (PEM); explain says whose it is, or why it is no caller's")
	var request policy.Request
	flags.StringVar(&request.Operation, "operation", "", "the `operationId`, such as createBackupExport; required, except with -token-file or -certificate")
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
	shown := *tokenFile != "" || *certificate != ""
	switch {
	case *caller != "" && shown || *tokenFile != "" && *certificate != "" || shown && request.Operation != "" && request.Group == "" && !request.EveryGroup():
		return misused(stderr, "explain: -token-file or -certificate tells the caller; -group goes with -operation")
	case !shown && (*caller == "" || request.Operation == "" || request.Group == "" && !request.EveryGroup()):
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
	if shown {
		status := exitOK
		if *caller, status = identify(parts, *tokenFile, *certificate, stdout, stderr); status != exitOK || request.Operation == "" {
			return status
		}
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

// identify says which caller the token or the certificate in a file is, or what keeps it out. It
// does not print the token.
func identify(parts *config.Parts, tokenFile, certificate string, stdout, stderr io.Writer) (caller string, status int) {
	name, file, most := "token", tokenFile, 2*issuers.MaxToken
	if certificate != "" {
		name, file, most = "certificate", certificate, 1<<20
	}
	content, err := smallfile.Read(file, most)
	if err != nil {
		fmt.Fprintf(stderr, "atlas-gateway: explain: the %s: %v\n", name, smallfile.WithoutName(err))
		return "", exitUsage
	}
	var lines []string
	if certificate != "" {
		caller, lines, err = gateway.ExplainCertificate(parts, content)
	} else {
		caller, lines = gateway.ExplainToken(context.Background(), parts, strings.TrimSpace(string(content)))
	}
	if err != nil {
		fmt.Fprintf(stderr, "atlas-gateway: explain: the %s: %v\n", name, err)
		return "", exitUsage
	}
	for _, line := range lines {
		fmt.Fprintln(stdout, printable.Escape(line))
	}
	if caller == "" {
		fmt.Fprintf(stdout, "the %s is no caller's\n", name)
		return "", exitDenied
	}
	fmt.Fprintf(stdout, "the caller is %s\n", caller)
	return caller, exitOK
}
