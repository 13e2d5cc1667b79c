package atlas_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
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

// A credential that two entries name by the same place, for different groups, is one: it has one
// token and is tried once.
func TestOnePlaceIsOneCredential(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	some, all := account(sim.ClientID, sim.ClientSecret), account(sim.ClientID, sim.ClientSecret)
	some.Groups, all.Name = []string{group}, "upstream.credentials[1]"
	p := newPool(t)
	u := use(t, p, configure(server.URL(), some, all))
	must(t, u, read(t))
	other := read(t)
	other.Group = sim.EmptyGroupID
	other.Path = strings.Replace(other.Path, group, sim.EmptyGroupID, 1)
	must(t, u, other)
	if n := server.Counts(); n.ByOperation["token"] != 1 || n.Requests != 3 {
		t.Errorf("%+v", n)
	}
	if states := p.Credentials(); len(states) != 2 || states[0].Name != some.Name || states[1].Name != all.Name || states[1].ID != sim.ClientID {
		t.Errorf("%+v", states)
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
			gatewaytest.Receive(t, "the slow request at Atlas", arrived)
			must(t, first, read(t)) // on a connection beside the one in use
			change(&c, tell(t, upstream.URL, make(chan struct{}, 8)))
			second := use(t, p, c)
			gatewaytest.Receive(t, "the end of the unused connection", ended)
			must(t, second, read(t))
			select {
			case <-ended:
				t.Error("the connection of a request under way was closed")
			case err := <-answered:
				t.Errorf("the request under way ended: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			close(proceed)
			if err := gatewaytest.Receive(t, "the slow answer", answered); err != nil {
				t.Errorf("the request under way: %v", err)
			}
			gatewaytest.Receive(t, "the end of the used connection", ended)
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

// CloseIdleConnections closes the connections in force that no request uses.
func TestCloseIdleConnections(t *testing.T) {
	ended := make(chan struct{}, 8)
	p := atlas.NewPool(func(string, int, time.Duration) {}, func(atlas.CredentialState) {})
	p.CloseIdleConnections() // of nothing
	u := use(t, p, configure(tell(t, answering(t, gatewaytest.JSON(http.StatusOK, list)).URL, ended)))
	must(t, u, read(t))
	p.CloseIdleConnections()
	gatewaytest.Receive(t, "the end of the connection", ended)
	must(t, u, read(t))
	p.CloseIdleConnections()
	gatewaytest.Receive(t, "the end of the next connection", ended)
}

// A configuration without a proper origin is refused.
func TestUpstreamRefuses(t *testing.T) {
	for _, origin := range []string{"", "cloud.mongodb.com", "ftp://127.0.0.1", "http://%zz"} {
		if _, err := newPool(t).Upstream(configure(origin)); err == nil {
			t.Errorf("%q was accepted", origin)
		}
	}
}
