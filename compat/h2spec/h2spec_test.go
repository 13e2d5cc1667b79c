// Package h2spec_test runs h2spec on the gateway's TLS listener. h2spec checks servers against
// RFC 7540 and RFC 7541, frame by frame.
package h2spec_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// cases is the number of cases in h2spec. All pass except for those in known.
const cases = 146

// known are the cases that don't pass. net/http nevertheless refuses what they send.
var known = map[string]string{
	// A frame that sets a setting twice is legal. net/http ends the connection.
	"http2/6.5.3/1": "failed",
	// The field Connection, and TE with another value than trailers: the answer is 400, and not a
	// stream error.
	"http2/8.1.2.2/1": "failed",
	"http2/8.1.2.2/2": "failed",
}

// The gateway passes every case except for the known ones, which fail.
func TestH2spec(t *testing.T) {
	address := serve(t)
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	groups := []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()}
	run := func(sections ...string) {
		for _, group := range groups {
			group.Test(&config.Config{Host: address.Hostname(), Port: port, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true, TLS: true, Insecure: true, Sections: sections})
		}
	}
	run()
	n := 0
	got := map[string]string{}
	for _, group := range groups {
		each(group, func(id string, test *spec.TestCase) {
			n++
			// The gateway answers without waiting for content that it will not read, so that some
			// cases end before they have sent everything. One of several tries is in time.
			for range 10 {
				if _, ok := known[id]; ok || !test.Result.Failed {
					break
				}
				t.Logf("once more: %s", id)
				run(id)
			}
			switch {
			case test.Result.Skipped:
				got[id] = "skipped"
			case test.Result.Failed:
				got[id] = "failed"
				t.Logf("%s: %s: %v", id, test.Desc, test.Result.Error)
			}
		})
	}
	if diff := cmp.Diff(known, got); diff != "" {
		t.Errorf("cases that don't pass, - expected, + found:\n%s", diff)
	}
	if n != cases {
		t.Errorf("h2spec has %d cases, want %d", n, cases)
	}
}

// each calls f for every case of a group, with the name of the case and in the order of the run.
func each(group *spec.TestGroup, f func(id string, test *spec.TestCase)) {
	for i, test := range slices.Concat(group.Tests, group.StrictTests) {
		f(fmt.Sprintf("%s/%d", group.ID(), i+1), test)
	}
	for _, inner := range group.Groups {
		each(inner, f)
	}
}

// serve builds the program and starts it with a certificate of its own.
func serve(t *testing.T) *url.URL {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "atlas-gateway")
	if output, err := exec.Command("go", "build", "-C", "../..", "-o", program, "./cmd/atlas-gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for kind, der := range map[string][]byte{"CERTIFICATE": certificate, "PRIVATE KEY": private} {
		files[kind] = filepath.Join(dir, kind)
		if err := os.WriteFile(files[kind], pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command(program, "serve")
	command.Env = append(os.Environ(), "MONGODB_ATLAS_PUBLIC_API_KEY=public", "MONGODB_ATLAS_PRIVATE_API_KEY=private", "ATLAS_GATEWAY_UPSTREAM_BASE_URL=http://127.0.0.1:9",
		"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "ATLAS_GATEWAY_CREATES_JOURNAL=off", "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:0", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=127.0.0.1:0",
		"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+files["CERTIFICATE"], "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+files["PRIVATE KEY"])
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ Listener string }
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(ready.Listener)
	if err != nil {
		t.Fatal(err)
	}
	return address
}
