package atlas_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A failure is an upstream, and what an Error says of a read and of a create that it gets. A
// deletion gets the error of the create, or none where a read gets none: it too goes ahead without
// a credential.
type failure struct {
	config       func(t *testing.T) atlas.Config
	read, create *atlas.Error // nil means that there is no error
}

// at returns a configuration for the upstream that the test starts.
func at(upstream func(t *testing.T) string, credentials ...atlas.Credential) func(t *testing.T) atlas.Config {
	return func(t *testing.T) atlas.Config { return configure(upstream(t), credentials...) }
}

// says starts an upstream that answers each signed request with the same bytes.
func says(bytes string) func(t *testing.T) string {
	return func(t *testing.T) string {
		return gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(bytes)).URL
	}
}

// asked starts an upstream that answers requests without a credential with bytes.
func asked(bytes string) func(t *testing.T) string {
	return func(t *testing.T) string {
		u := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, made)))
		u.Challenge(bytes)
		return u.URL
	}
}

// faulty starts a simulated Atlas with a fault.
func faulty(fault sim.Fault) func(t *testing.T) string {
	return func(t *testing.T) string { return sim.Start(t, sim.Config{Faults: []sim.Fault{fault}}).URL() }
}

// credentialFailures are failures of credentials and of what goes ahead of a request.
var credentialFailures = map[string]failure{
	"no credential for the group": {
		func(t *testing.T) atlas.Config {
			c := configure(says(gatewaytest.LastJSON(200, made))(t))
			c.Credentials[0].Groups = []string{"65*"}
			return c
		},
		&atlas.Error{Kind: atlas.NoCredential, Outcome: atlas.NotSent}, &atlas.Error{Kind: atlas.NoCredential, Outcome: atlas.NotSent},
	},
	"a wrong API key": {
		at(func(t *testing.T) string { return sim.Start(t, sim.Config{}).URL() }, apiKey(sim.PublicKey, "c4na7y-wrong")),
		&atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent}, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent},
	},
	"a wrong client secret": {
		at(func(t *testing.T) string { return sim.Start(t, sim.Config{}).URL() }, account(sim.ClientID, "c4na7y-wrong")),
		&atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent}, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent},
	},
	"a key that is not of the group": {
		at(says(gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+gatewaytest.Challenge))),
		&atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401}, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401},
	},
	"a challenge for Basic": {
		at(asked(gatewaytest.Refusing(`WWW-Authenticate: Basic realm="MMS Public API"`))),
		&atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401}, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401},
	},
	"a challenge for another realm": {
		func(t *testing.T) atlas.Config {
			c := configure(says(gatewaytest.LastJSON(200, made))(t))
			c.Realm = "Another API"
			return c
		},
		&atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401}, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent, Status: 401},
	},
	// A read goes ahead without a credential, so that such an answer is its own.
	"503 before a challenge":                 {at(asked(gatewaytest.LastJSON(503, "{}", "Retry-After: 7"))), nil, &atlas.Error{Kind: atlas.Unsigned, Outcome: atlas.NotSent, RetryAfter: 7 * time.Second}},
	"503 before a challenge, without a time": {at(asked(gatewaytest.LastJSON(503, "{}", "Retry-After: soon"))), nil, &atlas.Error{Kind: atlas.Unsigned, Outcome: atlas.NotSent}},
	"429 before a challenge":                 {at(faulty(sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 9, BeforeAuthentication: true})), nil, &atlas.Error{Kind: atlas.RateLimited, Outcome: atlas.NotSent, RetryAfter: 9 * time.Second}},
	"503 of the token endpoint": {
		at(faulty(sim.Fault{Kind: sim.FaultUnavailable, Operation: "token", RetryAfter: 11, BeforeAuthentication: true}), account(sim.ClientID, sim.ClientSecret)),
		&atlas.Error{Kind: atlas.Unsigned, Outcome: atlas.NotSent, RetryAfter: 11 * time.Second}, &atlas.Error{Kind: atlas.Unsigned, Outcome: atlas.NotSent, RetryAfter: 11 * time.Second},
	},
	"429 of the token endpoint": {
		at(faulty(sim.Fault{Kind: sim.FaultRateLimit, Operation: "token", RetryAfter: 11, BeforeAuthentication: true}), account(sim.ClientID, sim.ClientSecret)),
		&atlas.Error{Kind: atlas.RateLimited, Outcome: atlas.NotSent, RetryAfter: 11 * time.Second}, &atlas.Error{Kind: atlas.RateLimited, Outcome: atlas.NotSent, RetryAfter: 11 * time.Second},
	},
}

// connectionFailures are failures of connections and responses.
var connectionFailures = map[string]failure{
	"no listener": {
		at(func(t *testing.T) string { return "http://" + gatewaytest.Refused(t) }),
		&atlas.Error{Kind: atlas.Unreachable, Outcome: atlas.NotSent}, &atlas.Error{Kind: atlas.Unreachable, Outcome: atlas.NotSent},
	},
	"an end before the challenge": {
		at(faulty(sim.Fault{Kind: sim.FaultReset, BeforeAuthentication: true})),
		&atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.NotSent},
	},
	"an end before the answer": {at(says("")), &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}},
	"what is not HTTP":         {at(says("SSH-2.0-OpenSSH\r\n")), &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}},
	"a response cut short": {
		at(says("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}")),
		&atlas.Error{Kind: atlas.Truncated, Outcome: atlas.Unknown, Status: 200}, &atlas.Error{Kind: atlas.Truncated, Outcome: atlas.Unknown, Status: 200},
	},
	"chunks cut short": {
		at(says("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")),
		&atlas.Error{Kind: atlas.Truncated, Outcome: atlas.Unknown, Status: 201}, &atlas.Error{Kind: atlas.Truncated, Outcome: atlas.Unknown, Status: 201},
	},
	"a length that is too large": {
		at(says("HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n")),
		&atlas.Error{Kind: atlas.TooLarge, Outcome: atlas.Unknown, Status: 200, Limit: 4096}, &atlas.Error{Kind: atlas.TooLarge, Outcome: atlas.Unknown, Status: 200, Limit: 4096},
	},
	"chunks that are too large": {
		at(says(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n%s\r\n0\r\n\r\n", strings.Repeat("x", 4097)))),
		&atlas.Error{Kind: atlas.TooLarge, Outcome: atlas.Unknown, Status: 200, Limit: 4096}, &atlas.Error{Kind: atlas.TooLarge, Outcome: atlas.Unknown, Status: 200, Limit: 4096},
	},
	"a response of just the size": {at(says(gatewaytest.LastJSON(200, strings.Repeat("x", 4096)))), nil, nil},
}

// Of each request that fails, the Error tells why, and what is known of it.
func TestErrors(t *testing.T) {
	for _, failures := range []map[string]failure{credentialFailures, connectionFailures} {
		for name, test := range failures {
			deletion := test.create
			if test.read == nil {
				deletion = nil
			}
			for kind, want := range map[string]*atlas.Error{"a read": test.read, "a create": test.create, "a deletion": deletion} {
				t.Run(name+", to "+kind, func(t *testing.T) {
					u, r := start(t, test.config(t)), read(t)
					switch kind {
					case "a create":
						r = create(t, nil)
					case "a deletion":
						r = request(t, "deleteExportBucket")
						r.Path += "/65a9d3e1f20b4c7788990011"
					}
					if want == nil {
						if _, err := u.Send(t.Context(), r); err != nil {
							t.Error(err)
						}
						return
					}
					checkError(t, want, fail(t, t.Context(), u, r))
				})
			}
		}
	}
}

// checkError compares an Error. It must have a cause and a duration, and show no secret.
func checkError(t *testing.T, want, got *atlas.Error) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(atlas.Error{}, "Duration", "Err")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Err == nil || got.Duration <= 0 && got.Kind != atlas.NoCredential || strings.Contains(got.Error(), "c4na7y") {
		t.Errorf("%v after %v", got.Err, got.Duration)
	}
}

// Retry-After may be a date, with one digit for the day or two (RFC 9110, section 10.2.3).
func TestRetryAfterIsADate(t *testing.T) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 2 Jan 2006 15:04:05 GMT"} {
		for ahead, want := range map[time.Duration][2]time.Duration{time.Minute: {55 * time.Second, time.Minute}, -time.Hour: {}} {
			date := time.Now().Add(ahead).UTC().Format(form)
			u := start(t, configure(asked(gatewaytest.LastJSON(503, "{}", "Retry-After: "+date))(t)))
			if e := fail(t, t.Context(), u, create(t, nil)); e.Kind != atlas.Unsigned || e.RetryAfter < want[0] || e.RetryAfter > want[1] {
				t.Errorf("%s: %+v, want %v", date, e, want)
			}
		}
	}
}

// The day of a date in Retry-After has two digits, or one where Atlas writes it.
func TestRetryAfterHasADay(t *testing.T) {
	for _, date := range []string{"Fri, 01 Jan 2100 15:04:05 GMT", "Fri, 1 Jan 2100 15:04:05 GMT"} {
		u := start(t, configure(asked(gatewaytest.LastJSON(503, "{}", "Retry-After: "+date))(t)))
		if e := fail(t, t.Context(), u, create(t, nil)); e.RetryAfter < time.Hour {
			t.Errorf("%s: %v", date, e.RetryAfter)
		}
	}
}

// Nothing is known of a create whose connection ends after Atlas has refused a nonce of it: the
// create was sent again with another nonce.
func TestDisconnectedAfterANonceWasRefused(t *testing.T) {
	var sent atomic.Int64
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		switch {
		case r.Method != http.MethodPost: // confirms the credential
			return gatewaytest.JSON(http.StatusOK, list)
		case sent.Add(1) == 1:
			return gatewaytest.Refusing(`WWW-Authenticate: Digest realm="MMS Public API", nonce="another", algorithm=MD5, qop="auth"`)
		}
		return ""
	}))
	u := start(t, configure(upstream.URL))
	checkError(t, &atlas.Error{Kind: atlas.Disconnected, Outcome: atlas.Unknown}, fail(t, t.Context(), u, create(t, nil)))
	if n := sent.Load(); n != 2 {
		t.Errorf("the create was sent %d times", n)
	}
}

// A create that meets no listener was not sent, also with a nonce at hand.
func TestUnreachableWithANonce(t *testing.T) {
	upstream := answering(t, gatewaytest.LastJSON(200, list))
	u := start(t, configure(upstream.URL))
	must(t, u, read(t))
	upstream.Close()
	handed := false
	checkError(t, &atlas.Error{Kind: atlas.Unreachable, Outcome: atlas.NotSent}, fail(t, t.Context(), u, create(t, func() error { handed = true; return nil })))
	if !handed {
		t.Error("the create was not handed to the network")
	}
}

// The text of an error holds nothing that the gateway sent, which an upstream may repeat.
func TestErrorsQuoteNothing(t *testing.T) {
	var answer atomic.Value
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		return strings.ReplaceAll(answer.Load().(string), "ECHO", r.Header.Get("Authorization"))
	}))
	u := start(t, configure(upstream.URL))
	for _, bytes := range []string{"HTTP/1.1 ECHO\r\n\r\n", "ECHO\r\n\r\n", "HTTP/1.1 200 OK\r\nECHO\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: ECHO\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: ECHO\r\n\r\n"} {
		answer.Store(bytes)
		for _, r := range []*atlas.Request{read(t), create(t, nil)} {
			e := fail(t, t.Context(), u, r)
			if strings.Contains(e.Error(), "Digest") || strings.Contains(e.Error(), "username") || strings.Contains(e.Error(), `"`) {
				t.Errorf("%q: %v", bytes, e)
			}
		}
	}
}

// A create that takes too long was not sent as long as Atlas gives no challenge. After that
// nothing is known of it.
func TestTimeout(t *testing.T) {
	slow := configure(faulty(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(time.Second), BeforeAuthentication: true})(t))
	slow.Timeout = 50 * time.Millisecond
	handed := false
	u := start(t, slow)
	checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.NotSent}, fail(t, t.Context(), u, create(t, func() error { handed = true; return nil })))
	if handed {
		t.Error("Handed was called")
	}
	checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown}, fail(t, t.Context(), u, read(t)))

	upstream, _, _ := holding(t)
	hanging := configure(upstream.URL)
	hanging.Timeout = 100 * time.Millisecond
	u = start(t, hanging)
	checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown}, fail(t, t.Context(), u, create(t, func() error { handed = true; return nil })))
	if !handed || upstream.Creates.Load() != 1 {
		t.Errorf("handed: %t, %d creates", handed, upstream.Creates.Load())
	}
	checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown}, fail(t, t.Context(), u, read(t)))
}

// A change whose time is over while it waits for one of the connections was not sent, although it
// was handed over.
func TestTimeoutBeforeAConnection(t *testing.T) {
	signed := make(chan struct{}, 2) // the read is sent again at the end of the test
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if r.URL.Path == "/api/oauth/token" {
			return gatewaytest.JSON(200, `{"access_token":"c4na7y-token","expires_in":3600,"token_type":"Bearer"}`)
		}
		signed <- struct{}{}
		<-t.Context().Done()
		return ""
	}))
	c := configure(upstream.URL, account(sim.ClientID, sim.ClientSecret))
	c.MaxConnections = 1
	u := start(t, c)
	go u.Send(t.Context(), read(t)) // has the connection
	gatewaytest.Receive(t, "the read at Atlas", signed)
	for _, change := range []*atlas.Request{create(t, nil), request(t, "deleteExportBucket")} {
		handed := false
		change.Handed = func() error { handed = true; return nil }
		change.Deadline = time.Now().Add(500 * time.Millisecond)
		checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.NotSent}, fail(t, t.Context(), u, change))
		if !handed {
			t.Error("Handed was not called")
		}
	}
	if n := upstream.Total.Load(); n != 2 { // for a token, and the read
		t.Errorf("the upstream got %d requests", n)
	}
}

// A response that takes too long after its header tells its status.
func TestTimeoutWithinTheResponse(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, func(conn net.Conn, _ *http.Request) bool {
		fmt.Fprint(conn, "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf")
		conn.Read(make([]byte, 1)) // until the gateway ends the connection
		return false
	})
	c := configure(upstream.URL)
	c.Timeout = 100 * time.Millisecond
	u := start(t, c)
	for _, r := range []*atlas.Request{read(t), create(t, nil)} {
		checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown, Status: 201}, fail(t, t.Context(), u, r))
	}
}

// A request whose caller is gone ends, unless it is a create that was handed to the network.
func TestCallerIsGone(t *testing.T) {
	t.Run("before the challenge", func(t *testing.T) {
		server := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), BeforeAuthentication: true}}})
		u := start(t, configure(server.URL()))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		e := fail(t, ctx, u, create(t, func() error { t.Error("Handed was called"); return nil }))
		checkError(t, &atlas.Error{Kind: atlas.Canceled, Outcome: atlas.NotSent}, e)
		if e.Duration > 250*time.Millisecond {
			t.Errorf("the create took %v", e.Duration)
		}
		time.Sleep(400 * time.Millisecond)
		for _, r := range server.Requests(0) {
			if r.Body != "" || r.Caller != "" {
				t.Errorf("Atlas received %s", r.Raw)
			}
		}
	})
	t.Run("after a create was handed to the network", func(t *testing.T) {
		upstream, arrived, proceed := holding(t)
		u := start(t, configure(upstream.URL))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, proceed) // the watchdog
		go func() {
			<-arrived
			cancel()
			time.Sleep(50 * time.Millisecond)
			proceed()
		}()
		response, err := u.Send(ctx, create(t, nil))
		if err != nil || string(response.Body) != made || ctx.Err() == nil {
			t.Errorf("%v, %v", response, err)
		}
	})
	t.Run("when Handed is called", func(t *testing.T) {
		u := start(t, configure(answering(t, gatewaytest.LastJSON(200, made)).URL))
		ctx, cancel := context.WithCancel(t.Context())
		response, err := u.Send(ctx, create(t, func() error { cancel(); return nil }))
		if err != nil || string(response.Body) != made {
			t.Errorf("%v, %v", response, err)
		}
	})
	t.Run("during a read", func(t *testing.T) {
		upstream, arrived, _ := holding(t)
		u := start(t, configure(upstream.URL))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		e := fail(t, ctx, u, read(t))
		checkError(t, &atlas.Error{Kind: atlas.Canceled, Outcome: atlas.Unknown}, e)
	})
}
