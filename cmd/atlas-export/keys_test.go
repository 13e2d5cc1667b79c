package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"

	"github.com/rogpeppe/go-internal/testscript"
)

// Each script runs against a gateway that it starts. The commands are those of TestScripts, and
//
//	gateway off|derived|explicit|required
//	        starts a gateway that keeps such keys, which the program then calls
//	lose COUNT
//	        loses the answers to the next COUNT creates on their way from the gateway
func TestKeyScripts(t *testing.T) {
	gatewaytest.NeedProcess(t)
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"gateway": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Value("world").(*world).keep(ts.Value("test").(testing.TB), ts, args[0])
		},
		"lose": func(ts *testscript.TestScript, _ bool, args []string) {
			n, err := strconv.Atoi(args[0])
			ts.Check(err)
			ts.Value("losing").(*losing).left.Store(int32(n))
		},
	}
	for name, command := range scriptCommands {
		commands[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/keys",
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			w := direct(tb, sim.Config{Speed: 1200, Settings: sim.Settings{ParallelExports: true}})
			env.Values["test"], env.Values["world"], env.Values["losing"] = tb, w, &losing{}
			env.Vars = append(env.Vars, w.environ(w.owner)...)
			for name, value := range map[string]string{
				"GORACE":              "atexit_sleep_ms=0",
				"HOME":                env.WorkDir,
				"ATLAS_EXPORT_CONFIG": "",
				"SNAPSHOT":            sim.OrdersSnapshot,
				"SNAPSHOT2":           sim.OrdersSnapshot2,
				"FAILING":             sim.FailingSnapshot,
				"ROLE":                sim.AWSRole,
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: commands,
	})
}

// keep starts a gateway, and makes the program call it.
func (w *world) keep(t testing.TB, ts *testscript.TestScript, keys string) {
	settings := "creates: {journal: off}\n"
	var prepare func(*gateway.Gateway)
	if keys != "off" {
		settings = "creates: {quarantine: 100ms, keys: " + keys + "}\n"
		journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
		ts.Check(err)
		t.Cleanup(func() { journal.Close() })
		prepare = func(g *gateway.Gateway) { g.UseJournal(journal) }
	}
	grants := `[{operations: [manage], groups: ["*"]}]`
	owner, other := gatewaytest.Issue(t, "owner", grants), gatewaytest.Issue(t, "other", grants)
	g := gatewaytest.StartConfig(t, gatewaytest.Config{YAML: gatewaytest.YAML(w.atlas.URL(), settings, owner, other), Prepare: prepare})
	between := httptest.NewServer(ts.Value("losing").(*losing).between(g.URL))
	t.Cleanup(between.Close)
	for name, value := range map[string]string{
		"URL":                           between.URL,
		"MONGODB_ATLAS_BASE_URL":        between.URL,
		"MONGODB_ATLAS_PUBLIC_API_KEY":  owner.Pair.ID,
		"MONGODB_ATLAS_PRIVATE_API_KEY": owner.Pair.Secret.Reveal(),
		"OTHER":                         other.Pair.ID,
		"OTHER_PRIVATE":                 other.Pair.Secret.Reveal(),
	} {
		ts.Setenv(name, value)
	}
}

// losing loses the answers to some creates.
type losing struct{ left atomic.Int32 }

// between returns what stands between the program and a gateway.
func (l *losing) between(gateway string) http.Handler {
	to, _ := url.Parse(gateway)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(response *http.Response) error {
			if response.Request.Method == http.MethodPost && response.StatusCode != http.StatusUnauthorized && l.left.Add(-1) >= 0 {
				return errors.New("lost")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) },
	}
}

// An export that was created long ago is not taken for one of the command's.
func TestOldExport(t *testing.T) {
	t.Parallel()
	w := direct(t, sim.Config{})
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	g := gatewaytest.StartConfig(t, gatewaytest.Config{YAML: gatewaytest.YAML(w.atlas.URL(), ""), Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) }})
	w.url, w.owner = g.URL, key{}
	bucket, export := w.prepare(t)
	var stdout, stderr strings.Builder
	a := &app{env: w.environ(w.owner), stdin: strings.NewReader(""), stdout: &output{w: &stdout}, stderr: &stderr, now: func() time.Time { return time.Now().Add(time.Hour) }}
	status := a.run(t.Context(), []string{"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", bucket, "--keeps-keys", "derived", "-o", "name"})
	if status != exitOK || stdout.String() != "export/"+export+"\n" || !regexp.MustCompile(`^the export `+export+` was created before, at 20[0-9TZ:-]+, and is Queued; nothing was created\n$`).MatchString(stderr.String()) {
		t.Errorf("exit status %d, %q, %q", status, &stdout, &stderr)
	}
}
