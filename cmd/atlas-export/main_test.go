package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the program if it runs under the name of the program, or if a test sets the
// variable.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ATLAS_EXPORT") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"atlas-export": main})
}

// unknownID is an id that nothing has.
const unknownID = "64f0c1a2b3d4e5f60718ffff"

// world is a simulated Atlas, which the program calls directly or through a gateway.
type world struct {
	atlas         *sim.Server
	url           string
	owner, reader key // of Atlas or of the gateway; the reader may only read, and only sim.GroupID

	renew func() // puts another gateway in the place of one that has seen Atlas fail, and may send less
}

type key struct{ public, private string }

// ways runs a test against a simulated Atlas and against a gateway in front of one.
func ways(t *testing.T, config sim.Config, test func(t *testing.T, w *world)) {
	t.Run("atlas", func(t *testing.T) { test(t, direct(t, config)) })
	t.Run("gateway", func(t *testing.T) { test(t, throughGateway(t, config)) })
}

func direct(t testing.TB, config sim.Config) *world {
	atlas := sim.Start(t, config)
	return &world{atlas, atlas.URL(), key{sim.PublicKey, sim.PrivateKey}, key{sim.ReadOnlyPublicKey, sim.PrivateKey}, func() {}}
}

func throughGateway(t testing.TB, config sim.Config) *world {
	t.Helper()
	w := &world{atlas: sim.Start(t, config)}
	owner := gatewaytest.Issue(t, "owner", `[{operations: [manage], groups: ["*"]}]`)
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: [`+sim.GroupID+`]}]`)
	w.owner, w.reader = key{owner.Pair.ID, owner.Pair.Secret.Reveal()}, key{reader.Pair.ID, reader.Pair.Secret.Reveal()}
	// The program repeats reads, and this gateway does not.
	w.renew = func() { w.url = gatewaytest.StartFor(t, w.atlas.URL(), "budget: {attempts: 1}", owner, reader).URL }
	w.renew()
	return w
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// environ returns an environment in which the program calls Atlas with a key.
func (w *world) environ(k key) []string {
	return []string{
		"ATLAS_EXPORT_CONFIG=" + os.DevNull,
		"MONGODB_ATLAS_BASE_URL=" + w.url,
		"MONGODB_ATLAS_PUBLIC_API_KEY=" + k.public,
		"MONGODB_ATLAS_PRIVATE_API_KEY=" + k.private,
		"MONGODB_ATLAS_PROJECT_ID=" + sim.GroupID,
	}
}

// result is the result of a run of the program.
type result struct {
	Status         int
	Stdout, Stderr string
}

// run runs the program with a key. The private key must not be in the output.
func (w *world) run(t testing.TB, k key, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, w.environ(k), strings.NewReader(""), &stdout, &stderr)
	if k.private != "" && strings.Contains(stdout.String()+stderr.String(), k.private) {
		t.Errorf("%q: the private key is in the output", args)
	}
	return result{status, stdout.String(), stderr.String()}
}

// must runs the program as the owner and returns its output. It fails the test if the program
// fails.
func (w *world) must(t testing.TB, args ...string) string {
	t.Helper()
	r := w.run(t, w.owner, args...)
	if r.Status != exitOK || r.Stderr != "" {
		t.Fatalf("%q: exit status %d: %s", args, r.Status, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Each script runs against the simulated Atlas and against a gateway. Those in testdata/local,
// which are about the command line and its configuration, run only against the simulated Atlas.
//
//	exits STATUS PROGRAM ARGUMENT...
//	        runs a program that must end with the status
//	capture NAME
//	        sets a variable to the output of the last program
//	faults [OPERATION:]KIND...
//	        sets the faults of Atlas
//	prints FILE
//	        compares the output of the last program, except for new ids, times and durations
//	atlas-received OPERATION COUNT
//	        compares how many signed requests of the operation there were
//	terminal STATUS PROGRAM ARGUMENT...
//	        is exits on a terminal of 80 columns; the file screen has what the terminal shows in
//	        the end, and frames has each state of the line that is redrawn
func TestScripts(t *testing.T) {
	gatewaytest.NeedProcess(t)
	for name, way := range map[string]struct {
		start   func(testing.TB, sim.Config) *world
		scripts string
	}{
		"local":   {direct, "local"},
		"atlas":   {direct, "script"},
		"gateway": {throughGateway, "script"},
	} {
		t.Run(name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: filepath.Join("testdata", way.scripts),
				Setup: func(env *testscript.Env) error {
					// At this speed an export takes 0.6 s.
					tb := env.T().(testing.TB)
					w := way.start(tb, sim.Config{Speed: 1200})
					env.Values["test"], env.Values["world"] = tb, w
					env.Vars = append(env.Vars, w.environ(w.owner)...)
					for name, value := range map[string]string{
						"GORACE":              "atexit_sleep_ms=0", // otherwise each process ends a second later
						"HOME":                filepath.Join(env.WorkDir, "home"),
						"ATLAS_EXPORT_CONFIG": "",
						"URL":                 w.url,
						"GROUP":               sim.GroupID,
						"UNKNOWN":             unknownID,
						"PUBLIC":              w.owner.public,
						"PRIVATE":             w.owner.private,
						"READER":              w.reader.public,
						"READER_PRIVATE":      w.reader.private,
						"SNAPSHOT":            sim.OrdersSnapshot,
						"SNAPSHOT2":           sim.OrdersSnapshot2,
						"FAILING":             sim.FailingSnapshot,
						"EVENTS":              sim.EventsSnapshot,
						"LATEST":              sim.LatestSnapshot,
						"LATEST_EVENTS":       sim.LatestEvents,
						"ROLE":                sim.AWSRole,
						"AZURE_ROLE":          sim.AzureRole,
					} {
						env.Setenv(name, value)
					}
					return errors.Join(os.Mkdir(env.Getenv("HOME"), 0o700),
						os.WriteFile(filepath.Join(env.WorkDir, "secret"), []byte(w.owner.private+"\n"), 0o600))
				},
				Cmds: scriptCommands,
			})
		})
	}
}

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits":          exits,
	"capture":        capture,
	"prints":         prints,
	"faults":         faults,
	"atlas-received": received,
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

var (
	anyID   = regexp.MustCompile(`\b[0-9a-f]{24}\b`)
	anyTime = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	anySpan = regexp.MustCompile(`\b[0-9]+s\b`)
	anyPort = regexp.MustCompile(`\b127\.0\.0\.1:\d+\b`)
	anyTail = regexp.MustCompile(`/\d{10}\b`) // the end of a prefix: when the job was created
)

// mask replaces what differs between runs.
func mask(text string) string {
	text = anyID.ReplaceAllStringFunc(text, func(id string) string {
		switch id {
		case sim.OrgID, sim.GroupID, sim.OrdersSnapshot, sim.OrdersSnapshot2, sim.FailingSnapshot, sim.EventsSnapshot, sim.AWSRole, sim.AzureRole, "65a9d2f4f20b4c7788990003", unknownID:
			return id
		}
		return "(id)"
	})
	text = anyTime.ReplaceAllString(text, "(time)")
	text = anySpan.ReplaceAllString(text, "(span)")
	text = anyPort.ReplaceAllString(text, "127.0.0.1:(port)")
	return anyTail.ReplaceAllString(text, "/(epoch)")
}

func prints(ts *testscript.TestScript, _ bool, args []string) {
	want := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	if diff := cmp.Diff(want, mask(ts.ReadFile("stdout"))); diff != "" {
		ts.Fatalf("-want +got:\n%s", diff)
	}
}

func faults(ts *testscript.TestScript, _ bool, args []string) {
	var list []sim.Fault
	for _, kind := range args {
		operation, kind, _ := strings.Cut(kind, ":")
		list = append(list, sim.Fault{Kind: sim.FaultKind(kind), Operation: operation})
	}
	ts.Check(ts.Value("world").(*world).atlas.SetFaults(list))
}

func received(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, request := range ts.Value("world").(*world).atlas.Requests(0) {
		if request.Operation == args[0] && request.Caller != "" {
			n++
		}
	}
	if strconv.Itoa(n) != args[1] {
		ts.Fatalf("Atlas received %d requests of %s, want %s", n, args[0], args[1])
	}
}
