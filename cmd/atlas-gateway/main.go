// Command atlas-gateway is an internal proxy for Atlas's snapshot export API: it checks
// every request against the contract and signs it with a credential that no caller sees.
//
//	atlas-gateway serve [CONFIG]    serve until SIGTERM or SIGINT
//	atlas-gateway check [CONFIG]    say whether the configuration is good, and stop
//	atlas-gateway keys new ...      make a key for a caller, and the entry to paste
//	atlas-gateway keys signing-key FILE    make the key that signs nonces and tokens
//	atlas-gateway explain ...       say which grant allows a caller something, or why none does
//	atlas-gateway version           print the version
//
// keys new and explain list their flags with -h.
//
// CONFIG is a YAML file (see atlas-gateway.yaml beside this file). Environment variables
// override it: ATLAS_GATEWAY_LISTENER_ADDRESS is listener.address. Without CONFIG the
// environment is all there is, and the key pair is expected in
// MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY.
//
// check and serve warn of files with secrets that every user may read.
//
// serve prints one line of JSON with the addresses that it bound once it is ready, and
// logs to standard error. SIGTERM or SIGINT ends it once the requests under way have ended;
// a second one ends it at once. At SIGHUP, and when the configuration or a file that it names
// changes, it reads all of them again; what is wrong is logged, and the old ones stay.
//
// Exit status: 0 after a clean end, 1 when serving failed, 2 for a wrong command line,
// 3 for a configuration that was refused, 4 for a request that explain finds no grant for.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"atlas-export-gateway/gateway"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 3
	exitDenied = 4
)

const usage = `usage: atlas-gateway serve [CONFIG]
       atlas-gateway check [CONFIG]
       atlas-gateway keys new -caller NAME [-kind pair|account|token] [-ha1-file FILE]
       atlas-gateway keys signing-key FILE
       atlas-gateway explain -caller NAME -operation ID -group ID [...] CONFIG
       atlas-gateway version

serve runs the gateway until SIGTERM or SIGINT; check says whether a configuration is
good. CONFIG is a YAML file; ATLAS_GATEWAY_<SECTION>_<KEY> in the environment overrides it.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // so that a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, env []string, _ io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("atlas-gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { io.WriteString(stderr, usage) }
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		return exitOK
	case err != nil:
		return exitUsage
	}
	switch flags.Arg(0) {
	case "keys":
		return keys(flags.Args()[1:], stdout, stderr)
	case "explain":
		return explain(flags.Args()[1:], env, stdout, stderr)
	}
	if flags.NArg() > 2 || flags.NArg() == 2 && flags.Arg(0) == "version" {
		return misused(stderr, "too many arguments")
	}
	switch command, file := flags.Arg(0), flags.Arg(1); command {
	case "serve":
		return serve(ctx, file, env, stdout, stderr)
	case "check":
		return check(file, env, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, "atlas-gateway", version())
		return exitOK
	case "":
		return misused(stderr, "no command")
	default:
		return misused(stderr, fmt.Sprintf("unknown command %q", command))
	}
}

func misused(stderr io.Writer, what string) int {
	fmt.Fprintf(stderr, "atlas-gateway: %s\n%s", what, usage)
	return exitUsage
}

// check loads the configuration and builds the gateway that it describes.
func check(file string, env []string, stdout, stderr io.Writer) int {
	config, err := gateway.LoadConfig(file, env)
	if err == nil {
		_, err = gateway.New(config, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitConfig
	}
	for _, warning := range config.Warnings() {
		fmt.Fprintln(stderr, "warning:", warning)
	}
	fmt.Fprintf(stdout, "the configuration is good: %s forwards to %s\n", config.Listener.Address, config.Upstream.BaseURL)
	return exitOK
}

func serve(ctx context.Context, file string, env []string, stdout, stderr io.Writer) int {
	config, err := gateway.LoadConfig(file, env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitConfig
	}
	records := logger(config.Log, stderr)
	log.SetFlags(0)
	log.SetOutput(strayLog{records})
	tuneCollector(env)
	g, err := gateway.New(config, records)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitConfig
	}
	for _, warning := range config.Warnings() {
		records.Warn("configuration", "warning", warning.Error())
	}
	callers, err := net.Listen("tcp", config.Listener.Address)
	if err != nil {
		fmt.Fprintln(stderr, "atlas-gateway: listener.address:", err)
		return exitFailed
	}
	management, err := net.Listen("tcp", config.Management.Address)
	if err != nil {
		callers.Close()
		fmt.Fprintln(stderr, "atlas-gateway: management.address:", err)
		return exitFailed
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	scheme := "http://"
	if config.Listener.TLSCertFile != "" {
		scheme = "https://"
	}
	json.NewEncoder(stdout).Encode(map[string]string{
		"listener":   scheme + callers.Addr().String(),
		"management": "http://" + management.Addr().String(),
	})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go g.Watch(watching, func() (gateway.Config, error) { return gateway.LoadConfig(file, env) }, hangup)
	if err := g.Serve(ctx, callers, management); err != nil {
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		return exitFailed
	}
	return exitOK
}

// tuneCollector has garbage collected less often than Go would by itself, which is whenever
// the heap is twice what lives in it. What lives in a gateway's is so little that this is
// every few hundred requests. Past the limit, collections become more frequent again. GOGC
// and GOMEMLIMIT in the environment have precedence.
func tuneCollector(env []string) {
	set := func(name string) bool {
		return slices.ContainsFunc(env, func(variable string) bool {
			value, ok := strings.CutPrefix(variable, name+"=")
			return ok && value != ""
		})
	}
	if !set("GOGC") {
		debug.SetGCPercent(400)
	}
	if !set("GOMEMLIMIT") {
		debug.SetMemoryLimit(256 << 20)
	}
}

func logger(config gateway.Log, stderr io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.Level)); err != nil {
		panic(err) // LoadConfig allows the names of levels alone
	}
	options := &slog.HandlerOptions{Level: level}
	if config.Format == "text" {
		return slog.New(slog.NewTextHandler(stderr, options))
	}
	return slog.New(slog.NewJSONHandler(stderr, options))
}

// strayLog makes records of what libraries write to the standard logger, up to the first
// quotation mark: what they quote may come from anywhere, and repeat a secret.
type strayLog struct{ records *slog.Logger }

func (s strayLog) Write(line []byte) (int, error) {
	message, _, _ := strings.Cut(strings.TrimSpace(string(line)), `"`)
	s.records.Warn("library", "message", message)
	return len(line), nil
}

// version is the module's version, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return info.Main.Version
}
