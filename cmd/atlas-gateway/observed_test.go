package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/canary"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
)

// observed is a gateway whose output and answers are kept, to be searched for secrets when it
// ends.
type observed struct {
	*process
	client  http.Client
	secrets canary.Secrets // must show nowhere
	told    canary.Secrets // may show in answers only
	answers strings.Builder
}

// serveObserved starts the program as serveProcess does. A client of it trusts the roots.
func serveObserved(t *testing.T, config string, roots *x509.CertPool, environ ...string) *observed {
	t.Helper()
	o := &observed{process: serveProcess(t, config, append(environ, "GOTRACEBACK=all")...)}
	o.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 10 * time.Second}
	o.secrets.Add("Atlas's private key", atlasPrivate)
	o.secrets.Add("Atlas's client secret", atlasSecret)
	o.secrets.Add("a secret that nobody has", nobodys)
	o.told.Add("a secret in a wrong place", told)
	return o
}

var digestResponse = regexp.MustCompile(`response="([0-9a-f]+)"`)

// keepAuthorization adds an Authorization field, and the parts of it that are as good as a secret.
func keepAuthorization(secrets *canary.Secrets, name, field string) {
	secrets.Add(name, field)
	if _, token, ok := strings.Cut(field, "Bearer "); ok {
		secrets.Add(name, token)
	}
	if response := digestResponse.FindStringSubmatch(field); response != nil {
		secrets.Add(name, response[1])
	}
}

// ask sends a request. The Authorization field is a secret from then on, and so is an access
// token in the answer.
func (o *observed) ask(t *testing.T, method, target, authorization, contentType, content string) gatewaytest.Response {
	t.Helper()
	request, err := http.NewRequest(method, o.Listener+target, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	request.Header.Set("Content-Type", contentType)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
		keepAuthorization(&o.secrets, "an Authorization field of a caller", authorization)
	}
	response, err := o.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	head, err := httputil.DumpResponse(response, false)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := gatewaytest.Response{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	shown := a.Body
	if token := a.AccessToken(); token != "" {
		o.secrets.Add("an access token", token)
		shown = strings.Replace(shown, token, "", 1)
	}
	o.answers.WriteString(string(head) + shown)
	return a
}

// quit ends the program by SIGQUIT, at which the program dumps its goroutines, and searches
// everything that it has printed and answered.
func (o *observed) quit(t *testing.T) {
	t.Helper()
	pages := ""
	for page, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/goroutine?debug=2": 403} {
		status, body := get(t, o.Management+page)
		if status != want {
			t.Errorf("%s: %d", page, status)
		}
		pages += body
	}
	commandLine, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", o.command.Process.Pid)) // on Linux
	if err := o.command.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&o.output, o.stdout); err != nil {
		t.Fatal(err)
	}
	o.command.Wait() // returns an error after SIGQUIT
	if !strings.Contains(o.stderr.String(), "SIGQUIT: quit") || !strings.Contains(o.stderr.String(), "(*Gateway).Serve(") {
		t.Errorf("no dump: %.2000s", &o.stderr)
	}
	for where, text := range map[string]string{
		"standard output": o.output.String(), "standard error": o.stderr.String(), "the management pages": pages,
		"the command line": string(commandLine), "an answer": o.answers.String(),
	} {
		found := o.secrets.Find(text)
		if where != "an answer" {
			found = append(found, o.told.Find(text)...)
		}
		for _, secret := range found {
			t.Errorf("in %s: %s", where, secret)
		}
	}
}

// hash is how the configuration holds a token or a client secret.
func hash(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(secret))) }

// ha1 returns HA1 of a key pair, which is as good as the private key.
func ha1(t *testing.T, algorithm, id, private string) string {
	t.Helper()
	hash, err := digestauth.HA1(algorithm, id, callers.DefaultRealm, secret.New(private))
	if err != nil {
		t.Fatal(err)
	}
	return hash.Reveal()
}

// exchange sends bytes and returns what comes back until the connection ends.
func exchange(t *testing.T, conn net.Conn, bytes string) string {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, bytes) // an error means that the answer came first
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// The secrets of these tests, except for those that programs make up.
const (
	atlasPrivate  = "c4na7y-a71a-5000-beef-aaaaaaaaaaaa" // of Atlas's key pair
	atlasSecret   = "mdb_sa_sk_c4na7y_of_the_account"    // of Atlas's service account
	atlasToken    = "c4na7y.the-access-token.of-the-account"
	callerPrivate = "c4na7yOfTheCallersKeyPair"
	callerSecret  = "agw_sk_c4na7yOfTheCallersAccount"
	callerToken   = "agw_st_c4na7yOfTheCaller"
	receiverKey   = "c4na7y-for-the-receiver-of-spans"
	signingKey    = "c4na7y-that-signs-nonces-and-tokens"
	nobodys       = "c4na7y-of-nobody"
	told          = "c4na7y-in-a-wrong-place" // which only its sender is told again
)
