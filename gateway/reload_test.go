package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// current reports whether the newest configuration is in force, as the metrics tell it.
func current(t testing.TB, g *gatewaytest.Gateway) bool {
	t.Helper()
	return strings.Contains(g.Metrics(t), "\natlas_gateway_last_reload_successful 1\n")
}

// reloaded fails the test unless the record of a reload says that it was done.
func reloaded(t testing.TB, record string) {
	t.Helper()
	if !strings.Contains(record, "the configuration was reloaded") {
		t.Error(record)
	}
}

// may fails the test unless a list is answered with a status to a caller.
func may(t testing.TB, g *gatewaytest.Gateway, who *gatewaytest.Caller, want int) {
	t.Helper()
	if got := g.Send(t, "GET", v2Exports, as(who.Bearer()), ""); got.Status != want {
		t.Errorf("%s: %d %s, want %d", who.Name, got.Status, got.Body, want)
	}
}

// A configuration with a mistake is refused as a whole: the one before stays.
func TestReloadRefuses(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly, weekly := gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "weekly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	may(t, g, nightly, 200)
	may(t, g, weekly, 401)
	with := func(settings string) string { return gatewaytest.YAML(atlas.URL(), settings, weekly) }
	for _, test := range []struct{ name, yaml, want string }{
		{"not YAML", "a: [", ".yaml:1"},
		{"an unknown key", with("limit: {}"), ".yaml:1: limit: unknown key; did you mean limits?"},
		{"a bad grant", strings.Replace(with(""), "manage", "mange", 1), ".grants[0].operations[0]: "},
		{"an unknown key of a caller", with("") + "\n    grant: []", "unknown key"},
		{"another address", with("listener: {address: '127.0.0.1:1'}"), ".yaml:1: listener.address: can't be changed without a restart"},
		{"another address for operators", with("management: {address: '127.0.0.1:1'}"), ".yaml:1: management.address: can't be changed without a restart"},
		{"another bound of headers", with("limits: {request_header: 1000}"), ".yaml:1: limits.request_header: can't"},
		{"another bound of connections", with("limits: {connections: 7}"), ".yaml:1: limits.connections: can't"},
		{"another timeout", with("timeouts: {upstream: 7s}"), ".yaml:1: timeouts.upstream: can't"},
		{"another log", with("log: {level: debug}"), ".yaml:1: log.level: can't"},
	} {
		record := g.Rewrite(t, test.yaml)
		if !strings.Contains(record, "refused; the one before stays") || !strings.Contains(record, test.want) {
			t.Errorf("%s: %s, want %s", test.name, record, test.want)
		}
		if current(t, g) {
			t.Errorf("%s: the metrics don't tell", test.name)
		}
		may(t, g, nightly, 200)
		may(t, g, weekly, 401)
	}
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", nightly, weekly)))
	if !current(t, g) {
		t.Error("the metrics don't tell")
	}
	may(t, g, nightly, 200)
	may(t, g, weekly, 200)
}

// A new configuration takes the place of the one before: callers, limits, the public URL and
// Atlas.
func TestReload(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly, weekly := gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "weekly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	may(t, g, nightly, 200)
	challenges := atlas.Counts().Challenges

	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", nightly, weekly)))
	may(t, g, nightly, 200)
	may(t, g, weekly, 200)
	if got := g.Send(t, "GET", v2Exports, as(weekly.Bearer()), ""); !strings.Contains(got.Body, `"href":"`+g.URL+`/`) {
		t.Errorf("links after a reload: %s", got.Body)
	}
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "limits: {in_flight: 7, request_values: 3}\nlistener: {public_url: 'https://gateway.example.com'}", weekly)))
	may(t, g, nightly, 401)
	may(t, g, weekly, 200)
	if got := g.Send(t, "POST", v2Exports, as(weekly.Bearer()), export[:len(export)-1]+`,"customData":[]}`); got.Status != 400 {
		t.Errorf("with a new limit: %d %s", got.Status, got.Body)
	}
	if got := g.Send(t, "GET", v2Exports, as(weekly.Bearer()), ""); !strings.Contains(got.Body, `"href":"https://gateway.example.com/`) {
		t.Errorf("with a new public URL: %s", got.Body)
	}
	if n := atlas.Counts().Challenges; n != challenges {
		t.Errorf("%d challenges more, although nothing about Atlas has changed", n-challenges)
	}

	// All requests go to another Atlas, and none to the one before.
	before, other := atlas.Counts().Requests, sim.Start(t, sim.Config{})
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(other.URL(), "", weekly)))
	may(t, g, weekly, 200)
	if n := atlas.Counts().Requests - before; n != 0 || other.Counts().Requests != 2 {
		t.Errorf("%d requests at the old Atlas, %d at the new one", n, other.Counts().Requests)
	}
}

// What the gateway remembers of callers outlives a reload: Digest credentials are good once.
func TestReloadKeepsReplays(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	challenge, err := icholy.ParseChallenge(g.Send(t, "GET", v2Exports, readHeader, "").Header.Get("WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	get := func(count int) int {
		t.Helper()
		credential, err := icholy.Digest(challenge, icholy.Options{Method: "GET", URI: v2Exports, Count: count, Cnonce: "0a4f113b", Username: nightly.Pair.ID, Password: nightly.Pair.Secret.Reveal()})
		if err != nil {
			t.Fatal(err)
		}
		return g.Send(t, "GET", v2Exports, as(credential.String()), "").Status
	}
	if status := get(1); status != 200 {
		t.Fatal(status)
	}
	reloaded(t, g.Reload(t))
	if status := get(1); status != 401 {
		t.Errorf("replayed: %d", status)
	}
	if status := get(2); status != 200 {
		t.Errorf("with the next count, after a reload without a signing key in a file: %d", status)
	}
}

// Connections that a reload replaces are closed once no request uses them, long before they time
// out.
func TestReloadClosesConnections(t *testing.T) {
	closed := make(chan struct{}, 2) // the end of the test closes the second connection
	listener := gatewaytest.Serve(t, func(conn net.Conn) {
		for reader := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(reader); err != nil {
				closed <- struct{}{}
				return
			}
			io.WriteString(conn, gatewaytest.JSON(200, job))
		}
	})
	configured := func(connections int) string {
		return gatewaytest.YAML(fmt.Sprintf("http://%s\n  max_connections: %d", listener.Addr(), connections), "")
	}
	g := gatewaytest.Start(t, configured(2))
	get := func() {
		t.Helper()
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
	}
	get()
	reloaded(t, g.Rewrite(t, configured(3)))
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open")
	}
	get()
}

// A Config that a program has built is reloaded as well, and the error says what is wrong.
func TestReloadOfAConfig(t *testing.T) {
	settings := config.Config{
		Upstream: config.Upstream{Credentials: []config.CredentialSource{{PublicKeyFile: "config/testdata/key", PrivateKeyFile: "config/testdata/key"}}},
		Callers:  config.Callers{Anonymous: true},
	}
	parts, err := config.Build(settings)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(parts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(parts); err != nil {
		t.Error(err)
	}
	settings.Timeouts.Idle = time.Hour
	if parts, err = config.Build(settings); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(parts); err == nil || !strings.Contains(err.Error(), "timeouts.idle: can't be changed") {
		t.Error(err)
	}
	settings.Responses.Check = "loose"
	if _, err := config.Build(settings); err == nil || !strings.Contains(err.Error(), "responses.check: ") {
		t.Error(err)
	}
}

// A request that is under way during a reload still takes its place.
func TestReloadKeepsPlaces(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Second), Count: 1}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "limits: {in_flight: 1}")
	first := make(chan int)
	go func() { first <- g.Send(t, "GET", v2Exports, readHeader, "").Status }()
	gatewaytest.WaitFor(t, "the first request", func() bool { return len(atlas.Requests(0)) > 0 || atlas.Counts().Connections > 0 })
	reloaded(t, g.Reload(t))
	if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 503 {
		t.Errorf("beside it: %d %s", got.Status, got.Body)
	}
	if status := gatewaytest.Receive(t, "the first answer", first); status != 200 {
		t.Errorf("the first request: %d", status)
	}
}
