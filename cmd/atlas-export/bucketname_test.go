package main

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A caller that may create buckets and not list them creates one all the same, and is told what is
// not known. With --if-not-exists nothing is created then.
func TestCreateWithoutList(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	caller := gatewaytest.Issue(t, "terraform", `[{operations: [createExportBucket, createBackupExport, getBackupExport], groups: ["*"]}]`)
	w := &world{atlas, gatewaytest.StartFor(t, atlas.URL(), "", caller).URL, key{caller.Pair.ID, caller.Pair.Secret.Reveal()}, key{}, nil}
	create := []string{"buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole, "-o", "name"}

	got := w.run(t, w.owner, append(create, "--if-not-exists")...)
	if got.Status != exitForbidden || got.Stdout != "" ||
		!strings.HasPrefix(got.Stderr, "atlas-export: nothing was created, since it is not known whether the bucket exists: listExportBuckets: 403 USER_UNAUTHORIZED: ") {
		t.Errorf("got %+v", got)
	}
	got = w.run(t, w.owner, create...)
	bucket := strings.TrimSpace(got.Stdout)
	if want := "atlas-export: nobody knows whether a bucket of this name exists, since the buckets can't be listed\n"; got.Status != exitOK || got.Stderr != want || !strings.HasPrefix(bucket, "bucket/") {
		t.Errorf("got %+v", got)
	}

	// The name beside the id of a bucket is left out if the bucket can't be read.
	export := w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", bucket, "-o", "name")
	id := strings.TrimPrefix(bucket, "bucket/")
	if got := w.must(t, "exports", "get", export, "--cluster", "orders"); !strings.Contains(got, "\nBUCKET     "+id+"\n") {
		t.Errorf("got %s", got)
	}
	direct := &world{atlas, atlas.URL(), key{sim.PublicKey, sim.PrivateKey}, key{}, nil}
	if got := direct.must(t, "exports", "get", export, "--cluster", "orders"); !strings.Contains(got, "\nBUCKET     "+id+" (acme-exports)\n") {
		t.Errorf("got %s", got)
	}
}

// An id says when it was made.
func TestRegistered(t *testing.T) {
	for id, want := range map[string]string{
		"64f0c1a2b3d4e5f607182930": "2023-08-31T16:36:50Z",
		"ffffffffb3d4e5f607182930": "2106-02-07T06:28:15Z",
		"production":               "",
		"64f0":                     "",
		"":                         "",
	} {
		if got := formatTime(registered(id)); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
