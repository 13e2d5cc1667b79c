package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"
)

// Each read, update and deletion is sent again after a fault that passes.
func TestRetries(t *testing.T) {
	for _, fault := range []sim.Fault{
		{Kind: sim.FaultUnavailable, Count: 1},
		{Kind: sim.FaultReset, Count: 1},
		{Kind: sim.FaultTruncate, Count: 1},
		{Kind: sim.FaultRateLimit, Count: 1},
		{Kind: sim.FaultRateLimit400, Count: 1},
	} {
		t.Run(string(fault.Kind), func(t *testing.T) {
			t.Parallel()
			ways(t, sim.Config{Settings: sim.Settings{ParallelExports: true}}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
				c := newClient(t, way)
				for _, m := range methods {
					// For the other faults three methods are enough, since each retry takes time.
					one := m.name == "GetExport" || m.name == "UpdateExportBucket" || m.name == "DeleteExportBucket"
					if m.create || fault.Kind != sim.FaultUnavailable && !one || fault.Kind == sim.FaultTruncate && !m.get() {
						continue
					}
					setFaults(t, atlas)
					bucket, job := createBucket(t, c), createExport(t, c, cluster, sim.OrdersSnapshot)
					setFaults(t, atlas, fault)
					if err := m.call(t.Context(), c, group, bucket.ID, job.ID); err != nil {
						t.Errorf("%s: %v", m.name, err)
					}
					if faults := atlas.Faults(); faults[0].Struck != 1 {
						t.Errorf("%s: the fault struck %d times", m.name, faults[0].Struck)
					}
				}
			})
		})
	}
}

// If a bucket is gone after a deletion whose outcome was not known, it was deleted. A bucket that
// never existed is not found.
func TestDeleteAgain(t *testing.T) {
	t.Parallel()
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		snapshots := map[string]string{"v2": sim.OrdersSnapshot, "v1.0": sim.OrdersSnapshot2}
		for name, deleteBucket := range map[string]func(context.Context, string, string) error{"v2": c.DeleteExportBucket, "v1.0": c.V1().DeleteExportBucket} {
			for _, kind := range []sim.FaultKind{sim.FaultResetAfter, sim.FaultUnavailableAfter} {
				setFaults(t, atlas)
				bucket := createBucket(t, c)
				setFaults(t, atlas, sim.Fault{Kind: kind, Count: 1})
				if err := deleteBucket(t.Context(), group, bucket.ID); err != nil {
					t.Errorf("%s, %s: %v", name, kind, err)
				}
				setFaults(t, atlas)
				if _, err := c.GetExportBucket(t.Context(), group, bucket.ID); !errors.Is(err, client.ErrNotFound) {
					t.Errorf("%s, %s: the bucket is there: %v", name, kind, err)
				}
			}
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit, Count: 1})
			if err := deleteBucket(t.Context(), group, nobody); !errors.Is(err, client.ErrNotFound) {
				t.Errorf("%s: after a rate limit: %v", name, err)
			}
			setFaults(t, atlas)
			job := createExport(t, c, cluster, snapshots[name])
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailable, Count: 1})
			if err := deleteBucket(t.Context(), group, job.ExportBucketID); !errors.Is(err, client.ErrConflict) {
				t.Errorf("%s: in use: %v", name, err)
			}
		}
	})
}

// After which answers a read is sent again.
func TestWorthAnotherTry(t *testing.T) {
	for _, test := range []struct {
		status     int
		kind, body string
		again      bool
	}{
		{200, "", "<html></html>", true},
		{200, "", strings.Repeat(" ", 1<<10+1), false}, // larger than MaxResponse
		{302, "", "", false},
		{400, "", `{"errorCode":"VALIDATION_ERROR"}`, false},
		{400, "", `{"errorCode":"RATE_LIMITED_TOKEN_BUCKET"}`, true},
		{403, "", "", false},
		{404, "", "", false},
		{408, "", "", true},
		{409, "", "", false},
		{410, "", `{"errorCode":"VERSION_GONE"}`, false},
		{429, "", "", true},
		{500, "", `{"errorCode":"UNEXPECTED_ERROR"}`, true},
		{501, "", "", false},
		{502, "", "", true},
		{502, "upstream_credential", "", true},
		{502, "no_credential", "", false},
		{503, "", "", true},
		{504, "", "", true},
	} {
		t.Run(strings.TrimSpace(strconv.Itoa(test.status)+" "+test.kind), func(t *testing.T) {
			t.Parallel()
			tries := 0
			c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: 1, MaxResponse: 1 << 10, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
				tries++
				a := answer(r, test.status, test.body)
				a.Header.Set("Gateway-Error", test.kind)
				return a, nil
			})})
			_, err := c.GetExport(t.Context(), group, cluster, nobody)
			if asError(t, err).Status != test.status || (tries > 1) != test.again {
				t.Errorf("%q: %d tries: %v", test.body, tries, err)
			}
		})
	}
}

// Retries end after MaxRetries, before a pause that is longer than the context's deadline, and
// when the context ends.
func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultUnavailable}}})
	for _, test := range []struct{ retries, want int }{{-1, 1}, {1, 2}, {0, 5}} {
		atlas.Reset()
		c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key, MaxRetries: test.retries})
		if _, err := c.GetExport(t.Context(), group, cluster, nobody); asError(t, err).Status != 503 {
			t.Error(err)
		}
		if sent := signed(atlas, "getBackupExport"); len(sent) != test.want {
			t.Errorf("MaxRetries %d: it was sent %d times", test.retries, len(sent))
		}
	}

	// A server asks for a longer pause than the call allows, with a deadline and without.
	for _, after := range []int{60, 600} {
		atlas.Reset()
		setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: after})
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		if after == 600 {
			ctx, cancel = context.WithCancel(t.Context())
		}
		c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
		_, err := c.GetExport(ctx, group, cluster, nobody)
		if !errors.Is(err, client.ErrRateLimited) || asError(t, err).RetryAfter != time.Duration(after)*time.Second || ctx.Err() != nil {
			t.Errorf("%d s: %v, %v", after, err, ctx.Err())
		}
		if n := atlas.Counts().ByStatus[429]; n != 1 {
			t.Errorf("%d s: it was sent %d times", after, n)
		}
		cancel()
	}

	// A context is cancelled between two tries: errors.Is finds both reasons.
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"60"}}, Body: closing{strings.NewReader("{}"), cancel}, Request: r}, nil
	})})
	_, err := c.GetExport(ctx, group, cluster, nobody)
	if !errors.Is(err, context.Canceled) || asError(t, err).Status != 503 {
		t.Error(err)
	}
}

// closing is a body that does something when it is closed.
type closing struct {
	io.Reader
	do func()
}

func (c closing) Close() error {
	c.do()
	return nil
}

// Retry-After is seconds or a date, and counts for a day at most. A date is read against the Date
// of the answer, whatever the clock of this machine says.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"7", "", 7 * time.Second},
		{" 7 ", "", 7 * time.Second},
		{"-7", "", 0},
		{"soon", "", 0},
		{"99999999", "", 24 * time.Hour},
		{"99999999999999999999", "", 24 * time.Hour},
		{"Mon, 10 Aug 2020 03:28:25 GMT", "", 0},
		{"Mon, 10 Aug 2099 03:28:25 GMT", "", 24 * time.Hour},
		{"7", "Mon, 10 Aug 2020 03:28:25 GMT", 7 * time.Second},
		{"Mon, 10 Aug 2020 03:29:00 GMT", "Mon, 10 Aug 2020 03:28:25 GMT", 35 * time.Second},
		{"Mon, 10 Aug 2099 03:29:00 GMT", "Mon, 10 Aug 2099 03:28:25 GMT", 35 * time.Second},
		{"Sat, 1 Aug 2099 03:29:00 GMT", "Sat, 1 Aug 2099 03:28:25 GMT", 35 * time.Second},
		{"Mon, 10 Aug 2020 03:28:00 GMT", "Mon, 10 Aug 2020 03:28:25 GMT", 0},
		{"Mon, 10 Aug 2020 03:29:00 GMT", "Mon, 10 Aug 1970 03:28:25 GMT", 24 * time.Hour},
		{"Mon, 10 Aug 2020 03:29:00 GMT", "today", 0},
	} {
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {test.value}, "Date": {test.date}}, Body: http.NoBody, Request: r}, nil
		})})
		_, err := c.GetExport(t.Context(), group, cluster, nobody)
		if got := asError(t, err).RetryAfter; got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
