package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// The error for an unknown outcome: when the create was sent, and where to look.
func TestUnknownOutcome(t *testing.T) {
	ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		bucket := createBucket(t, c)
		for _, v1 := range []bool{false, true} {
			create, find, createBucket := c.CreateExport, c.FindExport, func(ctx context.Context) error { return dropResult(c.CreateExportBucket(ctx, group, awsBucket)) }
			if v1 {
				create, find = c.V1().CreateExport, c.V1().FindExport
				createBucket = func(ctx context.Context) error {
					return dropResult(c.V1().CreateExportBucket(ctx, group, awsBucket))
				}
			}
			began := time.Now()
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailableAfter, Count: 1})
			_, err := create(t.Context(), group, cluster, export(bucket.ID))
			var unknown *client.UnknownOutcomeError
			if !errors.As(err, &unknown) || !strings.HasSuffix(err.Error(), "before you repeat it, look for the snapshot's id in the list of the cluster's export jobs") {
				t.Fatal(err)
			}
			if unknown.SentAt.Before(began) || unknown.SentAt.After(time.Now()) {
				t.Errorf("sent at %v", unknown.SentAt)
			}
			if _, err := find(t.Context(), group, cluster, sim.OrdersSnapshot2, unknown.SentAt); err != nil {
				t.Error(err)
			}
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultResetAfter, Count: 1})
			if err := createBucket(t.Context()); !errors.Is(err, client.ErrUnknownOutcome) || !strings.HasSuffix(err.Error(), "look for the bucket in the list of the group's export buckets") {
				t.Error(err)
			}
		}
	})
}

// Contents of an answer: with no sentence for people, and with sentences of a gateway.
const (
	plain  = `{"errorCode":"UNEXPECTED_ERROR"}`
	no     = `{"errorCode":"UNEXPECTED_ERROR","detail":"Atlas could not be reached. The request was not carried out."}`
	unsure = `{"errorCode":"UNEXPECTED_ERROR","detail":"It is not known whether the request was carried out: look before you repeat it."}`
)

// createAnswers are answers to a create. unknown says that the create may have been carried out.
var createAnswers = []struct {
	status        int
	kind, outcome string // Gateway-Error and Gateway-Outcome
	body          string
	unknown       bool
}{
	// Answers of Atlas, or of something between client and Atlas.
	{200, "", "", "<html></html>", true},
	{200, "", "", `{}`, true},
	{204, "", "", "", true},
	{302, "", "", "", true},
	{400, "", "", "<html></html>", false},
	{404, "", "", "", false},
	{408, "", "", "<html></html>", true},
	{409, "", "", `{"errorCode":"EXPORT_ALREADY_IN_PROGRESS"}`, false},
	{429, "", "", "", false},
	{500, "", "", plain, true},
	{502, "", "", "", true},
	{502, "", "", no, true},

	// Answers of a gateway, with Gateway-Outcome.
	{502, "upstream_unreachable", "not_sent", no, false},
	{502, "upstream_unreachable", "not_sent", unsure, false},
	{502, "upstream_unreachable", "unknown", unsure, true},
	{502, "upstream_unreachable", "unknown", no, true},
	{504, "upstream_timeout", "not_sent", `<html></html>`, false},
	{504, "upstream_timeout", "unknown", `<html></html>`, true},
	{500, "internal", "not_sent", plain, false},
	{502, "upstream_credential", "unknown", plain, true},
	{503, "overloaded", "unknown", plain, true},
	{403, "forbidden", "not_sent", plain, false},
	{408, "request_timeout", "not_sent", plain, false},
	{429, "rate_limited", "unknown", plain, true},
	// Answers of Atlas, through a gateway.
	{400, "", "answered", plain, false},
	{408, "", "answered", plain, true},
	{409, "", "answered", `{"errorCode":"EXPORT_ALREADY_IN_PROGRESS"}`, false},
	{429, "", "answered", plain, false},
	{500, "", "answered", no, true},
	{503, "", "answered", plain, true},
	{502, "overloaded", "answered", no, true},
	// Values of Gateway-Outcome that the client does not know.
	{502, "upstream_unreachable", "pending", no, true},
	{503, "overloaded", "pending", plain, true},
	{502, "", "NOT_SENT", no, true},
	{403, "forbidden", "pending", plain, false},
	{408, "request_timeout", "pending", plain, false},
	// The fields of a success or a redirect don't count.
	{200, "", "not_sent", `{}`, true},
	{200, "overloaded", "not_sent", `{}`, true},
	{200, "", "answered", `{}`, true},
	{302, "", "not_sent", "", true},

	// Answers of a gateway of an older version.
	{403, "forbidden", "", plain, false},
	{408, "request_timeout", "", `{"errorCode":"REQUEST_TIMEOUT","detail":"The request did not arrive within 15s."}`, false},
	{500, "internal", "", `{"errorCode":"UNEXPECTED_ERROR","detail":"Unexpected error."}`, true},
	{502, "no_credential", "", plain, false},
	{502, "upstream_credential", "", plain, false},
	{502, "upstream_unsigned", "", unsure, false},
	{502, "upstream_response", "", plain, true},
	{502, "upstream_unreachable", "", no, true},
	{502, "upstream_unreachable", "", unsure, true},
	{503, "overloaded", "", `{"errorCode":"SERVICE_UNAVAILABLE"}`, false},
	{504, "upstream_timeout", "", no, true},
	{504, "upstream_timeout", "", `<html></html>`, true},
}

// After which answers a create may have been carried out. A gateway says so in a field; its
// sentence for people does not count.
func TestUnknownAnswers(t *testing.T) {
	for _, test := range createAnswers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{"Gateway-Error": test.kind, "Gateway-Outcome": test.outcome} {
				if value != "" {
					w.Header().Set(name, value)
				}
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		c := newClient(t, client.Config{BaseURL: server.URL})
		for _, m := range methods {
			if !m.create {
				continue
			}
			err := m.call(t.Context(), c, group, nobody, nobody)
			if e := asError(t, err); errors.Is(err, client.ErrUnknownOutcome) != test.unknown || e.Status != test.status || e.Outcome != client.Outcome(test.outcome) {
				t.Errorf("%+v: %s: %v, outcome %q", test, m.name, err, e.Outcome)
			}
		}
		server.Close()
	}
}

// A create that is answered with a job succeeded, whatever the field says.
func TestOutcomeOfSuccess(t *testing.T) {
	for _, outcome := range []client.Outcome{"", client.OutcomeAnswered, client.OutcomeNotSent, client.OutcomeUnknown} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Gateway-Outcome", string(outcome))
			io.WriteString(w, `{"id":"`+nobody+`","state":"Queued"}`)
		}))
		if job, err := newClient(t, client.Config{BaseURL: server.URL}).CreateExport(t.Context(), group, cluster, export(nobody)); err != nil || job.ID != nobody {
			t.Errorf("%q: %v %v", outcome, job, err)
		}
		server.Close()
	}
}

// A gateway that can't connect to Atlas did not send the create. If the gateway does not send
// Gateway-Outcome, the client can't know that.
func TestGatewayWithoutAtlas(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	c := newClient(t, client.Config{BaseURL: gatewaytest.StartFor(t, atlas.URL(), "").URL})
	atlas.Close()
	for _, m := range methods {
		if !m.create {
			continue
		}
		err := m.call(t.Context(), c, group, nobody, nobody)
		e := asError(t, err)
		if e.GatewayKind != "upstream_unreachable" || e.Outcome != client.OutcomeNotSent || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v, outcome %q", m.name, err, e.Outcome)
		}
	}
}
