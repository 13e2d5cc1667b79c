package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// check -online tries each credential for Atlas with one read, says in a line for each what came
// of it, and ends with a status of its own unless Atlas accepts all of them. It sends nothing
// else.
func TestCheckOnline(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	environ := []string{"PUBLIC=" + sim.PublicKey, "PRIVATE=" + sim.PrivateKey, "ID=" + sim.ClientID, "SECRET=" + sim.ClientSecret, "WRONG=c4na7y-wrong"}
	const (
		pair    = "{groups: [" + sim.GroupID + "], public_key_env: PUBLIC, private_key_env: PRIVATE}"
		account = "{client_id_env: ID, client_secret_env: SECRET}"
		refuses = "digestauth: the server refuses the credential (4 times in a row)"
	)
	for _, test := range []struct {
		name, credentials string
		status            int
		lines             []string
	}{
		{"a key and an account", pair + ", " + account, exitOK, []string{"[0] (public key " + sim.PublicKey + "): Atlas accepts it", "[1] (client id " + sim.ClientID + "): Atlas accepts it"}},
		{"a wrong key and an account", "{groups: [" + sim.GroupID + "], public_key_env: PUBLIC, private_key_env: WRONG}, " + account, exitRefused,
			[]string{"[0] (public key " + sim.PublicKey + "): Atlas refuses it: " + refuses, "[1] (client id " + sim.ClientID + "): Atlas accepts it"}},
		{"a wrong client secret", "{client_id_env: ID, client_secret_env: WRONG}", exitRefused,
			[]string{"[0] (client id " + sim.ClientID + "): Atlas refuses it: serviceaccount: the credential was refused: invalid_client"}},
		{"the halves in each other's place", "{public_key_env: PRIVATE, private_key_env: PUBLIC}", exitRefused,
			[]string{"[0]: Atlas refuses it: " + refuses + "; the public key does not look like one of Atlas's: are the two halves in each other's place?"}},
	} {
		file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), "upstream: {base_url: "+atlas.URL()+", credentials: ["+test.credentials+"]}\n"+anonymous)
		good := "the configuration is good: 127.0.0.1:8080 forwards to " + atlas.URL() + "\n"
		if status, stdout, stderr := runs(t.Context(), environ, "check", file); status != exitOK || stdout != good || stderr != "" {
			t.Errorf("%s, without -online: exit status %d: %s%s", test.name, status, stdout, stderr)
		}
		want := good
		for _, line := range test.lines {
			want += "upstream.credentials" + line + "\n"
		}
		status, stdout, stderr := runs(t.Context(), environ, "check", "-online", file)
		if status != test.status || stderr != "" {
			t.Errorf("%s: exit status %d: %s", test.name, status, stderr)
		}
		if diff := cmp.Diff(want, stdout); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if strings.Contains(stdout, "c4na7y") || strings.Contains(stdout, sim.PrivateKey) {
			t.Errorf("%s: a secret is in %s", test.name, stdout)
		}
	}
	for _, r := range atlas.Requests(0) {
		if got := r.Method + " " + r.Target; got != "GET /api/atlas/v2/groups?itemsPerPage=1" && got != "POST /api/oauth/token" {
			t.Errorf("Atlas received %s", got)
		}
	}
}

// check -online needs no answer of Atlas's to end, and a refused configuration sends nothing.
func TestCheckOnlineWithoutAtlas(t *testing.T) {
	silent := gatewaytest.Serve(t, func(conn net.Conn) { conn.Read(make([]byte, 1)) })
	environ := []string{"PUBLIC=" + sim.PublicKey, "PRIVATE=" + sim.PrivateKey, "ATLAS_GATEWAY_CALLERS_ANONYMOUS=true"}
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), goodUpstream)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	status, stdout, _ := runs(ctx, append(environ, "ATLAS_GATEWAY_UPSTREAM_BASE_URL=http://"+silent.Addr().String()), "check", "-online", file)
	if status != exitRefused || !strings.Contains(stdout, "upstream.credentials[0] (public key "+sim.PublicKey+"): Atlas gave no answer that tells: ") {
		t.Errorf("exit status %d: %s", status, stdout)
	}
	if status, stdout, stderr := runs(t.Context(), append(environ, "ATLAS_GATEWAY_LOG_LEVEL=loud"), "check", "-online", file); status != exitConfig || stdout != "" || !strings.Contains(stderr, "log.level") && !strings.Contains(stderr, "LOG_LEVEL") {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
}

// runs runs a command of the program.
func runs(ctx context.Context, environ []string, arguments ...string) (status int, stdout, stderr string) {
	var out, failed strings.Builder
	status = run(ctx, arguments, environ, nil, &out, &failed)
	return status, out.String(), failed.String()
}
