package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/secret"
)

// check loads the configuration and builds the gateway that it describes.
func check(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	online := flags.Bool("online", false, "also try each credential for Atlas with one read, which changes nothing, within about 10 s")
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	parts, err := config.Load(flags.Arg(0), env)
	if err == nil {
		_, err = gateway.New(parts, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		return refused(stderr, err)
	}
	for _, warning := range parts.Warnings {
		fmt.Fprintln(stderr, "warning:", warning)
	}
	through := ""
	if proxy := parts.Atlas.Proxy; proxy != nil {
		through = " through the proxy " + proxy.Origin
	}
	fmt.Fprintf(stdout, "the configuration is good: %s forwards to %s%s\n", parts.Config.Listener.Address, parts.Config.Upstream.BaseURL, through)
	if !*online {
		return exitOK
	}
	answers, err := gateway.TryCredentials(ctx, parts)
	if err != nil {
		return refused(stderr, err)
	}
	status := exitOK
	for i, answer := range answers {
		if answer.Verdict != atlas.Accepted {
			status = exitRefused
		}
		fmt.Fprintln(stdout, tried(answer, parts.Atlas.Credentials[i].Account))
	}
	return status
}

// tried says in one line what Atlas made of a credential.
func tried(a atlas.Answer, account bool) string {
	kind := "public key"
	if account {
		kind = "client id"
	}
	line := a.Name
	if a.ID != secret.OtherID {
		line += fmt.Sprintf(" (%s %s)", kind, a.ID)
	}
	switch a.Verdict {
	case atlas.Accepted:
		return line + ": Atlas accepts it"
	case atlas.Undecided:
		return line + ": Atlas gave no answer that tells: " + a.Err.Error()
	}
	line += ": Atlas refuses it: " + a.Err.Error()
	if a.ID == secret.OtherID {
		line += fmt.Sprintf("; the %s does not look like one of Atlas's: are the two halves in each other's place?", kind)
	}
	return line
}
