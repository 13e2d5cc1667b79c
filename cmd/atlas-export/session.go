package main

import (
	"crypto/x509"
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
	"atlas-export-gateway/internal/smallfile"

	"github.com/spf13/cobra"
)

// session is a client, and the settings of the command that uses it.
type session struct {
	generation // the one that the setting api names
	client     *client.Client
	v1         bool // the generation is v1.0

	group, cluster string // cluster is empty for commands that have none
	format         string

	keys      client.Keys                // those that the server keeps
	key       string                     // of --idempotency-key; empty if it is not given
	createFor time.Duration              // how long a create is repeated
	repeating func(error, time.Duration) // is told that one is; may be nil
	repeated  bool                       // the last one was

	dry  *dryRun                         // nil where requests are sent
	seen map[string]*client.ExportBucket // the buckets that method bucket has asked for
}

// dryRun is a request that was not sent.
type dryRun struct {
	Method  string          `json:"method"`
	URL     string          `json:"url"`
	Accept  string          `json:"accept"`
	Key     string          `json:"idempotencyKey,omitempty"`
	Content json.RawMessage `json:"content,omitempty"`
}

// errDryRun keeps the client from sending the request of a dry run.
var errDryRun = errors.New("a dry run sends nothing")

const dryRunUsage = "check the request against the contract and print it; send nothing"

// withSession returns the RunE of a command that calls Atlas, for at most one cluster.
func (a *app) withSession(run func(*cobra.Command, *session, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		needs := []string{"group"}
		if c.Flags().Lookup("cluster") != nil {
			needs = append(needs, "cluster")
		}
		return a.inSession(c, needs, func(s *session) error {
			if strings.Contains(s.cluster, ",") {
				return usageError(c, "this command takes one cluster, not %s", s.cluster)
			}
			return run(c, s, args)
		})
	}
}

// inSession calls run with a session. Needs are the settings that must have a value.
func (a *app) inSession(c *cobra.Command, needs []string, run func(*session) error) error {
	s, err := a.connect(c, needs...)
	if err != nil {
		return err
	}
	defer s.client.CloseIdleConnections()
	if err := s.findGroup(c.Context()); err != nil {
		return err
	}
	return run(s)
}

// connect builds the client that the settings describe. Needs are the settings that must have a
// value. It sends nothing.
func (a *app) connect(c *cobra.Command, needs ...string) (*session, error) {
	r, err := a.resolve(c)
	if err != nil {
		return nil, err
	}
	a.settings = r
	for _, key := range needs {
		if err := r.need(key); err != nil {
			return nil, err
		}
	}
	s := &session{group: r.values["group"].Text, cluster: r.values["cluster"].Text, format: r.values["output"].Text}
	config, err := r.bounds()
	if err != nil {
		return nil, err
	}
	if err := s.useKeys(c, r, &config); err != nil {
		return nil, err
	}
	found, err := r.credential()
	if err != nil {
		return nil, err
	}
	if f := c.Flags().Lookup("dry-run"); f != nil && f.Value.String() == "true" {
		s.dry = &dryRun{}
		config.BeforeSend = s.dry.check
		config.Credential = client.APIKey("dry", "run") // nothing is signed
	} else if config.Credential, err = a.load(c.Context(), r, found); err != nil {
		return nil, err
	}
	if found.isZero() && s.dry == nil && config.BaseURL == client.AtlasURL {
		return nil, &failure{exitUnauthorized, errors.New("there is no credential, and Atlas requires one"), r.noCredentialHint()}
	}
	if s.client, err = client.New(config); err != nil {
		return nil, &failure{exitInvalid, fmt.Errorf("base_url from %s, or the credential: %w", r.values["base_url"].From, err), ""}
	}
	if s.generation = s.client; r.values["api"].Text == "v1.0" {
		s.generation, s.v1 = s.client.V1(), true
	}
	return s, nil
}

// bounds returns the part of the client's configuration that is about the connection.
func (r *resolved) bounds() (client.Config, error) {
	config := client.Config{
		BaseURL:   strings.TrimRight(r.values["base_url"].Text, "/"),
		UserAgent: "atlas-export/" + build.Version(),
	}
	var err error
	if config.Timeout, err = time.ParseDuration(r.values["request_timeout"].Text); err != nil {
		return config, err
	}
	if config.MaxRetries, err = strconv.Atoi(r.values["retries"].Text); err != nil {
		return config, err
	}
	if config.MaxRetries == 0 {
		config.MaxRetries = -1 // 0 would be the client's default
	}
	if v := r.values["ca_file"]; v.Text != "" {
		text, err := smallfile.Read(r.path(v), 1<<20)
		config.RootCAs = x509.NewCertPool()
		if err == nil && !config.RootCAs.AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s holds no certificate in PEM", r.path(v))
		}
		if err != nil {
			return config, &failure{exitInvalid, fmt.Errorf("ca_file from %s: %w", v.From, err), ""}
		}
	}
	if v := r.values["client_cert"]; v.Text != "" {
		key := r.values["client_key"]
		if key.Text == "" {
			key = v
		}
		if config.ClientCertificate, err = client.CertificateFiles(r.path(v), r.path(key)); err != nil {
			return config, &failure{exitInvalid, fmt.Errorf("client_cert from %s, with client_key: %w", v.From, err), ""}
		}
	} else if key := r.values["client_key"]; key.Text != "" {
		return config, &failure{exitInvalid, fmt.Errorf("client_key is set from %s, and client_cert is not", key.From), ""}
	}
	return config, nil
}

// check checks a request against the contract, as the gateway does. It always returns an error,
// so that the request is not sent.
func (d *dryRun) check(r *http.Request) error {
	d.Method, d.URL, d.Accept, d.Key = r.Method, r.URL.String(), r.Header.Get("Accept"), r.Header.Get("Idempotency-Key")
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
	if s.dry.Key != "" {
		fmt.Fprintf(a.stdout, "Idempotency-Key: %s\n", s.dry.Key)
	}
	if len(s.dry.Content) > 0 {
		fmt.Fprint(a.stdout, "Content-Type: application/json\n\n")
		return encodeJSON(a.stdout, s.dry.Content, "", "  ")
	}
	return nil
}
