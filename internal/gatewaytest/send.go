package gatewaytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Response is an answer that was read in full.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// AccessToken returns the access token of an answer of a token endpoint, and "" for an answer
// without one.
func (r Response) AccessToken() string {
	var content struct {
		AccessToken string `json:"access_token"`
	}
	json.Unmarshal([]byte(r.Body), &content)
	return content.AccessToken
}

// Send sends a request to the gateway as [Send] does. The target is path and query.
func (g *Gateway) Send(t testing.TB, method, target string, header map[string]string, body string) Response {
	t.Helper()
	return Send(t, method, g.URL+target, header, body)
}

// Metrics returns the gateway's metrics.
func (g *Gateway) Metrics(t testing.TB) string {
	t.Helper()
	got := Send(t, "GET", g.Management+"/metrics", nil, "")
	if got.Status != http.StatusOK {
		t.Errorf("metrics: %d %s", got.Status, got.Body)
	}
	return got.Body
}

// AccessToken asks the token endpoint for an access token of a caller's service account.
func (g *Gateway) AccessToken(t testing.TB, c *Caller) string {
	t.Helper()
	got := g.Send(t, "POST", "/api/oauth/token", map[string]string{
		"Authorization": Basic(c.Account.ID, c.Account.Secret.Reveal()),
		"Content-Type":  "application/x-www-form-urlencoded",
	}, "grant_type=client_credentials")
	token := got.AccessToken()
	if got.Status != http.StatusOK || token == "" {
		t.Fatalf("no access token: %d %s", got.Status, got.Body)
	}
	return token
}

// Send sends a request with exactly these fields, follows no redirect, and reads the answer. The
// answer must hold no secret of the test, and Gateway-Outcome exactly where it is promised.
func Send(t testing.TB, method, url string, header map[string]string, body string) Response {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	KeepSecret(t, "the Authorization field", request.Header.Get("Authorization"))
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := Response{response.StatusCode, response.Header, string(text)}
	FindSecrets(t, "an answer's header", fmt.Sprint(got.Header))
	FindSecrets(t, "an answer", got.Body)
	checkOutcome(t, method, url, got)
	if strings.HasSuffix(url, "/api/oauth/token") {
		KeepSecret(t, "an access token", got.AccessToken())
	}
	return got
}

// checkOutcome fails the test unless Gateway-Outcome is in the answers to changes and in no
// others.
func checkOutcome(t testing.TB, method, url string, got Response) {
	t.Helper()
	outcomes := got.Header.Values("Gateway-Outcome")
	own := strings.HasSuffix(url, "/api/oauth/token") || strings.HasSuffix(url, "/api/oauth/revoke")
	if got.Header.Get("Gateway-Request-Id") == "" || own || !slices.Contains([]string{http.MethodPost, http.MethodPatch, http.MethodDelete}, method) {
		if len(outcomes) > 0 {
			t.Errorf("%s %s: the outcome %q of what is no change", method, url, outcomes)
		}
		return
	}
	if want := Outcome(got.Header, got.Body); !slices.Equal(outcomes, []string{want}) {
		t.Errorf("%s %s: the outcome %q, want %q: %s", method, url, outcomes, want, got.Body)
	}
}

// Outcome returns what Gateway-Outcome must say in an answer to a change, by who answers and by
// the sentence for the caller.
func Outcome(header http.Header, body string) string {
	switch {
	case header.Get("Gateway-Error") == "":
		return "answered"
	case strings.Contains(body, "not known whether the request was carried out"):
		return "unknown"
	}
	return "not_sent"
}

// Raw sends bytes to the gateway as [Raw] does.
func (g *Gateway) Raw(t testing.TB, bytes string) string {
	t.Helper()
	return Raw(t, g.Address, bytes)
}

// Raw sends bytes over TCP and returns what comes back until the server closes the connection.
// That must hold no secret of the test.
func Raw(t testing.TB, address, bytes string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatalf("no answer: %v", err)
	}
	FindSecrets(t, "an answer", string(answer))
	return string(answer)
}
