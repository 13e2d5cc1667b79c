package client_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// faultTests are faults, and what each method returns.
var faultTests = []struct {
	fault           sim.Fault
	direct, gateway failure // for a create, Kind is "unknown outcome" unless notDone is set
	notDone         bool    // a create was not carried out, and its error says so
}{
	{fault: sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7}, notDone: true,
		direct:  failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
		gateway: failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"}},
	{fault: sim.Fault{Kind: sim.FaultRateLimit400, RetryAfter: 7}, notDone: true,
		direct:  failure{Kind: "rate limited", Status: 400, Code: "RATE_LIMITED_TOKEN_BUCKET"},
		gateway: failure{Kind: "rate limited", Status: 400, Code: "RATE_LIMITED_TOKEN_BUCKET"}},
	{fault: sim.Fault{Kind: sim.FaultUnavailable},
		direct:  failure{Status: 503},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
	{fault: sim.Fault{Kind: sim.FaultUnavailableAfter},
		direct:  failure{Status: 503},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
	{fault: sim.Fault{Kind: sim.FaultReset},
		direct:  failure{},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unreachable"}},
	{fault: sim.Fault{Kind: sim.FaultResetAfter},
		direct:  failure{},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unreachable"}},
	{fault: sim.Fault{Kind: sim.FaultRedirect},
		direct:  failure{Status: 307},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
	{fault: sim.Fault{Kind: sim.FaultTruncate},
		direct:  failure{Status: 200},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
	{fault: sim.Fault{Kind: sim.FaultOversize, Bytes: 1 << 20},
		direct:  failure{Status: 200},
		gateway: failure{Status: 200}},
	{fault: sim.Fault{Kind: sim.FaultUnavailable, BeforeAuthentication: true}, notDone: true,
		direct:  failure{Status: 503},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unsigned"}},
	{fault: sim.Fault{Kind: sim.FaultRateLimit, BeforeAuthentication: true}, notDone: true,
		direct:  failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
		gateway: failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET", Gateway: "rate_limited"}},
	{fault: sim.Fault{Kind: sim.FaultNoChallenge}, notDone: true,
		direct:  failure{Kind: "unauthorized", Status: 401, Code: "UNEXPECTED_ERROR"},
		gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_credential"}},
}

// Faults between client and Atlas, for each method: the error has the status, whatever the
// content, and the error of a create whose outcome can't be known says so.
func TestFaults(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	// Where each call needs a new gateway, and with the race detector.
	oneOfEach := []string{"CreateExport", "V1.CreateExportBucket", "UpdateExportBucket"}
	for _, test := range faultTests {
		if test.fault.Kind == sim.FaultRedirect {
			test.fault.Location = elsewhere.URL
		}
		name := string(test.fault.Kind)
		if test.fault.BeforeAuthentication {
			name += " of the challenge"
		}
		t.Run(name, func(t *testing.T) {
			ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
				for _, m := range methods {
					through := way.Credential.String() == "no credential"
					switch {
					case testing.Short() && !slices.Contains(oneOfEach, m.name):
						continue
					// For a request without content, the answer to the unsigned request is the answer.
					case test.fault.BeforeAuthentication && (!m.content() || through && !slices.Contains(oneOfEach, m.name)),
						// After a reset net/http itself repeats a GET, with a count that was used before.
						strings.HasPrefix(name, "reset") && through && m.get():
						continue
					}
					// The client has no nonce, and what the call needs exists.
					setFaults(t, atlas)
					good := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
					bucket := createBucket(t, good)
					job := createExport(t, good, cluster, sim.OrdersSnapshot)
					if m.create {
						atlas.Advance(time.Hour) // the snapshot that another row took is completed
					}
					atlas.ForgetNonces()

					want := test.direct
					if through {
						want = test.gateway
					}
					if strings.HasSuffix(m.name, "DeleteExportBucket") && (want.Status == 200 || want.Gateway == "upstream_response" && test.fault.Kind == sim.FaultTruncate) {
						want = failure{Kind: "success"} // 204 has no content that could be wrong
					}
					if m.create && !test.notDone {
						want.Kind = "unknown outcome"
					}
					way.MaxRetries, way.MaxResponse = -1, 64<<10
					way.Transport = &http.Transport{DisableKeepAlives: true} // so that net/http does not repeat a GET
					limited := test.fault.Kind == sim.FaultRateLimit || test.fault.Kind == sim.FaultRateLimit400
					if through && (test.fault.BeforeAuthentication || limited) { // one that has no nonce yet, and does not wait
						way.BaseURL = gatewaytest.StartFor(t, atlas.URL(), everyRead).URL
					}
					c := newClient(t, way)
					setFaults(t, atlas, test.fault)
					err := m.call(t.Context(), c, group, bucket.ID, job.ID)
					got := failureOf(t, err)
					if test.fault.Kind == sim.FaultTruncate && want.Gateway != "" && got.Gateway == "upstream_unreachable" {
						want.Gateway = got.Gateway // the connection ended before the gateway had half of the answer
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: %v (-want +got):\n%s", m.name, err, diff)
					}
					checkText(t, m, test.fault, want, err)
				}
			})
		})
	}
}

// checkText checks what the tables do not hold: the cause, Retry-After and the request id.
func checkText(t *testing.T, m method, fault sim.Fault, want failure, err error) {
	t.Helper()
	if fault.Kind == sim.FaultNoChallenge && want.Gateway == "" && !strings.Contains(err.Error(), "the 401 carries no usable challenge") {
		t.Errorf("%s: %v", m.name, err)
	}
	if want.Status == 307 && !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("%s: %v", m.name, err)
	}
	if want.Kind == "rate limited" {
		if got := asError(t, err).RetryAfter; fault.RetryAfter > 0 && got != time.Duration(fault.RetryAfter)*time.Second {
			t.Errorf("%s: RetryAfter is %v", m.name, got)
		}
	}
	if want.Gateway != "" && !strings.Contains(err.Error(), asError(t, err).RequestID) {
		t.Errorf("%s: no request id in %v", m.name, err)
	}
}
