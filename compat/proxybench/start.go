package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atlas-export-gateway/gateway/callers"

	icholy "github.com/icholy/digest"
)

// proxyUnderTest is a proxy with one way for callers to authenticate.
type proxyUnderTest struct {
	name          string // its column in the table
	before        bool   // it is the gateway of -before, which has a table of its own
	process       *process
	address       string
	validates     bool
	journal       bool            // each create waits for the disk
	authorization string          // of the caller
	digest        *icholy.Options // of a caller that uses Digest
}

// parts are the processes of a run, and the proxies that they serve.
type parts struct {
	ctx       context.Context
	dir       string // for configuration and logs
	profiles  string // see options
	self      string // this program
	processes []*process
	proxies   []*proxyUnderTest
}

// stop stops the processes, the last one first.
func (p *parts) stop() error {
	var errs []error
	for _, process := range slices.Backward(p.processes) {
		errs = append(errs, process.stop())
	}
	return errors.Join(errs...)
}

// start starts the upstream and the proxies. After an error, stop stops those that run.
func (p *parts) start(o options, stderr io.Writer) error {
	upstream, err := p.startProcess("upstream", p.self, stderr, "serve", "-part", "upstream")
	if err != nil {
		return err
	}
	for _, name := range []string{"plain", "pooled", "chain"} {
		to := upstream.addresses["open"]
		if name == "chain" {
			to = upstream.addresses["signed"]
		}
		process, err := p.startProcess(name, p.self, stderr, "serve", "-part", name, "-to", to)
		if err != nil {
			return err
		}
		p.add(&proxyUnderTest{name: name, process: process, validates: name == "chain"})
	}
	c, err := configure(p.dir, upstream.addresses["signed"])
	if err != nil {
		return err
	}
	var before *process
	if o.before != "" {
		if before, err = p.startGateway("before", o.before, "serve", c.file); err != nil {
			return err
		}
	}
	program, args := o.gateway, []string{"serve", c.file}
	if o.profiles != "" {
		program, args = p.self, []string{"serve", "-part", "gateway", "-to", c.file}
	}
	gateway, err := p.startGateway("gateway", program, args...)
	if err != nil {
		return err
	}
	// In a round, both gateways have their turns one after the other.
	for _, caller := range []proxyUnderTest{
		{name: "token", authorization: "Bearer " + c.token.Secret.Reveal()},
		{name: "digest", digest: &icholy.Options{Username: c.pair.ID, Password: c.pair.Secret.Reveal()}},
		{name: "jwt", authorization: "Bearer " + c.jwt},
	} {
		caller.validates = true
		if before != nil {
			old := caller
			old.process, old.before = before, true
			p.add(&old)
		}
		caller.process = gateway
		p.add(&caller)
	}
	if args[len(args)-1], err = c.withJournal("creates.db"); err != nil {
		return err
	}
	journal, err := p.startGateway("journal", program, args...)
	if err != nil {
		return err
	}
	p.add(journalProxy(journal, c.token))
	if args[len(args)-1], err = c.with("traced.yaml", withoutJournal+"tracing: {endpoint: '"+upstream.addresses["spans"]+"'}\n"); err != nil {
		return err
	}
	traced, err := p.startGateway("traced", program, args...)
	if err != nil {
		return err
	}
	p.add(&proxyUnderTest{name: "traced", process: traced, validates: true, authorization: "Bearer " + c.token.Secret.Reveal()})
	return nil
}

func (p *parts) add(proxy *proxyUnderTest) {
	proxy.setAddress()
	p.proxies = append(p.proxies, proxy)
}

func (p *proxyUnderTest) setAddress() {
	p.address = strings.TrimPrefix(p.process.addresses["listener"], "http://")
}

func (p *parts) startProcess(name, program string, stderr io.Writer, args ...string) (*process, error) {
	if p.profiles != "" && program == p.self {
		args = append(args, "-profile", filepath.Join(p.profiles, name+".prof"))
	}
	process, err := start(p.ctx, name, stderr, program, args...)
	if err != nil {
		return nil, err
	}
	p.processes = append(p.processes, process)
	return process, nil
}

// startGateway starts a gateway that writes its log to a file.
func (p *parts) startGateway(name, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(p.log(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has a descriptor of its own
	process, err := p.startProcess(name, program, log, args...)
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return process, nil
}

func (p *parts) log(name string) string { return filepath.Join(p.dir, name+".log") }

// truncateLogs empties the logs of the gateways, which have been written for the measurement
// only.
func (p *parts) truncateLogs() error {
	logs, err := filepath.Glob(p.log("*"))
	for _, log := range logs {
		err = errors.Join(err, os.Truncate(log, 0))
	}
	return err
}

// withoutJournal is the line of a configuration that with replaces.
const withoutJournal = "creates: {journal: off}\n"

// withJournal writes a second configuration that differs in the journal, which is in a file of a
// name.
func (c configuration) withJournal(name string) (file string, err error) {
	return c.with("journal.yaml", "creates: {file: "+filepath.Join(filepath.Dir(c.file), name)+"}\n")
}

// with writes another configuration with a name, which has settings in the place of withoutJournal.
func (c configuration) with(name, settings string) (file string, err error) {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return "", err
	}
	file = filepath.Join(filepath.Dir(c.file), name)
	return file, os.WriteFile(file, []byte(strings.Replace(string(text), withoutJournal, settings, 1)), 0o600)
}

// configuration is a configuration of the gateway, and the keys of its caller.
type configuration struct {
	file        string
	token, pair callers.Issued
	jwt         string
}

// configure writes a configuration with a caller and a credential for the upstream. The caller has
// a token, a key pair and an identity at an issuer, and may do little more than what is measured.
func configure(dir, upstream string) (c configuration, err error) {
	file := func(name string) string { return filepath.Join(dir, name) }
	c = configuration{file("gateway.yaml"), callers.NewToken("nightly"), callers.NewKeyPair("nightly", realm, file("ha1")), ""}
	var keys string
	if c.jwt, keys, err = newJWT(); err != nil {
		return c, err
	}
	content := fmt.Sprintf(`
listener: {address: "127.0.0.1:0"}
management: {address: "127.0.0.1:0"}
upstream:
  base_url: %s
  realm: %s
  credentials:
    - groups: [%s]
      public_key_file: %s
      private_key_file: %s
callers:
  issuers: [{name: ci, issuer: %s, audiences: [%s], algorithms: [RS256], jwks_file: %s}]
  list:
    - name: nightly
      identities: [{issuer: ci, claims: {repository_id: "74", ref: refs/heads/main}}]
      tokens: [{sha256: %s}]
      key_pairs: [{public_key: %s, ha1_file: %s}]
      grants:
        - operations: [export]
          groups: [%s]
          clusters: ["order*"]
          export_buckets: [%s]
timeouts: {drain: 1ms}
`+withoutJournal, upstream, realm, group, file("public"), file("private"), ciIssuer, audience, file("keys"), c.token.Entry.Tokens[0].SHA256, c.pair.ID, file("ha1"), group, bucket)
	for name, content := range map[string]string{
		"gateway.yaml": content,
		"ha1":          c.pair.HA1File.Reveal(),
		"keys":         keys,
		"public":       publicKey,
		"private":      privateKey,
	} {
		err = errors.Join(err, os.WriteFile(file(name), []byte(content), 0o600))
	}
	return c, err
}
