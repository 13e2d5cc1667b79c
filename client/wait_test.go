package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// waitFunc is WaitForExport of one generation.
type waitFunc func(context.Context, string, string, string, client.WaitOptions) (*client.ExportJob, error)

// eachWait runs a test for both generations, directly and through a gateway.
func eachWait(t *testing.T, test func(t *testing.T, atlas *sim.Server, c *client.Client, wait waitFunc, v1 bool)) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		t.Run("v2", func(t *testing.T) { test(t, atlas, c, c.WaitForExport, false) })
		t.Run("v1.0", func(t *testing.T) { test(t, atlas, c, c.V1().WaitForExport, true) })
	})
}

// seen is what a read of a job shows.
func seen(p client.ExportProgress) string {
	switch {
	case p.Err != nil:
		return "error"
	case p.Job.Status != nil:
		return fmt.Sprintf("%s %d/%d", p.Job.State, p.Job.Status.ExportedCollections, p.Job.Status.TotalCollections)
	default:
		return fmt.Sprintf("%s of %d replica sets", p.Job.State, len(p.Job.Components))
	}
}

// A job of a replica set, and one of a sharded cluster, which has components and no counts.
func TestWaitForExport(t *testing.T) {
	for _, test := range []struct {
		cluster, snapshot string
		want              []string
	}{
		{sim.OrdersCluster, sim.OrdersSnapshot, []string{"Queued 0/0", "InProgress 0/42", "InProgress 21/42", "Successful 42/42"}},
		{sim.EventsCluster, sim.EventsSnapshot, []string{"Queued of 2 replica sets", "InProgress of 2 replica sets", "InProgress of 2 replica sets", "Successful of 2 replica sets"}},
	} {
		t.Run(test.cluster, func(t *testing.T) {
			ways(t, sim.Config{Now: func() time.Time { return time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC) }}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
				c := newClient(t, way)
				for name, wait := range map[string]waitFunc{"v2": c.WaitForExport, "v1.0": c.V1().WaitForExport} {
					job := createExport(t, c, test.cluster, test.snapshot)
					var reads []string
					o := quickly
					o.Progress = func(p client.ExportProgress) {
						reads = append(reads, seen(p))
						if p.Job.State.Ended() != (p.Next == 0) {
							t.Errorf("%s: the next read of a job that is %s is in %v", name, p.Job.State, p.Next)
						}
						if len(reads) == 1 {
							atlas.Advance(30 * time.Second)
						} else {
							atlas.Advance(345 * time.Second)
						}
					}
					ended, err := wait(t.Context(), group, test.cluster, job.ID, o)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(test.want, reads); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
					if got, want := ended.FinishedAt, job.CreatedAt.Add(12*time.Minute); !got.Equal(want) {
						t.Errorf("%s: finished at %v, not %v", name, got, want)
					}
				}
			})
		})
	}
}

// A job that fails or is cancelled is an error with the reason.
func TestWaitForExportFails(t *testing.T) {
	cancelled := func(t *testing.T, atlas *sim.Server, id string) {
		if err := atlas.EndJob(id, sim.Outcome{State: "Cancelled"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, snapshot string
		end            func(*testing.T, *sim.Server, string)
		kind, v1Kind   string
		want, v1       string // the error's text after the id
		reason         *client.StateReason
		v1Reason       *client.StateReason
	}{
		{"failed", sim.FailingSnapshot, func(_ *testing.T, atlas *sim.Server, _ string) { atlas.Advance(20 * time.Minute) }, "failed", "failed",
			" is Failed: CANNOT_ASSUME_ROLE: The role of the export bucket can no longer be assumed.",
			" is Failed: The role of the export bucket can no longer be assumed.",
			&client.StateReason{ErrorCode: "CANNOT_ASSUME_ROLE", Message: "The role of the export bucket can no longer be assumed."},
			&client.StateReason{Message: "The role of the export bucket can no longer be assumed."}},
		// v1.0 has no state Cancelled.
		{"cancelled", sim.OrdersSnapshot, cancelled, "cancelled", "failed",
			" is Cancelled", " is Failed: The export job was cancelled.",
			nil, &client.StateReason{Message: "The export job was cancelled."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachWait(t, func(t *testing.T, atlas *sim.Server, c *client.Client, wait waitFunc, v1 bool) {
				job := createExport(t, c, cluster, test.snapshot)
				o := quickly
				reads := 0
				o.Progress = func(client.ExportProgress) {
					if reads++; reads == 1 {
						test.end(t, atlas, job.ID)
					}
				}
				got, err := wait(t.Context(), group, cluster, job.ID, o)
				want, reason, kind := test.want, test.reason, test.kind
				if v1 {
					want, reason, kind = test.v1, test.v1Reason, test.v1Kind
				}
				var ended *client.ExportError
				if !errors.As(err, &ended) || got != nil {
					t.Fatal(got, err)
				}
				if got := kindOf(t, err); got != kind || err.Error() != "client: export "+job.ID+want {
					t.Errorf("%s: %v", got, err)
				}
				if diff := cmp.Diff(reason, ended.Job.StateReason); diff != "" {
					t.Errorf("reason (-want +got):\n%s", diff)
				}
				if reads != 2 {
					t.Errorf("%d reads", reads)
				}
			})
		})
	}
}

// interruptions are what a wait outlasts.
var interruptions = map[string]struct {
	begin, end func(*testing.T, *sim.Server, *gatewaytest.Gateway)
	succeeds   bool // at once: the layers below recover
}{
	"a gateway that restarts": {
		begin: func(t *testing.T, _ *sim.Server, g *gatewaytest.Gateway) { g.Stop(); g.Wait(t) },
		end:   func(t *testing.T, _ *sim.Server, g *gatewaytest.Gateway) { g.Restart(t) },
	},
	"503s": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultUnavailable})
		},
	},
	"429s": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit})
		},
	},
	"rate limits that come as 400": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit400})
		},
	},
	"answers that break off": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultTruncate})
		},
	},
	"nonces that are forgotten": {
		begin:    func(_ *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) { atlas.ForgetNonces() },
		succeeds: true,
	},
	"nonces that are good once": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			settings := atlas.Settings()
			settings.Nonces.Uses = 1
			if err := atlas.SetSettings(settings); err != nil {
				t.Fatal(err)
			}
		},
		succeeds: true,
	},
	"a connection that is reset": {
		begin: func(t *testing.T, atlas *sim.Server, _ *gatewaytest.Gateway) {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultReset, Count: 1})
		},
		succeeds: true,
	},
}

// No interruption ends a wait.
func TestWaitForExportSurvives(t *testing.T) {
	for name, test := range interruptions {
		t.Run(name, func(t *testing.T) {
			for _, direct := range []bool{false, true} {
				if direct && name == "a gateway that restarts" {
					continue
				}
				atlas := sim.Start(t, sim.Config{})
				way := client.Config{BaseURL: atlas.URL(), Credential: key}
				var g *gatewaytest.Gateway
				if !direct {
					g = gatewaytest.StartFor(t, atlas.URL(), everyRead)
					way = client.Config{BaseURL: g.URL}
				}
				c := newClient(t, way)
				job := createExport(t, c, cluster, sim.OrdersSnapshot)
				var reads []string
				o := quickly
				o.Progress = func(p client.ExportProgress) {
					reads = append(reads, seen(p))
					switch len(reads) {
					case 1:
						test.begin(t, atlas, g)
					case 3:
						setFaults(t, atlas)
						if test.end != nil {
							test.end(t, atlas, g)
						}
						atlas.Advance(12 * time.Minute)
					}
				}
				_, err := c.WaitForExport(t.Context(), group, cluster, job.ID, o)
				want := []string{"Queued 0/0", "error", "error", "Successful 42/42"}
				if test.succeeds {
					want = []string{"Queued 0/0", "Queued 0/0", "Queued 0/0", "Successful 42/42"}
				}
				if diff := cmp.Diff(want, reads); diff != "" || err != nil {
					t.Errorf("direct %v: %v (-want +got):\n%s", direct, err, diff)
				}
			}
		})
	}
}

// The tokens of a gateway without a signing key are not good after a restart: a service account
// fetches another one.
func TestWaitForExportOutlastsTokens(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", "[{operations: [manage], groups: ["+group+"]}]")
	account := nightly.Account
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	c := newClient(t, client.Config{BaseURL: g.URL, Credential: client.ServiceAccount(account.ID, account.Secret.Reveal())})
	job := createExport(t, c, cluster, sim.OrdersSnapshot)
	var reads []string
	o := quickly
	o.Progress = func(p client.ExportProgress) {
		reads = append(reads, seen(p))
		g.Stop()
		g.Wait(t)
		g.Restart(t)
		atlas.Advance(12 * time.Minute)
	}
	_, err := c.WaitForExport(t.Context(), group, cluster, job.ID, o)
	if diff := cmp.Diff([]string{"Queued 0/0", "Successful 42/42"}, reads); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	// A wait also starts while no token can be fetched.
	reads = nil
	g.Stop()
	g.Wait(t)
	o.Progress = func(p client.ExportProgress) {
		if reads = append(reads, seen(p)); len(reads) == 1 {
			g.Restart(t)
		}
	}
	c = newClient(t, client.Config{BaseURL: g.URL, Credential: client.ServiceAccount(account.ID, account.Secret.Reveal())})
	if _, err := c.WaitForExport(t.Context(), group, cluster, job.ID, o); err != nil || reads[0] != "error" {
		t.Errorf("%v %q", err, reads)
	}
}

// If the context ends, the error is the context's, and says what was read last.
func TestWaitForExportEnds(t *testing.T) {
	eachWait(t, func(t *testing.T, atlas *sim.Server, c *client.Client, wait waitFunc, v1 bool) {
		snapshot := sim.OrdersSnapshot
		if v1 {
			snapshot = sim.OrdersSnapshot2
		}
		setFaults(t, atlas)
		job := createExport(t, c, cluster, snapshot)
		for _, test := range []struct {
			end  int // the read after which it ends
			want string
			last bool
		}{
			{0, "client: stopped waiting for the export, which was not seen: context canceled", false},
			{1, "client: stopped waiting for the export, last seen as Queued: context canceled", false},
			{2, "client: stopped waiting for the export, last seen as Queued: context canceled; before that: client: ", true},
		} {
			setFaults(t, atlas)
			ctx, cancel := context.WithCancel(t.Context())
			if test.end == 0 {
				cancel()
			}
			reads := 0
			o := quickly
			o.Progress = func(client.ExportProgress) {
				reads++
				setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit})
				if reads == test.end {
					cancel()
				}
			}
			_, err := wait(ctx, group, cluster, job.ID, o)
			var over *client.WaitError
			if !errors.As(err, &over) || !errors.Is(err, context.Canceled) || kindOf(t, err) != "" || !strings.HasPrefix(err.Error(), test.want) || (over.Last != nil) != test.last {
				t.Errorf("after %d: %v", test.end, err)
			}
			if reads != test.end {
				t.Errorf("after %d: %d reads", test.end, reads)
			}
			cancel()
		}
		setFaults(t, atlas)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := wait(ctx, group, cluster, job.ID, client.WaitOptions{Interval: time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Each pause is half as long again as the one before, up to the longest, minus a random fifth.
// Retry-After makes a pause longer.
func TestWaitForExportPauses(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	job := createExport(t, c, cluster, sim.OrdersSnapshot)
	ctx, cancel := context.WithCancel(t.Context())
	pauses := func(o client.WaitOptions, n int) (got []time.Duration) {
		t.Helper()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		o.Progress = func(p client.ExportProgress) {
			if got = append(got, p.Next); len(got) == n {
				cancel()
			}
		}
		if _, err := c.WaitForExport(ctx, group, cluster, job.ID, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return got
	}
	us := time.Microsecond
	for i, longest := range []time.Duration{1000 * us, 1500 * us, 2250 * us, 3375 * us, 4000 * us, 4000 * us} {
		differ := map[time.Duration]bool{}
		for range 20 {
			got := pauses(client.WaitOptions{Interval: 1000 * us, MaxInterval: 4000 * us}, i+1)[i]
			if got < longest*4/5 || got > longest {
				t.Errorf("pause %d is %v, not %v to %v", i, got, longest*4/5, longest)
			}
			differ[got] = true
		}
		if len(differ) == 1 {
			t.Errorf("pause %d is always the same", i)
		}
	}
	for name, test := range map[string]struct {
		o       client.WaitOptions
		longest time.Duration
	}{
		"the zero value":  {client.WaitOptions{}, 2 * time.Second},
		"negative values": {client.WaitOptions{Interval: -1, MaxInterval: -1}, 2 * time.Second},
		"a short longest": {client.WaitOptions{MaxInterval: time.Second}, time.Second},
		"a long first":    {client.WaitOptions{Interval: time.Hour}, 30 * time.Second},
	} {
		if got := pauses(test.o, 1)[0]; got < test.longest*4/5 || got > test.longest {
			t.Errorf("%s: %v", name, got)
		}
	}
	setFaults(t, atlas, sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 60})
	if got := pauses(quickly, 1)[0]; got < time.Minute || got > time.Minute+time.Second {
		t.Errorf("with Retry-After: %v", got)
	}
	cancel()
}

// A job in a state that the client does not know has not ended.
func TestUnknownState(t *testing.T) {
	states := []string{"Verifying", "Paused", "Successful"}
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		state := states[0]
		states = states[1:]
		return answer(r, 200, `{"id":"`+nobody+`","state":"`+state+`"}`), nil
	})})
	job, err := c.WaitForExport(t.Context(), group, cluster, nobody, quickly)
	if err != nil || job.State != client.Successful || len(states) != 0 {
		t.Error(job, err, states)
	}
}
