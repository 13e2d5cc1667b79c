package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"atlas-export-gateway/sim"
)

const (
	snapshot = "6a01e0b45be2d84417c09f10"
	bucket   = "65a9d3e1f20b4c7788990011"
	// A gateway that doesn't know what became of a create lists the jobs of the cluster.
	jobsPerCluster = 50
	// upstreamTimeout is timeouts.upstream of the gateways.
	upstreamTimeout = time.Second
)

// clusterOf returns the cluster that a create is for.
func clusterOf(number int) string { return fmt.Sprintf("cluster-%d", number/jobsPerCluster) }

// newAtlas makes a simulated Atlas with clusters for a number of creates, in which jobs end within
// milliseconds and many of one snapshot may run at a time.
func newAtlas(creates int) (*sim.Server, error) {
	seed := sim.DefaultSeed()
	group := sim.Group{ID: sim.GroupID, Name: "crash", Org: seed.Groups[0].Org, Buckets: []sim.Bucket{
		{ID: bucket, CloudProvider: "AWS", BucketName: "acme-exports", IamRoleID: sim.AWSRole},
	}}
	for i := 0; i <= (creates-1)/jobsPerCluster; i++ {
		group.Clusters = append(group.Clusters, sim.Cluster{
			Name:        clusterOf(i * jobsPerCluster),
			UniqueID:    fmt.Sprintf("%024x", i),
			ReplicaSets: []string{"rs0"},
			Databases:   []sim.Database{{Name: "shop", Collections: []string{"orders"}}},
			// Snapshots have ids of their own, though Atlas's are so by themselves.
			Snapshots: []sim.Snapshot{{ID: snapshotOf(i * jobsPerCluster), CreatedAt: time.Now().Add(-time.Hour)}},
		})
	}
	seed.Groups, seed.ServiceAccounts, seed.Keys = []sim.Group{group}, nil, seed.Keys[:1]
	seed.Keys[0].Groups = nil
	atlas, err := sim.New(sim.Config{
		Seed:      seed,
		QueueTime: time.Millisecond,
		RunTime:   time.Millisecond,
		Settings: sim.Settings{
			RateLimit:       sim.RateLimit{Off: true},
			ParallelExports: true,
			CountsOnly:      true,
		},
		Faults: faults(),
	})
	return atlas, err
}

// snapshotOf returns the snapshot that a create exports.
func snapshotOf(number int) string {
	return fmt.Sprintf("%s%08x", snapshot[:16], number/jobsPerCluster)
}

// faults are what goes wrong at Atlas, besides what kills bring.
func faults() (list []sim.Fault) {
	for _, create := range []string{"createBackupExport", "v1CreateBackupExport"} {
		for _, kind := range []sim.FaultKind{sim.FaultReset, sim.FaultResetAfter, sim.FaultUnavailable, sim.FaultUnavailableAfter, sim.FaultTruncate} {
			list = append(list, sim.Fault{Kind: kind, Operation: create, Share: .005})
		}
		// Carried out after the gateway has given up.
		list = append(list, sim.Fault{Kind: sim.FaultLatency, Operation: create, Share: .001, Latency: sim.Duration(upstreamTimeout + 100*time.Millisecond)})
	}
	for _, read := range []string{"listBackupExports", "getBackupExport", "v1GetBackupExport"} {
		for _, kind := range []sim.FaultKind{sim.FaultReset, sim.FaultUnavailable, sim.FaultTruncate} {
			list = append(list, sim.Fault{Kind: kind, Operation: read, Share: .01})
		}
	}
	return list
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// serveAtlas serves the simulated Atlas for one gateway, which it tells how far creates have come,
// and returns the URL.
func serveAtlas(ctx context.Context, atlas *sim.Server, g *gateway) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				serveResetting(atlas, &answer{ResponseWriter: w}, r)
				return
			}
			answerCreate(atlas, g, w, r)
		}),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), nil
}

// answerCreate answers a create, and lets the gateway be killed on the way.
func answerCreate(atlas *sim.Server, g *gateway, w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	if len(content) == 0 { // a request for a challenge
		g.reach(unrecorded)
		serveResetting(atlas, &answer{ResponseWriter: w}, r)
		return
	}
	g.audit.await(contentIn(content))
	if g.reach(ignored) {
		panic(http.ErrAbortHandler)
	}
	if g.reach(arrived) {
		time.Sleep(rand.N(upstreamTimeout))
	}
	serveResetting(atlas, &answer{ResponseWriter: w, before: func() { g.reach(worked) }}, r)
	http.NewResponseController(w).Flush()
	g.reach(answered)
}

// serveResetting has the simulated Atlas answer. Where a fault wants the connection reset, it is:
// the simulation itself can do that only on a listener of its own.
func serveResetting(atlas *sim.Server, w *answer, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if conn, ok := r.Context().Value(connKey{}).(*net.TCPConn); ok && !w.begun {
				conn.SetLinger(0)
			}
			panic(p)
		}
	}()
	atlas.API().ServeHTTP(w, r)
}

// answer is a ResponseWriter that calls a function before the answer begins.
type answer struct {
	http.ResponseWriter
	before func() // may be nil
	begun  bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	if a.before != nil {
		a.before()
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
