package client_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/client"
)

// wire returns a response as it is sent.
func wire(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

// talk serves requests over TCP. It sends whatever answers returns.
func talk(t *testing.T, answers func(r *http.Request) []string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for reader := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					for _, answer := range answers(r) {
						io.WriteString(conn, answer)
						time.Sleep(100 * time.Microsecond) // a segment of its own
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// A server sends a second answer to a list, which nobody asked for. The client does not take it
// for the answer to a create: the create is neither refused by it, nor carried out.
func TestStrayAnswers(t *testing.T) {
	const snapshot, bucket = "6a01e0b45be2d84417c09f10", "65a9d3e1f20b4c7788990011"
	var creates atomic.Int32
	url := talk(t, func(r *http.Request) []string {
		if r.Method == http.MethodGet {
			return []string{wire(200, `{"results":[],"links":[]}`), wire(409, `{"error":409,"errorCode":"CONFLICT"}`)}
		}
		creates.Add(1)
		return []string{wire(200, `{"id":"`+nobody+`","state":"Queued","snapshotId":"`+snapshot+`","exportBucketId":"`+bucket+`"}`)}
	})
	for range 50 {
		c := newClient(t, client.Config{BaseURL: url})
		if _, err := c.ExportBucketsPage(t.Context(), group, client.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		if job, err := c.CreateExport(t.Context(), group, cluster, client.ExportRequest{SnapshotID: snapshot, ExportBucketID: bucket}); err != nil || job.ID != nobody {
			t.Fatalf("after %d creates: %v %v", creates.Load(), job, err)
		}
		c.CloseIdleConnections()
	}
	if n := creates.Load(); n != 50 {
		t.Errorf("%d creates", n)
	}
}

// An answer with a job of another snapshot or bucket is not about the create: the outcome of the
// create is not known.
func TestAnotherJob(t *testing.T) {
	t.Parallel() // it waits most of the time
	const snapshot, bucket, other = "6a01e0b45be2d84417c09f10", "65a9d3e1f20b4c7788990011", "6a01e0b45be2d84417c09f11"
	for _, members := range []string{`"snapshotId":"` + other + `"`, `"exportBucketId":"` + other + `"`} {
		url := talk(t, func(*http.Request) []string {
			return []string{wire(200, `{"id":"`+nobody+`","state":"Queued",`+members+`}`)}
		})
		c := newClient(t, client.Config{BaseURL: url})
		r := client.ExportRequest{SnapshotID: snapshot, ExportBucketID: bucket}
		if job, err := c.CreateExport(t.Context(), group, cluster, r); !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v %v", members, job, err)
		}
		if job, err := c.V1().CreateExport(t.Context(), group, cluster, r); !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("v1.0, %s: %v %v", members, job, err)
		}
		if job, err := c.GetExport(t.Context(), group, cluster, other); err == nil {
			t.Errorf("%s: %v", members, job)
		}
	}
}

// A list continues after a full page without links, and ends with an error at a page that repeats
// the one before.
func TestListsWithoutLinks(t *testing.T) {
	full := `{"results":[{"id":"` + nobody + `","state":"Queued"},{"id":"` + nobody + `","state":"Failed"}],"totalCount":3%s}`
	for name, test := range map[string]struct {
		first, later string
		items        int
		fails        bool
	}{
		"no links":       {fmt.Sprintf(full, ""), `{"results":[{"id":"` + nobody + `","state":"Cancelled"}]}`, 3, false},
		"the same again": {fmt.Sprintf(full, `,"links":[{"rel":"next"}]`), fmt.Sprintf(full, `,"links":[{"rel":"next"}]`), 2, true},
	} {
		url := talk(t, func(r *http.Request) []string {
			if r.URL.Query().Get("pageNum") == "1" {
				return []string{wire(200, test.first)}
			}
			return []string{wire(200, test.later)}
		})
		c := newClient(t, client.Config{BaseURL: url})
		items, failed := 0, false
		for _, err := range c.ListExports(t.Context(), group, cluster, client.ListOptions{ItemsPerPage: 2}) {
			if failed = err != nil; !failed {
				items++
			}
		}
		if items != test.items || failed != test.fails {
			t.Errorf("%s: %d items, failed: %t", name, items, failed)
		}
	}
}

// A token that a server repeats does not stand in the error.
func TestEchoedToken(t *testing.T) {
	url := talk(t, func(r *http.Request) []string {
		return []string{wire(400, `{"error":400,"errorCode":"INVALID_ATTRIBUTE","detail":"you sent `+r.Header.Get("Authorization")+`"}`)}
	})
	c := newClient(t, client.Config{BaseURL: url, Credential: client.BearerToken("canary-token")})
	if _, err := c.GetExport(t.Context(), group, cluster, nobody); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "you sent Bearer REDACTED") {
		t.Errorf("got %v", err)
	}
}

// A bucket that is not there was not deleted by a deletion that was never sent.
func TestDeletionNeverSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		time.Sleep(50 * time.Millisecond)
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			io.WriteString(w, `{"error":404,"errorCode":"EXPORT_BUCKET_NOT_FOUND"}`)
		}))
	}()
	c := newClient(t, client.Config{BaseURL: "http://" + address})
	if err := c.DeleteExportBucket(t.Context(), group, nobody); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	<-served
	c.CloseIdleConnections()
}
