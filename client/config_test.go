package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// The environment holds at most one base URL and one credential, or is refused. Errors name
// variables and never values.
func TestFromEnviron(t *testing.T) {
	const (
		cliPublic, cliPrivate             = "MONGODB_ATLAS_PUBLIC_API_KEY=", "MONGODB_ATLAS_PRIVATE_API_KEY="
		terraformPublic, terraformPrivate = "MONGODB_ATLAS_PUBLIC_KEY=", "MONGODB_ATLAS_PRIVATE_KEY="
		clientID, clientSecret            = "MONGODB_ATLAS_CLIENT_ID=", "MONGODB_ATLAS_CLIENT_SECRET="
		accessToken                       = "MONGODB_ATLAS_ACCESS_TOKEN="
		baseURL, opsManagerURL            = "MONGODB_ATLAS_BASE_URL=", "MONGODB_ATLAS_OPS_MANAGER_URL="
		olderPublic, olderPrivate         = "MCLI_PUBLIC_API_KEY=", "MCLI_PRIVATE_API_KEY="
		olderID, olderSecret              = "MCLI_CLIENT_ID=", "MCLI_CLIENT_SECRET="
		olderURL                          = "MCLI_OPS_MANAGER_URL="
	)
	pair := client.APIKey("canary-a", "canary-b")
	account := client.ServiceAccount("canary-a", "canary-b")
	for _, test := range []struct {
		environ []string
		want    client.Config
		err     string
	}{
		{nil, client.Config{}, ""},
		{[]string{cliPublic + "canary-a", cliPrivate + "canary-b"}, client.Config{Credential: pair}, ""},
		{[]string{terraformPublic + "canary-a", terraformPrivate + "canary-b"}, client.Config{Credential: pair}, ""},
		{[]string{clientID + "canary-a", clientSecret + "canary-b"}, client.Config{Credential: account}, ""},
		{[]string{accessToken + "canary-a"}, client.Config{Credential: client.BearerToken("canary-a")}, ""},
		{[]string{cliPublic + "canary-a", cliPrivate + "canary-b", terraformPublic + "canary-a", terraformPrivate + "canary-b", accessToken, clientID, clientSecret}, client.Config{Credential: pair}, ""},
		{[]string{cliPublic + "canary-z", cliPublic + "canary-a", cliPrivate + "canary-b"}, client.Config{Credential: pair}, ""},
		{[]string{baseURL + "https://gateway.example.com/"}, client.Config{BaseURL: "https://gateway.example.com"}, ""},
		{[]string{opsManagerURL + "https://gateway.example.com/"}, client.Config{BaseURL: "https://gateway.example.com"}, ""},
		{[]string{baseURL + "https://gateway.example.com", opsManagerURL + "https://gateway.example.com/"}, client.Config{BaseURL: "https://gateway.example.com"}, ""},

		{[]string{olderPublic + "canary-a", olderPrivate + "canary-b"}, client.Config{Credential: pair}, ""},
		{[]string{olderID + "canary-a", olderSecret + "canary-b"}, client.Config{Credential: account}, ""},
		{[]string{olderURL + "https://gateway.example.com/"}, client.Config{BaseURL: "https://gateway.example.com"}, ""},
		{[]string{baseURL + "https://gateway.example.com/", olderURL + "https://gateway.example.com"}, client.Config{BaseURL: "https://gateway.example.com"}, ""},

		{[]string{cliPublic + "canary-a"}, client.Config{}, "client: MONGODB_ATLAS_PUBLIC_API_KEY is set, and MONGODB_ATLAS_PRIVATE_API_KEY is not"},
		{[]string{terraformPrivate + "canary-b", terraformPublic}, client.Config{}, "client: MONGODB_ATLAS_PRIVATE_KEY is set, and MONGODB_ATLAS_PUBLIC_KEY is not"},
		{[]string{clientSecret + "canary-b"}, client.Config{}, "client: MONGODB_ATLAS_CLIENT_SECRET is set, and MONGODB_ATLAS_CLIENT_ID is not"},
		{[]string{cliPublic + "canary-a", cliPrivate + "canary-b", terraformPublic + "canary-a", terraformPrivate + "canary-c"}, client.Config{},
			"client: MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PUBLIC_KEY are of two different credentials; unset one"},
		{[]string{terraformPublic + "canary-a", terraformPrivate + "canary-b", clientID + "canary-a", clientSecret + "canary-b"}, client.Config{},
			"client: MONGODB_ATLAS_PUBLIC_KEY and MONGODB_ATLAS_CLIENT_ID are of two different credentials; unset one"},
		{[]string{clientID + "canary-a", clientSecret + "canary-b", accessToken + "canary-c"}, client.Config{},
			"client: MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_ACCESS_TOKEN are of two different credentials; unset one"},
		{[]string{baseURL + "https://canary-a.example.com", opsManagerURL + "https://canary-b.example.com"}, client.Config{},
			"client: MONGODB_ATLAS_BASE_URL and MONGODB_ATLAS_OPS_MANAGER_URL differ; unset one"},
		{[]string{opsManagerURL + "https://canary-a.example.com", olderURL + "https://canary-b.example.com"}, client.Config{},
			"client: MONGODB_ATLAS_OPS_MANAGER_URL and MCLI_OPS_MANAGER_URL differ; unset one"},
		{[]string{cliPublic + "canary-a", cliPrivate + "canary-b", olderPublic + "canary-c", olderPrivate + "canary-b"}, client.Config{},
			"client: MONGODB_ATLAS_PUBLIC_API_KEY and MCLI_PUBLIC_API_KEY are of two different credentials; unset one"},
		{[]string{olderSecret + "canary-b"}, client.Config{}, "client: MCLI_CLIENT_SECRET is set, and MCLI_CLIENT_ID is not"},
	} {
		got, err := client.FromEnviron(test.environ)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != test.err {
			t.Errorf("%q: got  %s\nwant %s", test.environ, text, test.err)
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(client.Credential{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.environ, diff)
		}
	}
}

// The environment of the process leads to a client that works.
func TestFromEnv(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	t.Setenv("MONGODB_ATLAS_OPS_MANAGER_URL", atlas.URL()+"/")
	for _, names := range [][4]string{
		{"MONGODB_ATLAS_PUBLIC_API_KEY", sim.PublicKey, "MONGODB_ATLAS_PRIVATE_API_KEY", sim.PrivateKey},
		{"MONGODB_ATLAS_CLIENT_ID", sim.ClientID, "MONGODB_ATLAS_CLIENT_SECRET", sim.ClientSecret},
	} {
		t.Run(names[0], func(t *testing.T) {
			t.Setenv(names[0], names[1])
			t.Setenv(names[2], names[3])
			config, err := client.FromEnv()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newClient(t, config).ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What New refuses, without quoting a secret, and what it doesn't.
func TestNew(t *testing.T) {
	pair, account, token := client.APIKey("a", "canary"), client.ServiceAccount("a", "canary"), client.BearerToken("canary")
	const loopback, lan = "http://127.0.0.1:8080", "http://gateway.example.com"
	for _, test := range []struct {
		config client.Config
		want   string
	}{
		{client.Config{Credential: pair}, ""},
		{client.Config{BaseURL: "https://gateway.example.com:8443/", Credential: account}, ""},
		{client.Config{BaseURL: loopback}, ""},
		{client.Config{BaseURL: loopback, Credential: account}, ""},
		{client.Config{BaseURL: "http://localhost:8080", Credential: token}, ""},
		{client.Config{BaseURL: "http://[::1]:8080", Credential: token}, ""},
		{client.Config{BaseURL: lan, Credential: pair}, ""},
		{client.Config{BaseURL: lan}, ""},

		{client.Config{}, "client: a credential is required at Atlas"},
		{client.Config{BaseURL: client.AtlasURL + ":443"}, "client: a credential is required at Atlas"},
		{client.Config{BaseURL: lan, Credential: account}, "client: the service account would be sent in the clear; use https"},
		{client.Config{BaseURL: lan, Credential: token}, "client: the bearer token would be sent in the clear; use https"},
		{client.Config{BaseURL: "https://a:canary@gateway.example.com"}, "client: BaseURL holds user information; keys belong in files or the environment"},
		{client.Config{BaseURL: "https://gateway.example.com/api/atlas"}, "client: BaseURL has a path; expected scheme and host only"},
		{client.Config{BaseURL: "gateway.example.com"}, "client: BaseURL does not begin with http:// or https://"},
		{client.Config{BaseURL: "https://canary\x7f"}, "client: BaseURL is not a URL; expected https://HOST or https://HOST:PORT"},
		{client.Config{Credential: client.APIKey("", "canary")}, "client: the API key is not whole"},
		{client.Config{Credential: client.APIKey("a", "")}, "client: the API key is not whole"},
		{client.Config{Credential: client.ServiceAccount("", "canary")}, "client: the service account is not whole"},
		{client.Config{Credential: client.BearerToken("")}, "client: the bearer token is not whole"},
		{client.Config{Credential: client.BearerToken("canary\n")}, "client: the bearer token holds white space or characters that are not ASCII"},
		{client.Config{Credential: client.APIKey("a", "canaryé")}, "client: the API key holds white space or characters that are not ASCII"},
		{client.Config{Credential: pair, Timeout: -1}, "client: a bound is negative"},
		{client.Config{Credential: pair, MaxResponse: -1}, "client: a bound is negative"},
		{client.Config{Credential: pair, RootCAs: x509.NewCertPool()}, ""},
		{client.Config{Credential: pair, RootCAs: x509.NewCertPool(), Transport: &http.Transport{}}, "client: RootCAs is not for a Transport of the caller's own"},
	} {
		c, err := client.New(test.config)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != test.want || (c == nil) != (err != nil) {
			t.Errorf("%v, %v: got  %s\nwant %s", test.config.BaseURL, test.config.Credential, text, test.want)
		}
	}
}

// Secrets don't show, however a configuration or a client is printed.
func TestSecretsDoNotShow(t *testing.T) {
	for _, credential := range []client.Credential{client.APIKey("a", "canary"), client.ServiceAccount("a", "canary"), client.BearerToken("canary")} {
		config := client.Config{BaseURL: "https://gateway.example.com", Credential: credential}
		c := newClient(t, config)
		for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", config, config, config, credential, credential), fmt.Sprintf("%v %+v %#v", c, c, c)} {
			if strings.Contains(text, "canary") {
				t.Errorf("%s shows: %s", credential, text)
			}
		}
	}
}

// Nothing is sent to another origin than BaseURL, even when BeforeSend changes the request.
func TestOneOrigin(t *testing.T) {
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	other, err := url.Parse(elsewhere.URL)
	if err != nil {
		t.Fatal(err)
	}
	atlas := sim.Start(t, sim.Config{})
	for _, credential := range []client.Credential{{}, key, client.ServiceAccount(sim.ClientID, sim.ClientSecret), client.BearerToken("canary")} {
		tries := 0
		c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: credential, BeforeSend: func(r *http.Request) error {
			tries++
			r.URL.Host = other.Host
			return nil
		}})
		if err := c.DeleteExportBucket(t.Context(), group, nobody); err == nil || !strings.Contains(err.Error(), "the credential is for "+atlas.URL()) || tries != 1 {
			t.Errorf("%s: %d tries: %v", credential, tries, err)
		}
		if _, err := c.CreateExport(t.Context(), group, cluster, export(nobody)); err == nil || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v", credential, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("the other origin was reached")
	}
}

// What BeforeSend sees. Its error ends the call, and nothing is sent.
func TestBeforeSend(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	var lines []string
	stop := false
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key, UserAgent: "nightly/1", BeforeSend: func(r *http.Request) error {
		line := r.Method + " " + r.URL.Path + " " + r.Header.Get("User-Agent") + " " + r.Header.Get("Authorization")
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return err
			}
			content, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			line += string(content)
		}
		lines = append(lines, line)
		if stop {
			return errDry
		}
		return nil
	}})
	if _, err := c.CreateExportBucket(t.Context(), group, client.GCPBucket{BucketName: "acme-archive", RoleID: sim.AWSRole}); err != nil {
		t.Fatal(err)
	}
	stop = true
	before := atlas.Counts().Requests
	if _, err := c.GetExport(t.Context(), group, cluster, nobody); !errors.Is(err, errDry) || kindOf(t, err) != "" {
		t.Error(err)
	}
	if atlas.Counts().Requests != before {
		t.Error("it was sent all the same")
	}
	if diff := cmp.Diff([]string{
		"POST /api/atlas/v2/groups/" + group + `/backup/exportBuckets nightly/1 {"bucketName":"acme-archive","cloudProvider":"GCP","roleId":"` + sim.AWSRole + `"}`,
		"GET /api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports/" + nobody + " nightly/1 ",
	}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if field.Name == "User-Agent" && field.Value != "nightly/1" {
				t.Errorf("Atlas received the User-Agent %s", field.Value)
			}
		}
	}
}

// Over TLS the server is checked against the system's certificates, or against those in the
// configuration or of its Transport.
func TestTLS(t *testing.T) {
	borrowed := httptest.NewUnstartedServer(nil) // its certificate is for 127.0.0.1
	borrowed.Config.ErrorLog = log.New(io.Discard, "", 0)
	borrowed.StartTLS()
	certificate := borrowed.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw}))
	borrowed.Close()

	atlas := sim.Start(t, sim.Config{TLS: &certificate})
	for _, config := range []client.Config{
		{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		{RootCAs: roots},
	} {
		config.BaseURL, config.Credential = atlas.URL(), key
		c := newClient(t, config)
		if _, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
			t.Error(err)
		}
		createBucket(t, c)
	}
	atlas.Reset()
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	for _, m := range methods {
		var unknown *tls.CertificateVerificationError
		if err := m.call(t.Context(), c, group, nobody, nobody); !errors.As(err, &unknown) || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	// One connection for each method: there is no retry where it would fail too.
	if n := atlas.Counts().Connections; n != int64(len(methods)) || atlas.Counts().Requests != 0 {
		t.Errorf("%d connections for %d methods, %d requests", n, len(methods), atlas.Counts().Requests)
	}
}

// The environment's proxy is not used: TestMain names one that does not exist.
func TestNoProxy(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	// net/http uses no proxy for loopback. The unspecified address leads there, and is another.
	base := strings.Replace(atlas.URL(), "127.0.0.1", "0.0.0.0", 1)
	if _, err := newClient(t, client.Config{BaseURL: base, Credential: key, MaxRetries: -1}).ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
		t.Error(err)
	}
}
