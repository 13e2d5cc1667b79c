package client_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

// What goes wrong on the way, of each method: the status is kept, whatever the content, and
// a create whose outcome can't be known says so.
func TestFaults(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	oneOfEach := []string{"CreateExport", "V1.CreateExportBucket", "UpdateExportBucket"} // where each takes a gateway of its own
	for _, test := range []struct {
		fault           sim.Fault
		direct, gateway failure // of a create that isn't sure, Kind is "unknown outcome"
		sure            bool    // of a create too: it was not carried out
	}{
		{fault: sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7}, sure: true,
			direct:  failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
			gateway: failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"}},
		{fault: sim.Fault{Kind: sim.FaultRateLimit400, RetryAfter: 7}, sure: true,
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
		{fault: sim.Fault{Kind: sim.FaultRedirect, Location: elsewhere.URL},
			direct:  failure{Status: 307},
			gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultTruncate},
			direct:  failure{Status: 200},
			gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_response"}},
		{fault: sim.Fault{Kind: sim.FaultOversize, Bytes: 1 << 20},
			direct:  failure{Status: 200},
			gateway: failure{Status: 200}},
		{fault: sim.Fault{Kind: sim.FaultUnavailable, BeforeAuthentication: true}, sure: true,
			direct:  failure{Status: 503},
			gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_unsigned"}},
		{fault: sim.Fault{Kind: sim.FaultRateLimit, BeforeAuthentication: true}, sure: true,
			direct:  failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET"},
			gateway: failure{Kind: "rate limited", Status: 429, Code: "RATE_LIMITED_TOKEN_BUCKET", Gateway: "rate_limited"}},
		{fault: sim.Fault{Kind: sim.FaultNoChallenge}, sure: true,
			direct:  failure{Kind: "unauthorized", Status: 401, Code: "UNEXPECTED_ERROR"},
			gateway: failure{Status: 502, Code: "UNEXPECTED_ERROR", Gateway: "upstream_credential"}},
	} {
		name := string(test.fault.Kind)
		if test.fault.BeforeAuthentication {
			name += " of the challenge"
		}
		t.Run(name, func(t *testing.T) {
			ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
				for _, m := range methods {
					through := way.Credential.String() == "no credential"
					switch {
					// Without content, the answer to the unsigned request is the answer.
					case test.fault.BeforeAuthentication && (!m.content() || through && !slices.Contains(oneOfEach, m.name)),
						// net/http repeats a GET after a reset by itself, with a count that was used.
						strings.HasPrefix(name, "reset") && through && m.get():
						continue
					}
					// No nonce is at hand, and what the call needs exists.
					setFaults(t, atlas)
					good := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
					bucket := createBucket(t, good)
					job := createExport(t, good, cluster, sim.OrdersSnapshot)
					atlas.ForgetNonces()

					want := test.direct
					if through {
						want = test.gateway
					}
					if want.Status == 200 && strings.HasSuffix(m.name, "DeleteExportBucket") {
						want = failure{Kind: "success"} // 204 has no content that could be wrong
					}
					if want.Gateway == "upstream_response" && test.fault.Kind == sim.FaultTruncate && strings.HasSuffix(m.name, "DeleteExportBucket") {
						want = failure{Kind: "success"}
					}
					if m.create && !test.sure {
						want.Kind = "unknown outcome"
					}
					way.MaxRetries, way.MaxResponse = -1, 64<<10
					way.Transport = &http.Transport{DisableKeepAlives: true} // lest net/http repeat a GET
					if test.fault.BeforeAuthentication && through {
						way.BaseURL = startGateway(t, atlas, "").url() // one that has no nonce yet
					}
					c := newClient(t, way)
					setFaults(t, atlas, test.fault)
					err := m.call(t.Context(), c, group, bucket.ID, job.ID)
					got := failureOf(t, err)
					if test.fault.Kind == sim.FaultTruncate && want.Gateway != "" && got.Gateway == "upstream_unreachable" {
						want.Gateway = got.Gateway // the gateway met the connection's end before the half of an answer
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: %v (-want +got):\n%s", m.name, err, diff)
					}
					if test.fault.Kind == sim.FaultNoChallenge && !through && !strings.Contains(err.Error(), "the 401 carries no usable challenge") {
						t.Errorf("%s: %v", m.name, err)
					}
					if want.Status == 307 && !strings.Contains(err.Error(), "redirects are not followed") {
						t.Errorf("%s: %v", m.name, err)
					}
					if want.Kind == "rate limited" {
						if got := asError(t, err).RetryAfter; test.fault.RetryAfter > 0 && got != time.Duration(test.fault.RetryAfter)*time.Second {
							t.Errorf("%s: RetryAfter is %v", m.name, got)
						}
					}
					if want.Gateway != "" && !strings.Contains(err.Error(), asError(t, err).RequestID) {
						t.Errorf("%s: no request id in %v", m.name, err)
					}
				}
			})
		})
	}
}
