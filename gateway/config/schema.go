// Package config is what an operator may set, and what becomes of it. A [Config] is the schema:
// the settings as the YAML file writes them. [Build] checks a Config, reads each file that it
// names once, and returns the [Parts] that a gateway is built from. A [Source] is a file and an
// environment, which it loads and watches. cmd/atlas-gateway and the package gateway call it.
//
// It refuses a configuration with mistakes. The error has each of them with file, line and key.
package config

import (
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/gateway/policy"
)

// Config is everything that an operator may set, as the YAML file writes it. The zero
// value of a setting means its default. Only upstream.credentials and callers have no
// default.
type Config struct {
	Listener   Listener   `yaml:"listener"`
	Management Management `yaml:"management"`
	Upstream   Upstream   `yaml:"upstream"`
	Callers    Callers    `yaml:"callers"`
	Limits     Limits     `yaml:"limits"`
	Timeouts   Timeouts   `yaml:"timeouts"`
	Requests   Requests   `yaml:"requests"`
	Responses  Responses  `yaml:"responses"`
	Creates    Creates    `yaml:"creates"`
	Reads      Reads      `yaml:"reads"`
	Budget     Budget     `yaml:"budget"`
	Audit      Audit      `yaml:"audit"`
	Tracing    Tracing    `yaml:"tracing"`
	Log        Log        `yaml:"log"`
}

// Listener is where callers reach the gateway.
type Listener struct {
	// Address is host:port; port 0 picks a free one. Default 127.0.0.1:8080.
	Address string `yaml:"address"`
	// PublicURL is the base URL that callers use, which the links of responses are
	// rewritten to. It has a path where a proxy publishes the gateway below that path, whether the
	// proxy takes the path off or not. Default http:// or https:// and the address that was bound.
	PublicURL string `yaml:"public_url"`
	// Hosts are names of the gateway, without a port, that anonymous callers may use besides
	// loopback addresses and the host of PublicURL.
	Hosts []string `yaml:"hosts"`
	// TLSCertFile and TLSKeyFile are the PEM files of the certificate chain and its key. They
	// are read again when they change. Without them the listener speaks plain HTTP.
	TLSCertFile string `yaml:"tls_cert_file"`
	TLSKeyFile  string `yaml:"tls_key_file"`
	// ClientCAFile is a PEM file of the authorities that client certificates come from. It is read
	// again when it changes. It needs TLSCertFile. Without it, no certificate of a client counts.
	ClientCAFile string `yaml:"client_ca_file"`
	// ClientCertificates is optional, which verifies a certificate if a client shows one, or
	// required, which ends the handshake of a client that shows none. It needs ClientCAFile.
	// Default optional.
	ClientCertificates string `yaml:"client_certificates"`
	// AllowPlainHTTP lets the listener speak plain HTTP off loopback, where whoever is on the
	// way reads every request. It is for a listener behind a proxy that ends TLS.
	AllowPlainHTTP bool `yaml:"allow_plain_http"`
	// TrustedProxies are the networks of the proxies that say who the client is, and of nobody else.
	// They need ClientAddress. Default none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ClientAddress is how they say it: proxy_protocol, by a preamble of the PROXY protocol on each
	// connection; or forwarded or x_forwarded_for, by this field of each request. It needs
	// TrustedProxies. Default empty: the client is the connection's other end.
	ClientAddress string `yaml:"client_address"`
}

// Management is where operators reach the gateway: /healthz, /readyz and /metrics.
type Management struct {
	// Address is host:port; port 0 picks a free one. Default 127.0.0.1:27090.
	Address string `yaml:"address"`
}

// Upstream is the Atlas that requests are forwarded to.
type Upstream struct {
	// BaseURL is scheme and host, without a path. http is only for loopback. Default
	// https://cloud.mongodb.com.
	BaseURL string `yaml:"base_url"`
	// Realm, where set, is the only realm whose Digest challenges are answered. Atlas's
	// is "MMS Public API".
	Realm string `yaml:"realm"`
	// CAFile is a PEM file of certificate authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// ProxyURL is scheme, host and port of the HTTP proxy that Atlas is reached through, by CONNECT;
	// http or https. No proxy of the environment is used. Default none.
	ProxyURL string `yaml:"proxy_url"`
	// ProxyUserFile and ProxyPasswordFile hold what the proxy gets as Basic, and nothing else but
	// white space around it.
	ProxyUserFile     string `yaml:"proxy_user_file"`
	ProxyPasswordFile string `yaml:"proxy_password_file"`
	// ProxyCAFile is a PEM file of certificate authorities to trust for an https proxy instead of the
	// system's.
	ProxyCAFile string `yaml:"proxy_ca_file"`
	// MaxConnections bounds the connections to the upstream, used or idle, from 1 to 1,000,000.
	// Default 256.
	MaxConnections int `yaml:"max_connections"`
	// Credentials are tried in order; the first whose groups match signs the request.
	Credentials []CredentialSource `yaml:"credentials"`
}

// CredentialSource says where a credential for Atlas is kept: an API key (public and
// private key) or a service account (client id and client secret), both halves in files or
// both in the environment. It is read with the configuration, when Atlas refuses it and, from
// files, when they change. What takes another one's place signs once Atlas has accepted it.
type CredentialSource struct {
	// Groups are the ids of the groups that the credential is for, with * as in path.Match.
	// Default all.
	Groups []string `yaml:"groups"`
	// Files hold one half each, and nothing else but white space around it.
	PublicKeyFile    string `yaml:"public_key_file"`
	PrivateKeyFile   string `yaml:"private_key_file"`
	ClientIDFile     string `yaml:"client_id_file"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// Env are names of environment variables.
	PublicKeyEnv    string `yaml:"public_key_env"`
	PrivateKeyEnv   string `yaml:"private_key_env"`
	ClientIDEnv     string `yaml:"client_id_env"`
	ClientSecretEnv string `yaml:"client_secret_env"`
}

// Callers are those who may use the gateway.
type Callers struct {
	// Anonymous lets everyone who reaches the listener use the gateway without a key, for
	// everything. Callers of the list may still show a key. A key that is shown must be right.
	Anonymous bool `yaml:"anonymous"`
	// AllowAnonymousOffLoopback lets Anonymous stand with a listener that is not on loopback, so
	// that other machines can start exports and delete export buckets without a key. It needs
	// listener.public_url or listener.hosts, since requests must then name one of these hosts.
	AllowAnonymousOffLoopback bool `yaml:"allow_anonymous_off_loopback"`

	callers.Settings `yaml:",inline"`
	// Issuers are those whose tokens prove who calls, besides the gateway's own keys: Kubernetes, CI
	// systems, OpenID providers.
	Issuers []issuers.Config `yaml:"issuers"`
	// List has an entry for each caller that has keys of the gateway, or an identity at an issuer.
	List []Caller `yaml:"list"`
}

// Caller is one who may use the gateway, with its keys and what it may do. Without grants it
// may do nothing.
type Caller struct {
	callers.Entry `yaml:",inline"`
	Grants        []policy.Grant `yaml:"grants"`
	// RequestsPerMinute bounds the caller's requests that its grants allow, from 1 to 1,000,000: so
	// many at once, refilled evenly. Default no bound.
	RequestsPerMinute int `yaml:"requests_per_minute"`
	// RequestsCheck is Requests.Check for this caller. Default what Requests.Check says.
	RequestsCheck string `yaml:"requests_check"`
}

// Limits bound what requests may cost. Each is at least 1, and at most 1,000,000 unless it says
// otherwise.
type Limits struct {
	// RequestHeader bounds request line and header fields, in bytes, at most 1 MiB. Default 16 KiB.
	RequestHeader int `yaml:"request_header"`
	// RequestBody bounds a request's content, in bytes, at most 64 MiB. Default 256 KiB.
	RequestBody int `yaml:"request_body"`
	// RequestValues bounds the JSON values in a request's content: objects, lists, texts,
	// numbers. Each costs many times its bytes to check. Default 10,000.
	RequestValues int `yaml:"request_values"`
	// ResponseBody bounds a response's content, in bytes, at most 256 MiB. Default 8 MiB.
	ResponseBody int `yaml:"response_body"`
	// InFlight bounds the requests that are worked on at a time. A request counts from when it
	// has arrived until Atlas's response is checked, or until it waits for what another one
	// reads. InFlight also bounds the requests with content or a response of more than 16 KiB,
	// from when they arrive until they are answered. A request beyond either bound is answered
	// 503. One caller, group or operation can't take all places. Default 512.
	InFlight int `yaml:"in_flight"`
	// Connections bounds the connections of callers; more wait. Default 4096.
	Connections int `yaml:"connections"`
}

// Timeouts bound how long the parts of a request may take. Each is from 1ms to 1h.
type Timeouts struct {
	// Header is for the request's header to arrive. Default 5s.
	Header time.Duration `yaml:"header"`
	// Request is for the whole request to arrive. Default 15s.
	Request time.Duration `yaml:"request"`
	// Upstream is for Atlas to answer, retries included. Default 60s.
	Upstream time.Duration `yaml:"upstream"`
	// Idle is for a connection without a request. Default 120s.
	Idle time.Duration `yaml:"idle"`
	// Drain is how long the gateway goes on to accept requests after it was told to stop. It
	// reports itself not ready meanwhile, so that load balancers notice. Default 3s.
	Drain time.Duration `yaml:"drain"`
	// Shutdown is for the requests under way to end after Drain. Default 75s.
	Shutdown time.Duration `yaml:"shutdown"`
}

// Requests say how strictly callers' requests are held to the contract.
type Requests struct {
	// Check is enforce, which refuses every request that breaks the contract; or report, for callers
	// that are moved behind the gateway: requests that break nothing but schemas of the contract are
	// forwarded, counted and logged. Default enforce.
	Check string `yaml:"check"`
}

// Report is the value of Requests.Check that forwards what breaks only schemas.
const Report = "report"

// Responses say how strictly Atlas's responses are held to the contract.
type Responses struct {
	// Check is off; report, which counts and logs violations of a share of the responses;
	// or enforce, which answers 502 to every violation. Default report.
	Check string `yaml:"check"`
	// Sample sets the share of the responses that report checks: one in Sample, from 1 to
	// 1,000,000. Default 100.
	Sample int `yaml:"sample"`
}

// Creates say how the gateway keeps a create from being carried out twice.
type Creates struct {
	// Journal is where creates are recorded before they are sent: file, for one gateway; postgres,
	// for several that share it; or off, which sends every create that comes. Default file.
	Journal string `yaml:"journal"`
	// File is the journal's file. Default atlas-gateway/creates.db below the user's state
	// directory, or creates.db in $STATE_DIRECTORY, which systemd sets.
	File string `yaml:"file"`
	// PostgresURLFile or PostgresURLEnv, a file or an environment variable, holds the connection
	// string of the database.
	PostgresURLFile string `yaml:"postgres_url_file"`
	PostgresURLEnv  string `yaml:"postgres_url_env"`
	// Keys says what makes two creates the same: derived, their content; explicit, only the field
	// Idempotency-Key; required, that field, without which a create is refused. Where the field is
	// there, it counts in each case. Default derived.
	Keys string `yaml:"keys"`
	// Retention is how long a create that was carried out is known, from 1m to 8760h. Default 24h.
	Retention time.Duration `yaml:"retention"`
	// Quarantine is how long after a create that was not answered Atlas's lists may lack what it
	// created, from 1ms to 24h. It is an assumption. Default 60s.
	Quarantine time.Duration `yaml:"quarantine"`
	// Wait is how long a caller waits, on top of timeouts.upstream, until the gateway has found out
	// what became of its create, from 1ms to 1h. Default 10s.
	Wait time.Duration `yaml:"wait"`
	// OpenPerCaller bounds the creates of a caller whose outcome is open, from 1 to 1,000,000.
	// Default 1000.
	OpenPerCaller int `yaml:"open_per_caller"`
}

// Reads say how what Atlas answers to reads is shared among callers, each of whom may make the
// read.
type Reads struct {
	// Share is on, where identical reads share one request to Atlas and answers about export jobs
	// are kept, or off, where every read that comes is sent. Default on.
	Share string `yaml:"share"`
	// Freshness is how old the answer about an export job may be that has not ended, from 1ms to
	// 1m. Default 1s.
	Freshness time.Duration `yaml:"freshness"`
	// KeptBytes bounds the memory that answers are kept in, from 1 to 256 MiB. An answer that
	// takes more than an eighth of it is not kept. Default 16 MiB.
	KeptBytes int `yaml:"kept_bytes"`
	// StaleIfError is how old a kept answer may be that is given where Atlas can't be reached,
	// from 1s to 24h. Then the answers to all reads are kept for so long. Default 0s: none is
	// given.
	StaleIfError time.Duration `yaml:"stale_if_error"`
}

// Off is the value of Reads.Share that sends every read.
const Off = "off"

// Budget says how Atlas's rate limit is spent, and how failures of Atlas's are met.
type Budget struct {
	// Requests is how many requests of one group Atlas takes at once, and PerMinute how many more
	// in each minute, from 1 to 1,000,000. What Atlas says itself comes first. Default 1200 and 500.
	Requests  int `yaml:"requests"`
	PerMinute int `yaml:"per_minute"`
	// Wait is how long a request may wait for its turn, from 1ms to 1h, and at most until
	// timeouts.upstream. Default 20s.
	Wait time.Duration `yaml:"wait"`
	// Attempts is how often a read is sent at most if Atlas fails, from 1 to 10. Default 3.
	Attempts int `yaml:"attempts"`
}

// Audit says where the gateway records who did what.
type Audit struct {
	// File is the path of a file that gets a line of JSON for each record; it is opened again at
	// SIGHUP. stderr and - stand for standard error. Default empty: nothing is recorded.
	File string `yaml:"file"`
	// Required refuses a change that can't be recorded before it is sent. It needs File. Default
	// false.
	Required bool `yaml:"required"`
}

// Tracing says whether spans of requests are sent to a receiver of OpenTelemetry, and which. What
// is not set here may be set by OpenTelemetry's own variables of the environment: those that
// begin with OTEL_.
type Tracing struct {
	// Endpoint is the URL of a receiver of OTLP over HTTP; http or https. Without a path, it means
	// /v1/traces. Default empty: no request is traced.
	Endpoint string `yaml:"endpoint"`
	// CAFile is a PEM file of certificate authorities to trust for the receiver instead of the
	// system's. It is read again when it changes.
	CAFile string `yaml:"ca_file"`
	// HeadersFile has fields that the receiver gets, such as a key: a line NAME: VALUE for each. It
	// is read again when it changes.
	HeadersFile string `yaml:"headers_file"`
	// Timeout is how long the receiver may take to answer, from 1ms to 1h. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Sample sets the share of the traces that are sent: one in Sample, from 1 to 1,000,000. Default
	// 1. A trace that is continued is sent where its caller says so.
	Sample int `yaml:"sample"`
	// TrustTraceparent continues the traces of callers that are let in, by the field traceparent.
	// Default false: each request begins a trace.
	TrustTraceparent bool `yaml:"trust_traceparent"`
	// ServiceName is service.name of the resource. Default atlas-gateway.
	ServiceName string `yaml:"service_name"`
	// ResourceAttributes are further attributes of the resource, as NAME=VALUE,NAME=VALUE, with
	// percent escapes in values.
	ResourceAttributes string `yaml:"resource_attributes"`
}

// Log says what is logged to standard error.
type Log struct {
	// Level is debug, info, warn or error; each request is logged at info, or at warn
	// where the version that it asks for is past its sunset. Default info.
	Level string `yaml:"level"`
	// Format is json or text. Default json.
	Format string `yaml:"format"`
}
