// Command atlas-gateway is an internal proxy for Atlas's snapshot export API: it checks
// every request against the contract and signs it with a credential that no caller sees.
//
//	atlas-gateway serve [CONFIG]    serve until SIGTERM or SIGINT
//	atlas-gateway check [CONFIG]    say whether the configuration is good, and stop
//	atlas-gateway check -online [CONFIG]    also try each credential for Atlas with one read
//	atlas-gateway keys new ...      make a key for a caller, and the entry to paste
//	atlas-gateway keys list [CONFIG]    list the keys of callers, and whether they are good
//	atlas-gateway keys signing-key FILE    make the key that signs nonces and tokens
//	atlas-gateway explain ...       say which grant allows a caller something, or why none does, and
//	                                which caller a token or a client certificate is
//	atlas-gateway creates ...       show creates of a gateway that runs, or release the key of one
//	atlas-gateway health [URL|CONFIG]    ask a gateway that runs whether it is ready
//	atlas-gateway version           print the version
//	atlas-gateway help              print a summary of this
//
// -h, --help and help after a command print the summary with the command's flags.
//
// CONFIG is a YAML file (see atlas-gateway.yaml beside this file). Environment variables
// override it: ATLAS_GATEWAY_LISTENER_ADDRESS is listener.address. Without CONFIG there are only
// the environment and the defaults, and the key pair is expected in MONGODB_ATLAS_PUBLIC_API_KEY
// and MONGODB_ATLAS_PRIVATE_API_KEY.
//
// check and serve warn of files with secrets that every user may read.
//
// serve listens at the addresses of the configuration, or on sockets that its parent passes by
// LISTEN_FDS, as systemd does. It prints one line of JSON with the addresses once it is ready, and
// logs to standard error. SIGTERM or SIGINT ends it once it has answered what it has accepted; a
// second one ends it at once. At SIGHUP, and when the configuration or a file that it names
// changes, it reads all of them again; what is wrong is logged, and the old ones stay. At SIGHUP
// it also opens audit.file again.
//
// health asks the management listener, whose address is that of CONFIG or of the environment, or
// else the default, for /readyz?verbose, or asks for a URL. It prints the answer, and waits 5
// seconds for it.
//
// Exit status: 0 after a clean end, 1 when serving failed, a key could not be kept or shown, or
// health found no gateway that is ready, 2 for a wrong command line, 3 for a configuration that
// was refused, 4 for a request that explain finds no grant for or a token or certificate that is
// no caller's, 5 for a credential that check -online did not find accepted.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/internal/build"
	"atlas-export-gateway/internal/nearest"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitConfig  = 3
	exitDenied  = 4
	exitRefused = 5
)

const usage = `usage: atlas-gateway serve [CONFIG]
       atlas-gateway check [-online] [CONFIG]
       atlas-gateway keys new -caller NAME [-kind pair|account|token] [-ha1-file FILE]
       atlas-gateway keys list [CONFIG]
       atlas-gateway keys signing-key FILE
       atlas-gateway explain -caller NAME -operation ID -group ID [...] CONFIG
       atlas-gateway explain -token-file FILE [-operation ID -group ID ...] CONFIG
       atlas-gateway explain -certificate FILE [-operation ID -group ID ...] CONFIG
       atlas-gateway creates list|show ID|settle ID|release ID [...]
       atlas-gateway health [URL|CONFIG]
       atlas-gateway version
       atlas-gateway help
`

const help = usage + `
serve runs the gateway until SIGTERM or SIGINT; check says whether a configuration is
good, and with -online whether Atlas accepts the credentials that it names.
CONFIG is a YAML file; ATLAS_GATEWAY_<SECTION>_<KEY> in the environment overrides it.
health prints the checks of a gateway that runs, for a HEALTHCHECK: URL is its management
listener; CONFIG, or the environment, has the listener's address.
-h behind a command lists its flags.

exit status:
  0  a clean end
  1  serving failed, a key could not be kept or shown, or health found no gateway that is ready
  2  the command line is wrong
  3  the configuration was refused
  4  explain found no grant that allows the request, or no caller whose token or certificate it is
  5  check -online: Atlas refuses a credential, or gave no answer that tells

flags:
  -h	print this
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // so that a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, env []string, _ io.Reader, stdout, stderr io.Writer) int {
	tuneCollector(env)
	flags := flag.NewFlagSet("atlas-gateway", flag.ContinueOnError)
	asked := flags.Bool("version", false, "print the version")
	if status, done := parse(flags, args, len(args), stdout, stderr); done {
		return status
	}
	if *asked {
		return printVersion(nil, stdout, stderr)
	}
	if flags.NArg() == 0 {
		return misused(stderr, "no command")
	}
	switch command, args := flags.Arg(0), flags.Args()[1:]; command {
	case "serve":
		return serve(ctx, args, env, stdout, stderr)
	case "check":
		return check(ctx, args, env, stdout, stderr)
	case "keys":
		return keys(args, env, stdout, stderr)
	case "creates":
		return creates(ctx, args, stdout, stderr)
	case "explain":
		return explain(args, env, stdout, stderr)
	case "health":
		return health(ctx, args, env, stdout, stderr)
	case "version":
		return printVersion(args, stdout, stderr)
	default:
		return misused(stderr, fmt.Sprintf("unknown command %q%s", command, nearest.Hint(command, []string{"serve", "check", "keys", "creates", "explain", "health", "version", "help"})))
	}
}

// parse reads a command's flags and up to most arguments after them. If the command line asks for
// help or is wrong, parse prints the answer, and is done with an exit status.
func parse(flags *flag.FlagSet, args []string, most int, stdout, stderr io.Writer) (status int, done bool) {
	flags.SetOutput(io.Discard) // misused prints the error
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp, err == nil && flags.Arg(0) == "help":
		io.WriteString(stdout, help)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return exitOK, true
	case err != nil:
		return misused(stderr, err.Error()+nearest.FlagHint(flags, err)), true
	case flags.NArg() > most:
		what := "too many arguments"
		if slices.ContainsFunc(flags.Args(), func(arg string) bool { return strings.HasPrefix(arg, "-") }) {
			what += ": flags go before the others"
		}
		return misused(stderr, what), true
	}
	return exitOK, false
}

func misused(stderr io.Writer, what string) int {
	fmt.Fprintf(stderr, "atlas-gateway: %s\n%s-h behind any command says more.\n", what, usage)
	return exitUsage
}

func printVersion(args []string, stdout, stderr io.Writer) int {
	if status, done := parse(flag.NewFlagSet("version", flag.ContinueOnError), args, 0, stdout, stderr); done {
		return status
	}
	fmt.Fprintln(stdout, "atlas-gateway", build.Version())
	return exitOK
}

// refused prints what is wrong with the configuration. Only the error of a file that can't be read
// does not say by itself that it is about the configuration.
func refused(stderr io.Writer, err error) int {
	if unread, ok := err.(*fs.PathError); ok {
		err = fmt.Errorf("atlas-gateway: the configuration: %w", unread)
	}
	fmt.Fprintln(stderr, err)
	return exitConfig
}

func serve(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	if status, done := parse(flags, args, 1, stdout, stderr); done {
		return status
	}
	source := config.NewSource(flags.Arg(0), env)
	parts, err := source.Load()
	if err != nil {
		return refused(stderr, err)
	}
	settings := &parts.Config
	signal.Ignore(syscall.SIGPIPE) // standard error may have lost its reader
	standardError, queue := stderr, newLog(settings.Log, stderr)
	stderr = queue
	defer atLast(ctx, queue.Flush)
	records := slog.New(queue)
	log.SetFlags(0)
	log.SetOutput(strayLog{records})
	g, err := gateway.New(parts, records)
	if err != nil {
		return refused(stderr, err)
	}
	journal, err := openJournal(ctx, parts, records)
	if err != nil {
		fmt.Fprintln(stderr, err)
		if err == errNoPlace {
			return exitConfig
		}
		return exitFailed
	}
	if journal != nil {
		defer journal.Close()
		g.UseJournal(journal)
		defer atLast(ctx, func(limit context.Context) { g.Close(limit) }) // where Serve does not come to it
	}
	endAudit, err := useAudit(ctx, g, settings.Audit, standardError, records)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	defer endAudit()
	defer useTracing(ctx, g, parts.Tracing, records)()
	callers, management, err := listen(settings)
	if err != nil {
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		if _, passed := err.(passedError); passed {
			return exitConfig
		}
		return exitFailed
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tellReady(stdout, settings.Listener.TLSCertFile != "", callers.Addr(), management.Addr())
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go g.Watch(watching, source, hangup)
	if err := g.Serve(ctx, callers, management); err != nil {
		fmt.Fprintln(stderr, "atlas-gateway:", err)
		return exitFailed
	}
	return exitOK
}

// tellReady prints the line that says where the gateway listens.
func tellReady(stdout io.Writer, secure bool, callers, management net.Addr) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	json.NewEncoder(stdout).Encode(map[string]string{
		"listener":   scheme + callers.String(),
		"management": "http://" + management.String(),
	})
}

// tuneCollector makes Go collect garbage less often. By default Go collects when the heap is
// twice as large as the data in use, and here when it is five times as large. A gateway has so little data in use that this would be every
// few hundred requests. Near the memory limit, Go collects more often again. GOGC and GOMEMLIMIT
// in the environment have precedence.
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

// newLog returns the log that settings describe. Nobody who writes to it waits for standard error.
func newLog(settings config.Log, stderr io.Writer) *observe.Queue {
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.Level)); err != nil {
		panic(err) // config.Load allows the names of levels only
	}
	options := &slog.HandlerOptions{Level: level}
	return observe.NewQueue(stderr, func(w io.Writer) slog.Handler {
		if settings.Format == "text" {
			return slog.NewTextHandler(w, options)
		}
		return slog.NewJSONHandler(w, options)
	})
}

// lastWords is how long the end of the program waits for the log to be written, and for the journal
// to be left.
const lastWords = 500 * time.Millisecond

// atLast calls what waits at the end of the program.
func atLast(ctx context.Context, wait func(limit context.Context)) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	wait(limit)
}

// strayLog makes records of what libraries write to the standard logger, up to the first
// quotation mark: what they quote may come from anywhere, and repeat a secret.
type strayLog struct{ records *slog.Logger }

func (s strayLog) Write(line []byte) (int, error) {
	message, _, _ := strings.Cut(strings.TrimSpace(string(line)), `"`)
	s.records.Warn("library", "message", message)
	return len(line), nil
}
