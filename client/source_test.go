package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// replace replaces a file by rename.
func replace(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// When the gateway no longer accepts a token, calls go on with the one that the file has by then
// or that the command prints. A create reaches Atlas once.
func TestReplacedToken(t *testing.T) {
	t.Parallel()
	for kind, from := range map[string]func(file string) *bearertoken.Source{
		"file": bearertoken.File,
		"command": func(file string) *bearertoken.Source {
			script := `printf '{"Version": 1, "Token": "%s"}' "$(cat "$0")"`
			return bearertoken.Command{Program: "/bin/sh", Args: []string{"-c", script, file}}.Source()
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const grants = `[{operations: [manage], groups: ["*"]}]`
			before, after := gatewaytest.Issue(t, "before", grants), gatewaytest.Issue(t, "after", grants)
			atlas := sim.Start(t, sim.Config{})
			g := gatewaytest.StartFor(t, atlas.URL(), "", before)
			file := filepath.Join(t.TempDir(), "token")
			replace(t, file, before.Token.Secret.Reveal())
			c := newClient(t, client.Config{BaseURL: g.URL, Credential: client.TokenFrom(from(file))})
			bucket := createBucket(t, c)

			replace(t, file, after.Token.Secret.Reveal())
			gatewaytest.WriteFile(t, g.File, gatewaytest.YAML(atlas.URL(), "", after))
			g.Reload(t)
			job, err := c.CreateExport(t.Context(), group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket.ID})
			if err != nil || len(atlas.Jobs()) != 1 || atlas.Jobs()[0].ID != job.ID {
				t.Errorf("%v: %d jobs", err, len(atlas.Jobs()))
			}
			if _, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
				t.Error(err)
			}

			// Without another token the gateway's answer is the error.
			gatewaytest.WriteFile(t, g.File, gatewaytest.YAML(atlas.URL(), "", before))
			g.Reload(t)
			err = dropResult(c.GetExportBucket(t.Context(), group, nobody))
			if e := asError(t, err); !errors.Is(err, client.ErrUnauthorized) || e.RequestID == "" || strings.Contains(err.Error(), after.Token.Secret.Reveal()) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A create that is refused with 401 is sent again only if it certainly was not carried out, and an
// answer that repeats a token does not put it into the error.
func TestRefusedCreate(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[string]int32{"": 2, "not_sent": 2, "answered": 1, "unknown": 1, "c4na7y": 1} {
		var received atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			received.Add(1)
			if outcome != "" {
				w.Header().Set("Gateway-Outcome", outcome)
			}
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error": 401, "errorCode": "UNAUTHORIZED", "detail": %q}`, r.Header.Get("Authorization"))
		}))
		t.Cleanup(server.Close)
		folder := t.TempDir()
		script := `echo >> "$0/runs"; printf '{"Version": 1, "Token": "c4na7y-%s"}' $(wc -l < "$0/runs")`
		source := bearertoken.Command{Program: "/bin/sh", Args: []string{"-c", script, folder}}.Source()
		c := newClient(t, client.Config{BaseURL: server.URL, Credential: client.TokenFrom(source)})
		_, err := c.CreateExport(t.Context(), group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: nobody})
		if got := received.Load(); got != want || !errors.Is(err, client.ErrUnauthorized) || strings.Contains(err.Error(), "c4na7y-") || !strings.Contains(err.Error(), "Bearer REDACTED") {
			t.Errorf("%q: %d requests, %v", outcome, got, err)
		}
	}
}

// A source without a token keeps the call from being sent, and the error says why. Over plain
// HTTP, tokens go only to loopback.
func TestSourceWithoutToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	source := client.TokenFrom(bearertoken.File(file))
	if text := source.String(); text != "bearer token from the file "+file {
		t.Error(text)
	}
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Credential: source})
	err := dropResult(c.GetExportBucket(t.Context(), group, nobody))
	var failed *bearertoken.SourceError
	if !errors.Is(err, client.ErrUnauthorized) || !errors.As(err, &failed) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := client.New(client.Config{BaseURL: "http://gateway.example.com", Credential: source}); err == nil || err.Error() != "client: the bearer token would be sent in the clear; use https" {
		t.Errorf("%v", err)
	}
}
