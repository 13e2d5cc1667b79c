package client_test

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// For each method, errors after which a retry would fail too.
func TestRefusals(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	direct := client.Config{BaseURL: atlas.URL(), Credential: key}
	through := client.Config{BaseURL: g.URL}
	readOnly := client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.ReadOnlyPublicKey, sim.PrivateKey)}
	bad := client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, "wrong")}
	noAccount := client.Config{BaseURL: atlas.URL(), Credential: client.ServiceAccount(sim.ClientID, "wrong")}
	badToken := client.Config{BaseURL: atlas.URL(), Credential: client.BearerToken("wrong")}

	for _, test := range []struct {
		name  string
		way   client.Config
		group string
		want  failure
	}{
		{"an invalid group, direct", direct, "..", failure{Kind: "invalid"}},
		{"an invalid group, gateway", through, "64F0C1A2B3D4E5F607182930", failure{Kind: "invalid"}},
		{"no such group, direct", direct, nobody, failure{Kind: "not found", Status: 404, Code: "GROUP_NOT_FOUND"}},
		{"no such group, gateway", through, nobody, failure{Kind: "not found", Status: 404, Code: "GROUP_NOT_FOUND"}},
		{"a wrong key", bad, group, failure{Kind: "unauthorized", Status: 401}},
		{"a wrong secret", noAccount, group, failure{Kind: "unauthorized", Status: 401}},
		{"a wrong token", badToken, group, failure{Kind: "unauthorized", Status: 401, Code: "UNEXPECTED_ERROR"}},
		{"a group of others", readOnly, sim.EmptyGroupID, failure{Kind: "forbidden", Status: 401, Code: "NOT_IN_GROUP"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, test.way)
			for _, m := range slices.Concat(waits, methodsOfExports, methodsAround) {
				before := atlas.Counts().Requests
				err := m.call(t.Context(), c, test.group, nobody, nobody)
				got := failureOf(t, err)
				if got.Status == 401 && test.want.Code == "" {
					got.Code = "" // a key that is held back is not sent
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: %v (-want +got):\n%s", m.name, err, diff)
				}
				if test.want.Status == 0 && atlas.Counts().Requests != before {
					t.Errorf("%s: it was sent all the same", m.name)
				}
				for _, secret := range []string{"wrong", sim.PrivateKey} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s: the secret is in %q", m.name, err)
					}
				}
			}
		})
	}
}

// Conflicts, and what only Atlas can find invalid.
func TestAtlasRefuses(t *testing.T) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		ctx := t.Context()
		c := newClient(t, way)
		job := createExport(t, c, cluster, sim.OrdersSnapshot)
		request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: job.ExportBucketID}
		for name, test := range map[string]struct {
			err    error
			want   failure
			detail string
			params []string
		}{
			"an export under way": {dropResult(c.CreateExport(ctx, group, cluster, request)),
				failure{Kind: "conflict", Status: 409, Code: "EXPORT_ALREADY_IN_PROGRESS"}, "An export of snapshot " + sim.OrdersSnapshot + " is already in progress.", []string{sim.OrdersSnapshot}},
			"the same, v1.0": {dropResult(c.V1().CreateExport(ctx, group, cluster, request)),
				failure{Kind: "conflict", Status: 409, Code: "EXPORT_ALREADY_IN_PROGRESS"}, "An export of snapshot " + sim.OrdersSnapshot + " is already in progress.", []string{sim.OrdersSnapshot}},
			"a bucket in use": {c.DeleteExportBucket(ctx, group, job.ExportBucketID),
				failure{Kind: "conflict", Status: 400, Code: "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE"}, "*", nil},
			"no such bucket": {c.DeleteExportBucket(ctx, group, nobody),
				failure{Kind: "not found", Status: 404, Code: "EXPORT_BUCKET_NOT_FOUND"}, "No export Bucket with ID " + nobody + " does not exist.", []string{nobody}},
			"no such job": {dropResult(c.WaitForExport(ctx, group, cluster, nobody, quickly)),
				failure{Kind: "not found", Status: 404, Code: "INVALID_JOB_ID"}, "An invalid restore job ID " + nobody + " was specified.", []string{nobody}},
			"a role that can't be assumed": {dropResult(c.CreateExportBucket(ctx, group, client.AWSBucket{BucketName: "acme", IAMRoleID: sim.UnassumableRole})),
				failure{Kind: "invalid", Status: 400, Code: "CANNOT_ASSUME_ROLE"}, "*", nil},
			"a job that is not there": {dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot2, time.Time{})),
				failure{Kind: "not found"}, "", nil},
			"a job that is too old": {dropResult(c.FindExport(ctx, group, cluster, sim.OrdersSnapshot, job.CreatedAt.Add(time.Second))),
				failure{Kind: "not found"}, "", nil},
		} {
			if diff := cmp.Diff(test.want, failureOf(t, test.err)); diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, test.err, diff)
				continue
			}
			e := asError(t, test.err)
			if test.detail != "*" && (e.Detail != test.detail || !cmp.Equal(e.Parameters, test.params)) {
				t.Errorf("%s: %q %q", name, e.Detail, e.Parameters)
			}
		}
	})
}

// A caller of a gateway, with each kind of credential: what its grants allow, and what not.
func TestGatewayCallers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", "[{operations: [read], groups: ["+group+"]}]")
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	for _, credential := range []client.Credential{
		client.APIKey(nightly.Pair.ID, nightly.Pair.Secret.Reveal()),
		client.ServiceAccount(nightly.Account.ID, nightly.Account.Secret.Reveal()),
		client.BearerToken(nightly.Token.Secret.Reveal()),
	} {
		t.Run(credential.String(), func(t *testing.T) {
			c := newClient(t, client.Config{BaseURL: g.URL, Credential: credential})
			if _, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{}); err != nil {
				t.Error(err)
			}
			_, err := c.CreateExportBucket(t.Context(), group, awsBucket)
			if diff := cmp.Diff(failure{"forbidden", 403, "USER_UNAUTHORIZED", "forbidden"}, failureOf(t, err)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		c := newClient(t, client.Config{BaseURL: g.URL})
		_, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{})
		if diff := cmp.Diff(failure{"unauthorized", 401, "UNEXPECTED_ERROR", "unauthorized"}, failureOf(t, err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// Atlas also answers 401 if a good key is not allowed to do something. The client does not take
// that for a bad key, even if the errorCode stands only in the content.
func TestForbiddenBy401(t *testing.T) {
	for _, inHeader := range []bool{true, false} {
		requests := 0
		c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", Credential: key, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
			requests++
			a := answer(r, 401, `{"error":401,"errorCode":"USER_UNAUTHORIZED","detail":"No."}`)
			if requests == 1 || !inHeader {
				a.Header.Set("WWW-Authenticate", `Digest realm="MMS Public API", nonce="`+rand.Text()+`", algorithm=MD5, qop="auth"`)
			}
			if inHeader {
				a.Header.Set("X-Error-Code", "USER_UNAUTHORIZED")
			}
			return a, nil
		})})
		_, err := c.GetExport(t.Context(), group, cluster, nobody)
		if diff := cmp.Diff(failure{Kind: "forbidden", Status: 401, Code: "USER_UNAUTHORIZED"}, failureOf(t, err)); diff != "" || asError(t, err).Detail != "No." || asError(t, err).Err != nil || requests != 2 {
			t.Errorf("%d requests: %v (-want +got):\n%s", requests, err, diff)
		}
	}
}
