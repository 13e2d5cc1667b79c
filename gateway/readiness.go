package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// check is one of the checks that /readyz?verbose lists. A problem says in words of the gateway's
// own what is wrong; it is empty where nothing is.
type check struct{ name, problem string }

// ready answers /readyz: 200 until the gateway is told to stop, then 503. With the parameter
// verbose it lists the checks by name, as the components of Kubernetes do. Only the first one
// decides: a gateway that can't reach its journal still serves reads, and another replica would
// not do better.
func (g *Gateway) ready(w http.ResponseWriter, r *http.Request) {
	draining := g.draining.Load()
	status, text := http.StatusOK, "ready\n"
	if draining {
		status, text = http.StatusServiceUnavailable, "draining\n"
	}
	if r.URL.Query().Has("verbose") {
		text = g.listChecks(r.Context(), draining)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// listChecks writes a line for each check, and one for all.
func (g *Gateway) listChecks(ctx context.Context, draining bool) string {
	serving, result := check{name: "serving"}, "passed"
	if draining {
		serving.problem, result = "draining", "failed"
	}
	var text strings.Builder
	for _, c := range append([]check{serving}, g.checks(ctx)...) {
		if c.problem == "" {
			fmt.Fprintf(&text, "[+]%s ok\n", c.name)
		} else {
			fmt.Fprintf(&text, "[-]%s failed: %s\n", c.name, c.problem)
		}
	}
	return text.String() + "readyz check " + result + "\n"
}

// journalTime bounds how long /readyz?verbose waits for the journal.
const journalTime = 2 * time.Second

// checks looks at what the gateway works with. What is not configured has no check.
func (g *Gateway) checks(ctx context.Context) []check {
	configuration := check{name: "configuration"}
	if g.reloadRefused.Load() {
		configuration.problem = "the newest one was refused, and the one before is in force"
	}
	all := []check{configuration}
	for _, certificate := range g.state().Certificates {
		c := check{name: "certificate/" + certificate.Name}
		if !g.now().Before(certificate.Expires) {
			c.problem = "it has expired"
		}
		all = append(all, c)
	}
	for _, credential := range g.credentials() {
		c := check{name: "credential/" + credential.Name}
		if credential.Waiting != "" {
			c.problem = "a new pair waits: " + credential.Waiting
		}
		all = append(all, c)
	}
	if g.journal != nil {
		c := check{name: "journal"}
		ctx, cancel := context.WithTimeout(ctx, journalTime)
		defer cancel()
		if _, err := g.journal.Count(ctx); err != nil {
			c.problem = "it can't be read"
		}
		all = append(all, c)
	}
	upstream := check{name: "upstream"}
	if out := g.budgetState().Out; out > 0 {
		upstream.problem = fmt.Sprintf("Atlas fails for %d of its buckets", out)
	}
	return append(all, upstream)
}
