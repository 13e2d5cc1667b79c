package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/internal/strictyaml"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// forms are the ways in which a keyHolder shows its keys: access_token and exchanged are tokens
// that the gateway issued before, and those that begin with client show keys at the token
// endpoint.
var forms = []string{"digest", "basic", "static_token", "access_token", "jwt", "exchanged", "client_secret", "client_jwt", "client_assertion"}

// A keyHolder is a caller with an access token, on a connection of its own that stays open.
type keyHolder struct {
	*gatewaytest.Caller
	process *process
	client  http.Client
	access  string
	jwt     string // of the issuer ci
	proved  string // an access token that jwt was exchanged for
	nc      int
	nonce   *icholy.Challenge // one for all
}

// newKeyHolder returns a holder who calls from an address, or from any where it is empty.
func newKeyHolder(p *process, c *gatewaytest.Caller, jwt, from string) *keyHolder {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	return &keyHolder{Caller: c, jwt: jwt, process: p, client: http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}, Timeout: 10 * time.Second}}
}

// ask sends a request, with fields that name another address.
func (h *keyHolder) ask(t *testing.T, method, target, authorization, content string) gatewaytest.Response {
	t.Helper()
	r, err := http.NewRequest(method, h.process.Listener+target, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	r.Header.Set("X-Forwarded-For", "127.0.0.1") // no such field says where a caller is
	r.Header.Set("Forwarded", "for=127.0.0.1")
	if content != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.Response{Status: answer.StatusCode, Header: answer.Header, Body: string(body)}
}

// challenge gets the holder a nonce.
func (h *keyHolder) challenge(t *testing.T) {
	t.Helper()
	var err error
	if h.nonce, err = icholy.ParseChallenge(h.ask(t, "GET", buckets, "", "").Header.Get("WWW-Authenticate")); err != nil {
		t.Fatal(err)
	}
}

// prepare gets the holder a nonce and an access token.
func (h *keyHolder) prepare(t *testing.T) {
	t.Helper()
	h.challenge(t)
	if h.access = h.show(t, "client_secret", false).AccessToken(); h.access == "" {
		t.Fatalf("%s gets no token", h.Name)
	}
	if h.proved = h.show(t, "client_jwt", false).AccessToken(); h.proved == "" {
		t.Fatalf("%s gets no token by one of its issuer", h.Name)
	}
}

// show shows a key in one of the forms, or a wrong one.
func (h *keyHolder) show(t *testing.T, form string, wrong bool) gatewaytest.Response {
	t.Helper()
	secret := func(right string) string {
		if wrong {
			return right[:len(right)-1] + "_"
		}
		return right
	}
	switch form {
	case "digest":
		h.nc++
		credential, err := icholy.Digest(h.nonce, icholy.Options{Method: "GET", URI: buckets, Count: h.nc, Username: h.Pair.ID, Password: secret(h.Pair.Secret.Reveal())})
		if err != nil {
			t.Fatal(err)
		}
		return h.ask(t, "GET", buckets, credential.String(), "")
	case "basic":
		return h.ask(t, "GET", buckets, gatewaytest.Basic(h.Pair.ID, secret(h.Pair.Secret.Reveal())), "")
	case "static_token":
		return h.ask(t, "GET", buckets, "Bearer "+secret(h.Token.Secret.Reveal()), "")
	case "access_token":
		return h.ask(t, "GET", buckets, "Bearer "+secret(h.access), "")
	case "jwt":
		return h.ask(t, "GET", buckets, "Bearer "+secret(h.jwt), "")
	case "exchanged":
		return h.ask(t, "GET", buckets, "Bearer "+secret(h.proved), "")
	case "client_jwt":
		return h.ask(t, "POST", "/api/oauth/token", gatewaytest.Basic(exchanges(h.Name), secret(h.jwt)), grant)
	case "client_assertion":
		return h.ask(t, "POST", "/api/oauth/token", "", grant+"&client_id="+exchanges(h.Name)+"&client_assertion="+secret(h.jwt)+
			"&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	return h.ask(t, "POST", "/api/oauth/token", gatewaytest.Basic(h.Account.ID, secret(h.Account.Secret.Reveal())), grant)
}

// key returns the key of a form as log and list name it.
func (h *keyHolder) key(form string) string {
	switch form {
	case "digest", "basic":
		return h.Pair.ID
	case "static_token":
		return h.Entry.Tokens[0].SHA256[:8]
	case "jwt":
		return "ci:" + h.Name
	case "exchanged", "client_jwt", "client_assertion":
		return exchanges(h.Name)
	}
	return h.Account.ID
}

var freshNonce = regexp.MustCompile(`nonce="[^"]*"`)

// shape is all that an answer tells, without what differs from answer to answer.
func shape(r gatewaytest.Response) string {
	h := r.Header.Clone()
	h.Del("Date")
	h.Del("Gateway-Request-Id")
	return fmt.Sprint(r.Status, freshNonce.ReplaceAllString(fmt.Sprint(h), ""), r.Body)
}

// checkRefused shows a key in each form, and fails the test unless each is refused as a wrong one
// is, for a reason that only the log and the metrics tell.
func (h *keyHolder) checkRefused(t *testing.T, what, reason string) {
	t.Helper()
	for _, form := range forms {
		if (form == "access_token" || form == "exchanged") && h.access == "" {
			continue
		}
		wrong := h.show(t, form, true)
		got := h.show(t, form, false)
		if got.Status != 401 || shape(got) != shape(wrong) {
			t.Errorf("%s, %s: answered\n%s\nand a wrong one\n%s", what, form, shape(got), shape(wrong))
		}
		var record struct{ Reason, Tried, Caller string }
		gatewaytest.WaitFor(t, "the record", func() bool {
			_, line, _ := strings.Cut(h.process.stderr.String(), `"id":"`+got.Header.Get("Gateway-Request-Id")+`",`)
			line, _, whole := strings.Cut(line, "\n")
			return whole && json.Unmarshal([]byte("{"+line), &record) == nil
		})
		if record.Reason != reason || record.Tried != h.key(form) || record.Caller != "" {
			t.Errorf("%s, %s: the record is %+v, want %s of %s", what, form, record, reason, h.key(form))
		}
	}
}

// checkGood shows a key in each form, or in some, and fails the test unless each is accepted.
func (h *keyHolder) checkGood(t *testing.T, what string, some ...string) {
	t.Helper()
	if some == nil {
		some = forms
	}
	for _, form := range some {
		if got := h.show(t, form, false); got.Status != 200 {
			t.Errorf("%s, %s: %d %s", what, form, got.Status, got.Body)
		}
	}
}

// reload replaces the configuration of the program but for its first lines, and waits for it to be
// in force.
func (p *process) reload(t *testing.T, before, after string) {
	t.Helper()
	from := p.stderr.Len()
	old := readFile(t, p.file)
	if strings.Count(old, before) != 1 {
		t.Fatalf("the configuration does not hold %q once", before)
	}
	gatewaytest.ReplaceFile(t, p.file, strings.Replace(old, before, after, 1))
	p.command.Process.Signal(syscall.SIGHUP)
	gatewaytest.WaitFor(t, "the reload", func() bool {
		return strings.Contains(p.stderr.String()[from:], "the configuration was reloaded")
	})
}

// allGrants allow everything.
const allGrants = `[{operations: [manage], groups: ["*"]}]`

// listOf begins a list of callers whose keys may be shown at the token endpoint as often as a test
// does, with more settings of callers, and an issuer.
func listOf(i *issuertest.Issuer, settings string) string {
	return "callers:\n" + settings + "  attempts: {per_client: 1000, overall: 1000}\n  issuers: [{name: ci, issuer: '" + i.URL +
		"', audiences: ['" + issuertest.Audience + "'], algorithms: [RS256]}]\n  list:\n"
}

// proves gives a caller, whose keys have a validity, an identity and a service account without a
// secret.
func proves(e *callers.Entry, v callers.Validity) {
	e.Identities = []callers.Identity{{Issuer: "ci", Claims: map[string]strictyaml.Texts{"sub": {e.Name}}, Validity: v}}
	e.ServiceAccounts = append(e.ServiceAccounts, callers.ServiceAccount{ClientID: exchanges(e.Name), Validity: v})
}

// exchanges returns the client id of a caller's service account without a secret.
func exchanges(caller string) string { return "agw_id_" + caller }

// Keys that have ended or are disabled are refused from the moment on at which a reload says so:
// on connections that are open, with nonces and tokens that were issued before. The caller learns
// nothing.
func TestKeysThatAreOut(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	end := func(d time.Duration) callers.Validity {
		return callers.Validity{NotAfter: time.Now().Add(d).UTC().Format(time.RFC3339)}
	}
	tests := []struct {
		name     string
		validity callers.Validity
		disabled bool // the whole caller
		reason   string
	}{
		{"ended", end(-time.Second), false, "key_expired"},
		{"ended-long-ago", callers.Validity{NotAfter: "1999-12-31T23:59:59-12:00"}, false, "key_expired"},
		{"disabled", callers.Validity{Disabled: true}, false, "key_disabled"},
		{"caller-disabled", callers.Validity{}, true, "key_disabled"},
		{"disabled-and-ended", callers.Validity{Disabled: true, NotAfter: "1999-12-31T23:59:59Z"}, true, "key_disabled"},
		{"ends-later", end(time.Hour), false, ""},
		{"untouched", callers.Validity{}, false, ""},
	}
	issuer := issuertest.Start(t)
	before := listOf(issuer, "")
	after := before
	var issued []*gatewaytest.Caller
	for _, test := range tests {
		c := gatewaytest.Issue(t, test.name, allGrants)
		issued = append(issued, c)
		before += c.Change(t, callers.Validity{}, func(e *callers.Entry) { proves(e, callers.Validity{}) }).YAML
		after += c.Change(t, test.validity, func(e *callers.Entry) {
			e.Disabled = test.disabled
			proves(e, test.validity)
		}).YAML
	}
	p := serveFor(t, atlas.URL(), before)
	holders := make([]*keyHolder, len(tests))
	for i, test := range tests {
		holders[i] = newKeyHolder(p, issued[i], issuer.Token(t, test.name, nil), "")
		defer holders[i].client.CloseIdleConnections()
		holders[i].prepare(t)
		holders[i].checkGood(t, test.name)
	}
	p.reload(t, before, after)
	for i, test := range tests {
		if test.reason == "" {
			holders[i].checkGood(t, test.name)
			continue
		}
		sent := atlas.Counts().Requests
		holders[i].checkRefused(t, test.name, test.reason)
		if n := atlas.Counts().Requests; n != sent {
			t.Errorf("%s: Atlas received %d requests", test.name, n-sent)
		}
	}
	checkCounted(t, p)
	if log := p.stderr.String(); strings.Count(log, ".not_after: has passed: the key of ended is refused") != 5 || strings.Contains(log, "the key of ends-later") {
		t.Errorf("the log does not warn of each key that has ended: %s", log)
	}
	p.reload(t, after, before)
	for i, test := range tests {
		holders[i].checkGood(t, test.name+", enabled again")
	}
	p.stop(t)
}

// checkCounted fails the test unless the metrics count the refusals of TestKeysThatAreOut.
func checkCounted(t *testing.T, p *process) {
	t.Helper()
	_, metrics := get(t, p.Management+"/metrics")
	for _, want := range []string{
		`atlas_gateway_refusals_total{kind="unauthorized",operation="listExportBuckets",reason="key_expired"} 12`,
		`atlas_gateway_refusals_total{kind="unauthorized",operation="listExportBuckets",reason="key_disabled"} 18`,
		`atlas_gateway_refusals_total{kind="oauth",operation="none",reason="key_expired"} 6`,
		`atlas_gateway_refusals_total{kind="oauth",operation="none",reason="key_disabled"} 9`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// A caller with source_networks is let in from these only, whatever fields say where it is, over
// IPv4 and IPv6. Two programs share a signing key, so that each accepts the other's nonces and
// tokens.
func TestSourceNetworks(t *testing.T) {
	t.Parallel()
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		probe.Close()
	} else if os.Getenv("CI") == "" {
		t.Skip("it needs IPv6 on loopback:", err)
	}
	atlas := sim.Start(t, sim.Config{})
	tests := []struct{ name, networks, from string }{ // from which of the addresses
		{"anywhere", "", "127.0.0.1 127.0.0.7 ::1"},
		{"v4", "127.0.0.1/32", "127.0.0.1"},
		{"v4-network", "127.0.0.4/30", "127.0.0.7"},
		{"v4-in-v6", "::ffff:127.0.0.1/128", "127.0.0.1"},
		{"all-of-v4", "0.0.0.0/0", "127.0.0.1 127.0.0.7"},
		{"v6", "::1/128", "::1"},
		{"all-of-v6", "::/0", "::1"},
		{"two", "127.0.0.7/32 ::1/128", "127.0.0.7 ::1"},
		{"elsewhere", "10.0.0.0/8 2001:db8::/32", ""},
	}
	issuer := issuertest.Start(t)
	list := listOf(issuer, "  signing_key_file: "+gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "signing.key"), callers.NewSigningKey().Reveal())+"\n")
	var issued []*gatewaytest.Caller
	for _, test := range tests {
		c := gatewaytest.Issue(t, test.name, allGrants)
		issued = append(issued, c.Change(t, callers.Validity{}, func(e *callers.Entry) {
			e.SourceNetworks = strings.Fields(test.networks)
			proves(e, callers.Validity{})
		}))
		list += issued[len(issued)-1].YAML
	}
	v4, v6 := serveFor(t, atlas.URL(), list), serveFor(t, atlas.URL(), list, "ATLAS_GATEWAY_LISTENER_ADDRESS=[::1]:0")
	at := map[string]*process{"127.0.0.1": v4, "127.0.0.7": v4, "::1": v6}
	for i, test := range tests {
		access, proved, jwt := "", "", issuer.Token(t, test.name, nil)
		for _, from := range strings.Fields(test.from) {
			h := newKeyHolder(at[from], issued[i], jwt, from)
			h.prepare(t)
			h.checkGood(t, test.name+" from "+from)
			h.client.CloseIdleConnections()
			access, proved = h.access, h.proved // which are shown from elsewhere too
		}
		for from, p := range at {
			if strings.Contains(" "+test.from+" ", " "+from+" ") {
				continue
			}
			h := newKeyHolder(p, issued[i], jwt, from)
			h.challenge(t)
			h.access, h.proved = access, proved
			sent := atlas.Counts().Requests
			h.checkRefused(t, test.name+" from "+from, "source_network")
			h.client.CloseIdleConnections()
			if n := atlas.Counts().Requests; n != sent {
				t.Errorf("%s from %s: Atlas received %d requests", test.name, from, n-sent)
			}
		}
	}
	v4.stop(t)
	v6.stop(t)
}

// When a key was last used outlives the process, where a journal keeps it. The list names keys as
// the log does, and no secret of theirs.
func TestLastUseAfterARestart(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	issuer := issuertest.Start(t)
	c := gatewaytest.Issue(t, "nightly", allGrants).Change(t, callers.Validity{}, func(e *callers.Entry) { proves(e, callers.Validity{}) })
	file := filepath.Join(t.TempDir(), "creates.db")
	started := time.Now().Truncate(time.Second)
	first := map[string]gateway.ListedKey{}
	for run := range 2 {
		p := serveFor(t, atlas.URL(), listOf(issuer, "")+c.YAML+"creates: {file: "+file+"}\n")
		h := newKeyHolder(p, c, issuer.Token(t, "nightly", nil), "")
		if run == 0 {
			h.prepare(t)
			h.show(t, "static_token", true)
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond))) // a look at the start has ended
			h.checkGood(t, "in another second", "basic", "access_token")
		}
		list := gateway.CallerList{}
		gatewaytest.WaitFor(t, "the uses of before", func() bool {
			_, body := get(t, p.Management+"/callers")
			gatewaytest.FindSecrets(t, "the list", body)
			if strings.Contains(body, c.Entry.Tokens[0].SHA256[:9]) || json.Unmarshal([]byte(body), &list) != nil {
				t.Fatal(body)
			}
			keys := list.Callers[0].Keys // the token is the last of the keys that are learnt
			return keys[0].LastUsed != nil && (run == 0 || keys[1].Since.Equal(first["static_token"].Since))
		})
		if list.UsesKept != "journal" || len(list.Callers) != 1 || list.Callers[0].Name != "nightly" || len(list.Callers[0].Keys) != 5 {
			t.Errorf("%+v", list)
		}
		for i, form := range []string{"digest", "static_token", "access_token", "client_jwt", "jwt"} {
			key := list.Callers[0].Keys[i]
			if run == 0 {
				first[form] = key
			}
			if !strings.HasPrefix(key.Key, strings.TrimSuffix(h.key(form), ":nightly")) || !strings.HasPrefix(key.Setting, "callers.list[0].") || (key.LastUsed == nil) != (form == "static_token") ||
				key.LastUsed != nil && (key.LastUsed.Before(started) || !key.LastUsed.Equal(*first[form].LastUsed)) || !key.Since.Equal(first[form].Since) {
				t.Errorf("run %d: %+v, at first %+v", run, key, first[form])
			}
		}
		h.client.CloseIdleConnections()
		p.stop(t)
	}
}
