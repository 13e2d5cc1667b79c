package atlas_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// A second configuration uses the connections, the nonces and the tokens of the first one, if
// nothing of theirs has changed.
func TestKeepKeepsSigners(t *testing.T) {
	for name, credential := range map[string]atlas.Credential{"an API key": apiKey(sim.PublicKey, sim.PrivateKey), "a service account": account(sim.ClientID, sim.ClientSecret)} {
		t.Run(name, func(t *testing.T) {
			server := sim.Start(t, sim.Config{})
			p := newPool(t)
			c := configure(server.URL(), credential)
			must(t, use(t, p, c), read(t))
			before := server.Counts()
			c.Timeout, c.MaxResponse, c.Credentials[0].Name = time.Minute, 1<<20, "upstream.credentials[7]"
			again := use(t, p, c)
			must(t, again, read(t))
			time.Sleep(20 * time.Millisecond) // a create goes out on a connection that was quiet
			must(t, again, create(t, nil))
			if n := server.Counts(); n.Requests != before.Requests+2 || n.Connections != before.Connections {
				t.Errorf("%d requests and %d connections more for 2 requests", n.Requests-before.Requests, n.Connections-before.Connections)
			}
		})
	}
}

// An Upstream that was made and not kept changes nothing for the one in force.
func TestUpstreamThatIsNotKept(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	p := newPool(t)
	inForce := use(t, p, configure(server.URL()))
	must(t, inForce, read(t))
	before := server.Counts()
	other := configure(server.URL(), apiKey("another", "c4na7y-another"))
	other.MaxConnections = 7
	if _, err := p.Upstream(other); err != nil {
		t.Fatal(err)
	}
	must(t, inForce, read(t))
	// A third configuration is compared with the one in force, not with the one that was not kept.
	must(t, use(t, p, configure(server.URL())), read(t))
	if n := server.Counts(); n.Requests != before.Requests+2 || n.Connections != before.Connections {
		t.Errorf("%d requests and %d connections more for 2 requests", n.Requests-before.Requests, n.Connections-before.Connections)
	}
}

// Connections of a configuration that another one replaces are closed, each once no request uses
// it.
func TestKeepRetiresConnections(t *testing.T) {
	authority := gatewaytest.NewAuthority(t)
	for name, change := range map[string]func(c *atlas.Config, origin string){
		"another origin":                func(c *atlas.Config, origin string) { c.Origin = origin },
		"another bound":                 func(c *atlas.Config, _ string) { c.MaxConnections++ },
		"another realm":                 func(c *atlas.Config, _ string) { c.Realm = "MMS Public API" },
		"other certificate authorities": func(c *atlas.Config, _ string) { c.Roots = authority.Pool },
	} {
		t.Run(name, func(t *testing.T) {
			ended, arrived, proceed := make(chan struct{}, 8), make(chan struct{}), make(chan struct{})
			upstream := gatewaytest.StartUpstream(t, func(conn net.Conn, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/slow") {
					close(arrived)
					<-proceed
				}
				conn.Write([]byte(gatewaytest.JSON(http.StatusOK, list)))
				return true
			})
			proxy := tell(t, upstream.URL, ended)
			p := newPool(t)
			c := configure(proxy)
			first := use(t, p, c)
			slow := read(t)
			slow.Path += "/slow"
			answered := make(chan error, 1)
			must(t, first, read(t))
			go func() {
				_, err := first.Send(t.Context(), slow)
				answered <- err
			}()
			<-arrived
			must(t, first, read(t)) // on a connection beside the one in use
			change(&c, tell(t, upstream.URL, make(chan struct{}, 8)))
			second := use(t, p, c)
			within(t, ended, "the unused connection is open")
			must(t, second, read(t))
			select {
			case <-ended:
				t.Error("the connection of a request under way was closed")
			case err := <-answered:
				t.Errorf("the request under way ended: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			close(proceed)
			if err := <-answered; err != nil {
				t.Errorf("the request under way: %v", err)
			}
			within(t, ended, "the used connection is open")
		})
	}
}

// tell starts a server that passes bytes on to an origin, and that sends a value for each
// connection that the other side ends. It returns the server's origin.
func tell(t *testing.T, origin string, ended chan<- struct{}) string {
	t.Helper()
	return "http://" + gatewaytest.Serve(t, func(conn net.Conn) {
		to, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://"))
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			buffer := make([]byte, 4096)
			for {
				n, err := to.Read(buffer)
				if err != nil {
					return
				}
				conn.Write(buffer[:n])
			}
		}()
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				ended <- struct{}{}
				return
			}
			to.Write(buffer[:n])
		}
	}).Addr().String()
}

// within fails the test if nothing arrives in time.
func within[T any](t *testing.T, from <-chan T, what string) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(10 * time.Second):
		t.Fatal(what)
	}
}

// CloseIdleConnections closes the connections in force that no request uses.
func TestCloseIdleConnections(t *testing.T) {
	ended := make(chan struct{}, 8)
	p := atlas.NewPool(func(int) {})
	p.CloseIdleConnections() // of nothing
	u := use(t, p, configure(tell(t, answering(t, gatewaytest.JSON(http.StatusOK, list)).URL, ended)))
	must(t, u, read(t))
	p.CloseIdleConnections()
	within(t, ended, "the connection is open")
	must(t, u, read(t))
	p.CloseIdleConnections()
	within(t, ended, "the next connection is open")
}

// An API key is replaced once both of its halves have changed: until then the old key signs. A
// service account is replaced with either half, and a credential of another place at once.
func TestReplacedCredentials(t *testing.T) {
	key := func(place, id, half string) atlas.Credential {
		c := apiKey(id, half)
		c.Place = place
		return c
	}
	service := func(place, id, half string) atlas.Credential {
		c := key(place, id, half)
		c.Account = true
		return c
	}
	for _, test := range []struct {
		name      string
		then, now atlas.Credential
		replaced  bool
	}{
		{"the same key", key("a", "id", "c4na7y-half"), key("a", "id", "c4na7y-half"), false},
		{"another public key", key("a", "id", "c4na7y-half"), key("a", "new", "c4na7y-half"), false},
		{"another private key", key("a", "id", "c4na7y-half"), key("a", "id", "c4na7y-new"), false},
		{"another key", key("a", "id", "c4na7y-half"), key("a", "new", "c4na7y-new"), true},
		{"half another key in another place", key("a", "id", "c4na7y-half"), key("b", "new", "c4na7y-half"), true},
		{"the same account", service("a", "id", "c4na7y-half"), service("a", "id", "c4na7y-half"), false},
		{"another client id", service("a", "id", "c4na7y-half"), service("a", "new", "c4na7y-half"), true},
		{"another client secret", service("a", "id", "c4na7y-half"), service("a", "id", "c4na7y-new"), true},
		{"an account in the place of a key", key("a", "id", "c4na7y-half"), service("a", "id", "c4na7y-half"), true},
	} {
		upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(tokens))
		p := newPool(t)
		must(t, use(t, p, configure(upstream.URL, test.then)), read(t))
		before := upstream.Total.Load()
		u := use(t, p, configure(upstream.URL, test.now))
		must(t, u, read(t))
		if more := upstream.Total.Load() - before; (more > 1) != test.replaced {
			t.Errorf("%s: %d requests after the change, replaced: %t", test.name, more, test.replaced)
		}
		if want := map[bool]string{false: test.then.ID, true: test.now.ID}[test.replaced]; !test.now.Account && !strings.Contains(upstream.Last(), `username="`+want+`"`) {
			t.Errorf("%s: signed by %s, want %s", test.name, upstream.Last(), want)
		}
	}
}

// Half a key that waits does not become the key by a further reload, and the second half
// completes it.
func TestHalfAKeyWaits(t *testing.T) {
	upstream := answering(t, gatewaytest.JSON(http.StatusOK, list))
	p := newPool(t)
	for i, test := range []struct{ id, half, want string }{
		{"old", "c4na7y-old", "old"}, {"new", "c4na7y-old", "old"}, {"new", "c4na7y-old", "old"}, {"new", "c4na7y-new", "new"},
		{"new", "c4na7y-newer", "new"}, {"newer", "c4na7y-newer", "newer"},
	} {
		must(t, use(t, p, configure(upstream.URL, apiKey(test.id, test.half))), read(t))
		if !strings.Contains(upstream.Last(), `username="`+test.want+`"`) {
			t.Errorf("configuration %d is signed by %s, want %s", i, upstream.Last(), test.want)
		}
	}
}

// A credential that Atlas refuses is read again, and the next request is signed with what is
// there then.
func TestCredentialIsReadAgain(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	for name, credential := range map[string]atlas.Credential{"an API key": apiKey(sim.PublicKey, "c4na7y-wrong"), "a service account": account(sim.ClientID, "c4na7y-wrong")} {
		right, reads := secret.New(sim.PrivateKey), 0
		if credential.Account {
			right = secret.New(sim.ClientSecret)
		}
		wrong, id := credential.Secret, credential.ID
		current, problem := wrong, error(nil)
		credential.Read = func() (string, secret.Secret, error) {
			reads++
			return id, current, problem
		}
		u := start(t, configure(server.URL(), credential))
		checkError(t, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent}, fail(t, t.Context(), u, read(t)))
		problem = errors.New("the file is gone")
		if e := fail(t, t.Context(), u, read(t)); e.Kind != atlas.CredentialRefused || !strings.HasPrefix(e.Error(), "upstream.credentials[0]: ") {
			t.Errorf("%s: %+v", name, e)
		}
		if reads == 0 {
			t.Errorf("%s was not read again", name)
		}
		current, problem = right, nil
		must(t, u, read(t))
	}
}

// A configuration without a proper origin is refused.
func TestUpstreamRefuses(t *testing.T) {
	for _, origin := range []string{"", "cloud.mongodb.com", "ftp://127.0.0.1", "http://%zz"} {
		if _, err := newPool(t).Upstream(configure(origin)); err == nil {
			t.Errorf("%q was accepted", origin)
		}
	}
}
