package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
)

// node returns the open function of a client in npm/, which reads base URL and key from the
// environment.
func node(script, form string) func(testing.TB, *running, caller) client {
	return func(t testing.TB, r *running, c caller) client {
		t.Helper()
		_, err := exec.LookPath("node")
		require(t, err == nil, "node is not installed")
		_, err = os.Stat("npm/node_modules")
		require(t, err == nil, "the npm packages are not installed: make clients")
		return process(t, r, c, form, "node", "npm/"+script)
	}
}

// python returns the open function of Python's requests.
func python(form string) func(testing.TB, *running, caller) client {
	return func(t testing.TB, r *running, c caller) client {
		t.Helper()
		require(t, hasRequests(), "python3 has no package requests")
		return process(t, r, c, form, "python3", "python/client.py")
	}
}

var hasRequests = sync.OnceValue(func() bool {
	return exec.Command("python3", "-c", "import requests").Run() == nil
})

// process runs a program that reads a list of calls from each line of its standard input, makes
// them at the same time, and writes the list of their answers as a line.
func process(t testing.TB, r *running, c caller, form, program string, arguments ...string) client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for a program that hangs
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(),
		"MONGODB_ATLAS_BASE_URL="+r.url,
		"MONGODB_ATLAS_PUBLIC_API_KEY="+c.pair.ID,
		"MONGODB_ATLAS_PRIVATE_API_KEY="+c.pair.Secret.Reveal(),
		"FORM="+form,
		"NO_PROXY=*", "no_proxy=*",
	)
	if r.algorithm != "" {
		command.Env = append(command.Env, "DIGEST_ALGORITHM="+r.algorithm)
	}
	if r.caFile != "" {
		command.Env = append(command.Env, "NODE_EXTRA_CA_CERTS="+r.caFile, "REQUESTS_CA_BUNDLE="+r.caFile)
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := command.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, &stderr)
		}
	})
	requests, answers := json.NewEncoder(stdin), json.NewDecoder(stdout)
	return func(t testing.TB, calls ...call) []answer {
		t.Helper()
		if err := requests.Encode(calls); err != nil {
			t.Fatal(err)
		}
		var got []answer
		if err := answers.Decode(&got); err != nil || len(got) != len(calls) {
			t.Fatalf("%d calls have %d answers: %v", len(calls), len(got), err)
		}
		return got
	}
}

// A client that reuses a nonce counts on. It finds a new nonce when the gateway does not know the
// old one, as after a restart without signing_key_file. digest-fetch writes its count in decimal
// digits, and continues it on a new nonce. The package urllib, below mongodb-atlas-api-client, has
// one count for all nonces.
func TestNonces(t *testing.T) {
	const before, after = 200, 20 // after 99 comes 100, which is 103 more if it is read as hexadecimal
	for _, v := range variants {
		if v.challenges == never || v.tls || isCurl(v) {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			r := newRunning(t, v.options)
			var replicas [2]*gateway.Gateway
			for i := range replicas {
				replicas[i] = r.gateway(t)
			}
			var serving atomic.Pointer[gateway.Gateway]
			serving.Store(replicas[0])
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				serving.Load().ServeHTTP(w, request)
			}))
			t.Cleanup(server.Close)
			r.url, r.stop = server.URL, server.Close
			client := v.open(t, r, r.nightly)
			for i := range before + after {
				if i == before {
					serving.Store(replicas[1])
				}
				got := client(t, call{"GET", r.url + v1Exports + "/?pretty=true", v1, ""})[0]
				if content, _ := parse(t, got.Body).(map[string]any); content["totalCount"] != 0.0 {
					t.Fatalf("call %d: %+v", i, got)
				}
			}
			want := 2
			if v.challenges == always {
				want = before + after
			}
			if got := challenged(t, r.records(t), v.form); got != want {
				t.Errorf("%d calls were challenged %d times, want %d", before+after, got, want)
			}
		})
	}
}
