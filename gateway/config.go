package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/internal/strictyaml"
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
	Responses  Responses  `yaml:"responses"`
	Log        Log        `yaml:"log"`

	// By LoadConfig: where the credentials' variables are, what locates a setting, and the files,
	// as they were just before they were read.
	getenv    func(name string) string // a function: what it returns does not print with the rest
	document  *strictyaml.Document     // nil without a file
	variables map[string]string        // that set a path, instead of the file
	read      map[string]state
}

// Listener is where callers reach the gateway.
type Listener struct {
	// Address is host:port; port 0 picks a free one. Default 127.0.0.1:8080.
	Address string `yaml:"address"`
	// PublicURL is the base URL that callers use, which the links of responses are
	// rewritten to. Default http:// or https:// and the address that was bound.
	PublicURL string `yaml:"public_url"`
	// TLSCertFile and TLSKeyFile are the PEM files of the certificate chain and its key. They
	// are read again when they change. Without them the listener speaks plain HTTP.
	TLSCertFile string `yaml:"tls_cert_file"`
	TLSKeyFile  string `yaml:"tls_key_file"`
	// AllowPlainHTTP lets the listener speak plain HTTP off loopback, where whoever is on the
	// way reads every request. For a listener behind a proxy that ends TLS.
	AllowPlainHTTP bool `yaml:"allow_plain_http"`
}

// Management is where operators reach the gateway: /healthz, /readyz and /metrics.
type Management struct {
	// Address is host:port; port 0 picks a free one. Default 127.0.0.1:9090.
	Address string `yaml:"address"`
}

// Upstream is the Atlas that requests are forwarded to.
type Upstream struct {
	// BaseURL is scheme and host, without a path. http is for loopback alone. Default
	// https://cloud.mongodb.com.
	BaseURL string `yaml:"base_url"`
	// Realm, where set, is the only realm whose Digest challenges are answered. Atlas's
	// is "MMS Public API".
	Realm string `yaml:"realm"`
	// CAFile is a PEM file of certificate authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// MaxConnections bounds the connections to the upstream, used or idle. Default 256.
	MaxConnections int `yaml:"max_connections"`
	// Credentials are tried in order; the first whose groups match signs the request.
	Credentials []CredentialSource `yaml:"credentials"`
}

// CredentialSource says where a credential for Atlas is kept: an API key (public and
// private key) or a service account (client id and client secret), both halves in files or
// both in the environment. It is read when first used, when Atlas refuses it and, from files, when they change.
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
	// everything. Callers of the list may still show a key, which must then be right.
	Anonymous bool `yaml:"anonymous"`
	// AllowAnonymousOffLoopback lets Anonymous stand with a listener that is not on loopback, so
	// that other machines can start exports and delete export buckets without a key. It needs
	// listener.public_url, whose host requests must then name.
	AllowAnonymousOffLoopback bool `yaml:"allow_anonymous_off_loopback"`

	callers.Settings `yaml:",inline"`
	// List has an entry for each caller that has keys of the gateway.
	List []Caller `yaml:"list"`
}

// Caller is one who may use the gateway, with its keys and what it may do. Without grants it
// may do nothing.
type Caller struct {
	callers.Entry `yaml:",inline"`
	Grants        []policy.Grant `yaml:"grants"`
}

// config returns what the package callers wants to know.
func (c Callers) config() callers.Config {
	config := callers.Config{Settings: c.Settings}
	for _, caller := range c.List {
		config.List = append(config.List, caller.Entry)
	}
	return config
}

// Limits bound what one request may cost.
type Limits struct {
	// RequestHeader bounds request line and header fields, in bytes. Default 16 KiB.
	RequestHeader int `yaml:"request_header"`
	// RequestBody bounds a request's content, in bytes. Default 256 KiB.
	RequestBody int `yaml:"request_body"`
	// RequestValues bounds the JSON values in a request's content: objects, lists, texts,
	// numbers. Each costs many times its bytes to check. Default 10,000.
	RequestValues int `yaml:"request_values"`
	// ResponseBody bounds a response's content, in bytes. Default 8 MiB.
	ResponseBody int `yaml:"response_body"`
	// InFlight bounds the requests being worked on at a time; more are answered 503. A
	// request counts from when it has arrived until Atlas's response is checked. As many
	// requests, also of those that don't count, may have content or a response of more than
	// 16 KiB. Default 512.
	InFlight int `yaml:"in_flight"`
	// Connections bounds the connections of callers; more wait. Default 4096.
	Connections int `yaml:"connections"`
}

// Timeouts bound how long the parts of a request may take.
type Timeouts struct {
	// Header is for the request's header to arrive. Default 5s.
	Header time.Duration `yaml:"header"`
	// Request is for the whole request to arrive. Default 15s.
	Request time.Duration `yaml:"request"`
	// Upstream is for Atlas to answer, retries included. Default 60s.
	Upstream time.Duration `yaml:"upstream"`
	// Idle is for a connection without a request. Default 120s.
	Idle time.Duration `yaml:"idle"`
	// Drain is how long the gateway, told to stop, goes on accepting requests while it
	// reports itself not ready, so that load balancers notice. Default 3s.
	Drain time.Duration `yaml:"drain"`
	// Shutdown is for the requests under way to end after that. Default 75s.
	Shutdown time.Duration `yaml:"shutdown"`
}

// Responses say how strictly Atlas's responses are held to the contract.
type Responses struct {
	// Check is off; report, which counts and logs violations of a share of the responses;
	// or enforce, which answers 502 to every violation. Default report.
	Check string `yaml:"check"`
	// Sample is which share of the responses report checks: one in Sample. Default 100.
	Sample int `yaml:"sample"`
}

// Log says what is logged to standard error.
type Log struct {
	// Level is debug, info, warn or error; each request is logged at info, or at warn
	// where the version that it asks for is past its sunset. Default info.
	Level string `yaml:"level"`
	// Format is json or text. Default json.
	Format string `yaml:"format"`
}

// EnvironmentPrefix starts the names of the environment variables that set, or override,
// a setting of the configuration: ATLAS_GATEWAY_LISTENER_ADDRESS is listener.address.
// Lists can be set in the file alone.
const EnvironmentPrefix = "ATLAS_GATEWAY_"

// LoadConfig reads the configuration file, overrides it from the environment (as
// os.Environ gives it), and checks it. Without a file (an empty name) it is the defaults
// and the environment; the key pair is then expected in MONGODB_ATLAS_PUBLIC_API_KEY and
// MONGODB_ATLAS_PRIVATE_API_KEY. An error names file, line and key, or the variable.
func LoadConfig(file string, environ []string) (Config, error) {
	c := Config{getenv: lookup(slices.Clone(environ)), read: map[string]state{}}
	if file == "" {
		c.Upstream.Credentials = []CredentialSource{{PublicKeyEnv: "MONGODB_ATLAS_PUBLIC_API_KEY", PrivateKeyEnv: "MONGODB_ATLAS_PRIVATE_API_KEY"}}
	} else {
		c.read[file] = stateOf(file)
		data, err := smallfile.Read(file, maxFile)
		if err != nil {
			return c, err
		}
		if c.document, err = strictyaml.Decode(file, data, &c); err != nil {
			return c, err
		}
	}
	if err := c.override(environ); err != nil {
		return c, err
	}
	c.fill()
	for _, file := range c.files() {
		c.read[file] = stateOf(file)
	}
	return c, c.check()
}

// maxFile bounds the configuration and the files of certificates, in bytes, and maxKey those that
// hold one half of a credential.
const (
	maxFile = 1 << 20
	maxKey  = 16 << 10
)

// files are those that the configuration names.
func (c *Config) files() (files []string) {
	named := []string{c.Listener.TLSCertFile, c.Listener.TLSKeyFile, c.Upstream.CAFile, c.Callers.SigningKeyFile}
	for _, source := range c.Upstream.Credentials {
		named = append(named, source.PublicKeyFile, source.PrivateKeyFile, source.ClientIDFile, source.ClientSecretFile)
	}
	for _, caller := range c.Callers.List {
		for _, pair := range caller.KeyPairs {
			named = append(named, pair.HA1File)
		}
	}
	for _, file := range named {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}

// errorf returns an error about the setting at a path, and says where it was set.
func (c *Config) errorf(path, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if variable, ok := c.variables[path]; ok {
		return fmt.Errorf("environment: %s: %w", variable, err)
	}
	if c.document != nil {
		return c.document.Errorf(path, "%w", err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// line is where the setting at a path was set: 0 where that was not in the file.
func (c *Config) line(path string) int {
	if _, ok := c.variables[path]; ok || c.document == nil {
		return 0
	}
	return c.document.Line(path)
}

// serviceLink matches the variables that Kubernetes sets for each Service of a namespace, one
// called atlas-gateway among them, and that no setting has the name of.
var serviceLink = regexp.MustCompile(`^[A-Z0-9_]+_(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)`)

// override takes settings from the environment.
func (c *Config) override(environ []string) error {
	settings := map[string]setting{}
	collect(reflect.ValueOf(c).Elem(), "", settings)
	c.variables = map[string]string{}
	var errs []error
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, EnvironmentPrefix) || serviceLink.MatchString(variable) {
			continue
		}
		setting, ok := settings[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("environment: %s is not a setting%s", name, nearest.Hint(name, slices.Sorted(maps.Keys(settings)))))
			continue
		case setting.value.Kind() == reflect.Slice:
			errs = append(errs, fmt.Errorf("environment: %s is a list, which can be set in the file alone", name))
			continue
		}
		c.variables[setting.path] = name
		if err := set(setting.value, text); err != nil {
			errs = append(errs, c.errorf(setting.path, "%w", err))
		}
	}
	return errors.Join(errs...)
}

// setting is where a variable of the environment belongs.
type setting struct {
	path  string
	value reflect.Value
}

// collect collects the settings below a path by the names of their variables.
func collect(v reflect.Value, path string, into map[string]setting) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inner := strings.TrimPrefix(path+"."+key, ".")
		switch {
		case !field.IsExported():
		case options == "inline":
			collect(v.Field(i), path, into)
		case field.Type.Kind() == reflect.Struct:
			collect(v.Field(i), inner, into)
		default:
			into[EnvironmentPrefix+strings.ToUpper(strings.ReplaceAll(inner, ".", "_"))] = setting{inner, v.Field(i)}
		}
	}
}

func set(setting reflect.Value, text string) error {
	switch value := setting.Addr().Interface().(type) {
	case *string:
		*value = text
	case *bool:
		parsed, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("expected true or false")
		}
		*value = parsed
	case *int:
		parsed, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("expected a whole number")
		}
		*value = parsed
	case *time.Duration:
		parsed, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("expected a duration such as 500ms, 10s or 1m30s")
		}
		*value = parsed
	}
	return nil
}

// fill puts the defaults where nothing is set.
func (c *Config) fill() {
	if c.getenv == nil {
		c.getenv = os.Getenv
	}
	fill(&c.Listener.Address, "127.0.0.1:8080")
	fill(&c.Management.Address, "127.0.0.1:9090")
	fill(&c.Upstream.BaseURL, "https://cloud.mongodb.com")
	fill(&c.Upstream.MaxConnections, 256)
	fill(&c.Limits.RequestHeader, 16<<10)
	fill(&c.Limits.RequestBody, 256<<10)
	fill(&c.Limits.ResponseBody, 8<<20)
	fill(&c.Limits.RequestValues, 10_000)
	fill(&c.Limits.InFlight, 512)
	fill(&c.Limits.Connections, 4096)
	fill(&c.Timeouts.Header, 5*time.Second)
	fill(&c.Timeouts.Request, 15*time.Second)
	fill(&c.Timeouts.Upstream, 60*time.Second)
	fill(&c.Timeouts.Idle, 120*time.Second)
	fill(&c.Timeouts.Drain, 3*time.Second)
	fill(&c.Timeouts.Shutdown, 75*time.Second)
	fill(&c.Responses.Check, "report")
	fill(&c.Responses.Sample, 100)
	fill(&c.Log.Level, "info")
	fill(&c.Log.Format, "json")
	for i := range c.Upstream.Credentials {
		if len(c.Upstream.Credentials[i].Groups) == 0 {
			c.Upstream.Credentials[i].Groups = []string{"*"}
		}
	}
}

func fill[T comparable](setting *T, value T) {
	if *setting == *new(T) {
		*setting = value
	}
}

// refuser notes that the setting at a path is refused.
type refuser func(path, format string, args ...any)

// check refuses settings that can't be meant, all at once.
func (c *Config) check() error {
	type refused struct {
		line int
		error
	}
	var all []refused
	refuse := func(path, format string, args ...any) {
		all = append(all, refused{c.line(path), c.errorf(path, format, args...)})
	}

	address(c.Listener.Address, "listener.address", refuse)
	address(c.Management.Address, "management.address", refuse)
	if c.Management.Address == c.Listener.Address && !strings.HasSuffix(c.Listener.Address, ":0") {
		refuse("management.address", "is the listener's; operators have a listener of their own")
	}
	if c.Listener.PublicURL != "" {
		if _, err := origin(c.Listener.PublicURL); err != nil {
			refuse("listener.public_url", "%w", err)
		}
	}
	switch base, err := origin(c.Upstream.BaseURL); {
	case err != nil:
		refuse("upstream.base_url", "%w", err)
	case base.Scheme == "http" && !loopback(base.Hostname()):
		refuse("upstream.base_url", "http is for a loopback address alone; use https")
	case linkLocal(base.Hostname()):
		refuse("upstream.base_url", "a link-local address is never Atlas")
	}
	if _, err := certificates(c.Upstream.CAFile); err != nil {
		refuse("upstream.ca_file", "%w", err)
	}
	if len(c.Upstream.Credentials) == 0 {
		refuse("upstream.credentials", "is required: the API key that signs what is forwarded")
	}
	for i, source := range c.Upstream.Credentials {
		source.check(fmt.Sprintf("upstream.credentials[%d]", i), c.getenv, refuse)
	}
	here := loopbackAddress(c.Listener.Address)
	if c.Listener.TLSCertFile != "" || c.Listener.TLSKeyFile != "" {
		if _, err := keyPair(c.Listener.TLSCertFile, c.Listener.TLSKeyFile); err != nil {
			refuse("listener.tls_cert_file", "with tls_key_file: %w", unnamed(err))
		}
	} else if !here && !c.Listener.AllowPlainHTTP {
		refuse("listener.address", "is not a loopback address: set tls_cert_file and tls_key_file, or allow_plain_http if a proxy before the gateway ends TLS")
	}
	switch {
	case !c.Callers.Anonymous && len(c.Callers.List) == 0:
		refuse("callers", "is required: list callers, or set callers.anonymous to true to let everyone on a loopback listener in")
	case c.Callers.Anonymous && !here && !c.Callers.AllowAnonymousOffLoopback:
		refuse("callers.anonymous", "is for a listener on a loopback address, such as 127.0.0.1:8080, unless allow_anonymous_off_loopback lets every machine that reaches it do everything")
	case c.Callers.Anonymous && !here && c.Listener.PublicURL == "":
		refuse("listener.public_url", "is required with callers.allow_anonymous_off_loopback: requests must name its host")
	}
	c.Callers.config().Check(here, func(path, format string, args ...any) { refuse("callers."+path, format, args...) })
	for i, caller := range c.Callers.List {
		if caller.Name == anonymous {
			refuse(fmt.Sprintf("callers.list[%d].name", i), "%s is whoever calls without a key", anonymous)
		}
		policy.Compile(caller.Name, fmt.Sprintf("callers.list[%d].grants", i), caller.Grants, operationIDs(), refuse)
	}
	for path, value := range map[string]int{
		"upstream.max_connections": c.Upstream.MaxConnections,
		"limits.request_header":    c.Limits.RequestHeader,
		"limits.request_body":      c.Limits.RequestBody,
		"limits.response_body":     c.Limits.ResponseBody,
		"limits.in_flight":         c.Limits.InFlight,
		"limits.request_values":    c.Limits.RequestValues,
		"limits.connections":       c.Limits.Connections,
		"responses.sample":         c.Responses.Sample,
	} {
		if value < 1 {
			refuse(path, "is %d; expected at least 1", value)
		}
	}
	for path, value := range map[string]time.Duration{
		"timeouts.header":   c.Timeouts.Header,
		"timeouts.request":  c.Timeouts.Request,
		"timeouts.upstream": c.Timeouts.Upstream,
		"timeouts.idle":     c.Timeouts.Idle,
		"timeouts.drain":    c.Timeouts.Drain,
		"timeouts.shutdown": c.Timeouts.Shutdown,
	} {
		if value < 0 {
			refuse(path, "is %s; expected a time ahead", value)
		}
	}
	oneOf(c.Responses.Check, "responses.check", refuse, "off", "report", "enforce")
	oneOf(c.Log.Level, "log.level", refuse, "debug", "info", "warn", "error")
	oneOf(c.Log.Format, "log.format", refuse, "json", "text")
	slices.SortFunc(all, func(a, b refused) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.Error(), b.Error()))
	})
	errs := make([]error, len(all))
	for i := range all {
		errs[i] = all[i].error
	}
	return errors.Join(errs...)
}

func (s CredentialSource) check(at string, getenv func(string) string, refuse refuser) {
	var given []credentialPair
	for _, pair := range s.pairs() {
		if pair.name != "" || pair.secret != "" {
			given = append(given, pair)
		}
	}
	switch {
	case len(given) != 1:
		refuse(at, "expected one pair of public_key_file and private_key_file, public_key_env and private_key_env, client_id_file and client_secret_file, or client_id_env and client_secret_env")
	case given[0].name == "" || given[0].secret == "":
		refuse(at, "expected both %s and %s", given[0].nameKey, given[0].secretKey)
	default:
		pair := given[0]
		for key, half := range map[string]string{pair.nameKey: pair.name, pair.secretKey: pair.secret} {
			if _, err := pair.readHalf(half, getenv); err != nil {
				refuse(at+"."+key, "%w", err)
			}
		}
	}
	for i, group := range s.Groups {
		if err := policy.CheckGroups(group); err != nil {
			refuse(fmt.Sprintf("%s.groups[%d]", at, i), "%w", err)
		}
	}
}

func oneOf(value, path string, refuse refuser, allowed ...string) {
	if !slices.Contains(allowed, value) {
		refuse(path, "is %q; expected one of %s%s", value, strings.Join(allowed, ", "), nearest.Hint(value, allowed))
	}
}

func address(value, path string, refuse refuser) {
	if _, port, err := net.SplitHostPort(value); err != nil {
		refuse(path, "is %q; expected host:port", value)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		refuse(path, "the port is %q; expected a number up to 65535", port)
	}
}

// origin parses a URL that is scheme and host alone, and returns it in the one form that
// Atlas's links have: in lower case, without the scheme's own port. Its errors don't quote
// what may hold a password.
func origin(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.User != nil || strings.Contains(raw, "@"):
		return nil, errors.New("holds user information; keys belong in files or the environment")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("is %q; expected http:// or https://", raw)
	case u.Hostname() == "":
		return nil, fmt.Errorf("is %q; the host is missing", raw)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("is %q; expected scheme and host alone", raw)
	}
	host := strings.ToLower(strings.TrimSuffix(u.Host, ":"))
	switch u.Scheme + u.Port() {
	case "http80", "https443":
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}

func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback(host)
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func linkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.Unmap().IsLinkLocalUnicast() || addr.Unmap().IsUnspecified() || addr.Unmap().IsMulticast())
}

// lookup is os.Getenv for an environment as os.Environ gives it.
func lookup(environ []string) func(name string) string {
	return func(name string) string {
		for _, variable := range slices.Backward(environ) {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// operationIDs are the names of the contract's operations, for grants.
var operationIDs = sync.OnceValue(func() (ids []string) {
	doc, err := api.Load()
	if err != nil {
		return nil // New says so
	}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			ids = append(ids, operation.OperationID)
		}
	}
	slices.Sort(ids)
	return ids
})
