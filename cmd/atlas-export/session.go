package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/contract"
	"atlas-export-gateway/internal/build"
	"atlas-export-gateway/internal/objectid"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

// session is a client, and the settings of the command that uses it.
type session struct {
	*client.Client
	group, cluster string // cluster is empty for commands that have none
	format         string

	dry *dryRun // nil where requests are sent
}

// dryRun is a request that was not sent.
type dryRun struct {
	Method  string          `json:"method"`
	URL     string          `json:"url"`
	Accept  string          `json:"accept"`
	Content json.RawMessage `json:"content,omitempty"`
}

// errDryRun keeps the client from sending the request of a dry run.
var errDryRun = errors.New("a dry run sends nothing")

const dryRunUsage = "check the request against the contract and print it; send nothing"

// withSession returns the RunE of a command that calls Atlas.
func (a *app) withSession(run func(*cobra.Command, *session, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s, err := a.connect(c)
		if err != nil {
			return err
		}
		defer s.CloseIdleConnections()
		return run(c, s, args)
	}
}

// connect builds the client that the settings describe. It sends nothing.
func (a *app) connect(c *cobra.Command) (*session, error) {
	r, err := a.resolve(c)
	if err != nil {
		return nil, err
	}
	a.settings = r
	s := &session{format: r.values["output"].Text}
	if s.group, err = r.need("group"); err != nil {
		return nil, err
	}
	if c.Flags().Lookup("cluster") != nil {
		if s.cluster, err = r.need("cluster"); err != nil {
			return nil, err
		}
	}
	timeout, err := time.ParseDuration(r.values["request_timeout"].Text)
	if err != nil {
		return nil, err
	}
	retries, err := strconv.Atoi(r.values["retries"].Text)
	if err != nil {
		return nil, err
	}
	found, err := r.credential()
	if err != nil {
		return nil, err
	}
	config := client.Config{
		BaseURL:    strings.TrimSuffix(r.values["base_url"].Text, "/"),
		UserAgent:  "atlas-export/" + build.Version(),
		Timeout:    timeout,
		MaxRetries: retries,
	}
	if retries == 0 {
		config.MaxRetries = -1 // 0 would be the client's default
	}
	if f := c.Flags().Lookup("dry-run"); f != nil && f.Value.String() == "true" {
		s.dry = &dryRun{}
		config.BeforeSend = s.dry.check
		config.Credential = client.APIKey("dry", "run") // nothing is signed
	} else if config.Credential, err = a.load(c.Context(), r, found); err != nil {
		return nil, err
	}
	if found.isZero() && s.dry == nil && config.BaseURL == client.AtlasURL {
		return nil, &failure{exitUnauthorized, errors.New("there is no credential, and Atlas requires one"), noCredentialHint}
	}
	if s.Client, err = client.New(config); err != nil {
		return nil, &failure{exitInvalid, fmt.Errorf("base_url from %s, or the credential: %w", r.values["base_url"].From, err), ""}
	}
	return s, nil
}

// check checks a request against the contract, as the gateway does. It always returns an error,
// so that the request is not sent.
func (d *dryRun) check(r *http.Request) error {
	d.Method, d.URL, d.Accept = r.Method, r.URL.String(), r.Header.Get("Accept")
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return err
		}
		if d.Content, err = io.ReadAll(body); err != nil {
			return err
		}
	}
	rules, err := contract.Load()
	if err != nil {
		return err
	}
	match, err := rules.Match(r.Method, r.URL.RequestURI())
	if err != nil {
		return err
	}
	version, err := match.Operation.Resolve(r.Header["Accept"])
	if err != nil {
		return err
	}
	var invalid *contract.ValidationError
	if _, err := match.Check(version, r.Header, d.Content, maxValues); errors.As(err, &invalid) {
		e := &client.Error{Operation: match.Operation.ID, Err: errors.New("the request breaks the contract")}
		for _, v := range invalid.Violations {
			e.Violations = append(e.Violations, client.Violation{Field: v.Field, Description: v.Description})
		}
		return &failure{exitInvalid, e, ""}
	}
	return errDryRun
}

// maxValues is how many JSON values a body may have: the default of the gateway.
const maxValues = 10_000

// dryRunOr returns the error of a call. If the call was a dry run that found no mistake,
// dryRunOr prints the request instead.
func (a *app) dryRunOr(s *session, err error) error {
	var invalid *failure
	switch {
	case errors.As(err, &invalid):
		return invalid
	case !errors.Is(err, errDryRun):
		return err
	}
	fmt.Fprintln(a.stderr, "dry run: the request keeps the contract; it was not sent")
	switch s.format {
	case "json", "yaml":
		return a.print(s.format, s.dry, nil, nil)
	}
	fmt.Fprintf(a.stdout, "%s %s\nAccept: %s\n", s.dry.Method, s.dry.URL, s.dry.Accept)
	if len(s.dry.Content) > 0 {
		fmt.Fprint(a.stdout, "Content-Type: application/json\n\n")
		return encodeJSON(a.stdout, s.dry.Content, "", "  ")
	}
	return nil
}

// completionTime bounds how long a completion takes: someone is waiting at the keyboard.
const completionTime = 3 * time.Second

// complete completes an argument by the ids that list returns, each with a description. It
// does not ask for a secret.
func (a *app) complete(list func(context.Context, *session) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		quiet := *a
		quiet.stdin = strings.NewReader("")
		s, err := quiet.connect(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		words, err := list(ctx, s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		safe := words[:0]
		for _, word := range words { // shells print words, some of them as they are
			if id, description, _ := strings.Cut(word, "\t"); objectid.Valid(id) {
				safe = append(safe, id+"\t"+printable.Escape(description))
			}
		}
		return safe, cobra.ShellCompDirectiveNoFileComp
	}
}
