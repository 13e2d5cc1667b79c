package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// pageServer is a server in Atlas's place whose lists have as many pages as it likes.
type pageServer struct {
	world
	pages atomic.Int64 // how many were asked for
}

// servePages starts a server that answers with the page that write writes.
func servePages(t *testing.T, write func(w http.ResponseWriter, r *http.Request, number int)) *pageServer {
	s := &pageServer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(r.URL.Query().Get("pageNum"))
		if err != nil {
			t.Error(err)
		}
		s.pages.Add(1)
		w.Header().Set("Content-Type", "application/json")
		write(w, r, number)
	}))
	t.Cleanup(server.Close)
	s.world = world{url: server.URL, owner: key{sim.PublicKey, sim.PrivateKey}}
	return s
}

// writePage writes a page of 500 new jobs or buckets.
func writePage(w io.Writer, number int, more bool) {
	var b bytes.Buffer
	b.WriteString(`{"results":[`)
	for i := range 500 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%024x","state":"Successful","snapshotId":%q,"createdAt":"2026-08-10T03:28:25Z","finishedAt":"2026-08-10T03:40:25Z",`+
			`"cloudProvider":"AWS","bucketName":"acme-%[1]d","exportStatus":{"exportedCollections":42,"totalCollections":42}}`, 0xa00000+number*500+i, sim.OrdersSnapshot)
	}
	rel := "self"
	if more {
		rel = "next"
	}
	fmt.Fprintf(&b, `],"links":[{"rel":%q}]}`, rel)
	w.Write(b.Bytes())
}

func endlessPages(w http.ResponseWriter, _ *http.Request, number int) { writePage(w, number, true) }

// A list without an end is cut, and the exit status and an error say so. What was written is
// whole.
func TestEndlessLists(t *testing.T) {
	gatewaytest.Sequential(t)
	t.Parallel() // it is of a process of its own, or waits
	s := servePages(t, endlessPages)
	wholeJSON := func(t *testing.T, stdout string) {
		var page struct {
			Results    []struct{ ID string }
			TotalCount int
		}
		if err := json.Unmarshal([]byte(stdout), &page); err != nil || page.TotalCount != maxListed || len(page.Results) != maxListed {
			t.Errorf("%v, %d of %d", err, len(page.Results), page.TotalCount)
		}
	}
	lines := func(n int) func(t *testing.T, stdout string) {
		return func(t *testing.T, stdout string) {
			if got := strings.Count(stdout, "\n"); got != n {
				t.Errorf("%d lines", got)
			}
		}
	}
	for _, test := range []struct {
		args, plural string
		check        func(t *testing.T, stdout string)
	}{
		{"exports list --cluster orders -o json", "exports", wholeJSON},
		{"exports list --cluster orders --snapshot " + unknownID, "exports", lines(0)},
		{"buckets list", "buckets", lines(maxListed + 1)},
	} {
		t.Run(test.args, func(t *testing.T) {
			before := s.pages.Load()
			got := s.run(t, s.owner, strings.Fields(test.args)...)
			form := "atlas-export: the list is cut: there are more than 100000 %s\nhint: for all of them: atlas-export %s --all\n"
			args, asJSON := strings.CutSuffix(test.args, " -o json")
			if asJSON {
				form = `{"error":"the list is cut: there are more than 100000 %s","exitStatus":14,"hint":"for all of them: atlas-export %s --all"}` + "\n"
			}
			want := fmt.Sprintf(form, test.plural, args)
			if got.Status != exitCut || got.Stderr != want {
				t.Errorf("exit status %d: %s", got.Status, got.Stderr)
			}
			test.check(t, got.Stdout)
			if n := s.pages.Load() - before; n != maxListed/500+1 {
				t.Errorf("%d pages were read", n)
			}
		})
	}
	// A name is not looked for without an end, and a completion is over soon.
	got := s.run(t, s.owner, "buckets", "get", "orders")
	if want := (result{exitUsage, "", "atlas-export: the group has more than 100000 buckets, too many to look for the name \"orders\"\nhint: give the id of the one that is meant\n"}); got != want {
		t.Errorf("got %+v", got)
	}
	before := s.pages.Load()
	got = s.run(t, s.owner, "__complete", "exports", "get", "--cluster", "orders", "")
	if n := s.pages.Load() - before; got.Status != exitOK || n > 21 || strings.Count(got.Stdout, "\n") != maxCompletions+1 {
		t.Errorf("completions: exit status %d, %d pages, %d lines", got.Status, n, strings.Count(got.Stdout, "\n"))
	}
}

// A page is written before the next one is there, in each format. With --all, nothing is cut.
func TestListsAreWrittenPageByPage(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			stdout := &growing{written: make(chan struct{}, 100)}
			s := servePages(t, func(w http.ResponseWriter, _ *http.Request, number int) {
				if number > 1 {
					select {
					case <-stdout.written:
					case <-time.After(5 * time.Second):
						t.Errorf("page %d is asked for, and the one before is not written", number)
					}
				}
				writePage(w, number, number < 3)
			})
			var stderr strings.Builder
			if status := run(t.Context(), []string{"exports", "list", "--cluster", "orders", "--all", "-o", format}, s.environ(s.owner), nil, stdout, &stderr); status != exitOK || stderr.Len() > 0 {
				t.Fatalf("exit status %d: %s", status, &stderr)
			}
			if got, want := stdout.String(), whole[format](1500); got != want {
				at := 0
				for at < min(len(got), len(want)) && got[at] == want[at] {
					at++
				}
				t.Errorf("at byte %d: %.200q, want %.200q", at, got[at:], want[at:])
			}
		})
	}
}

// whole are, in each format, the first jobs of writePage as a list.
var whole = map[string]func(n int) string{
	"table": func(n int) string {
		return "ID                         STATE        COLLECTIONS   SNAPSHOT                   CREATED                ELAPSED\n" +
			each(n, "%024x   Successful   42/42         "+sim.OrdersSnapshot+"   2026-08-10T03:28:25Z   12m00s\n", "")
	},
	"json": func(n int) string {
		return "{\n  \"results\": [\n" + each(n, `    {
      "id": "%024x",
      "state": "Successful",
      "snapshotId": "`+sim.OrdersSnapshot+`",
      "createdAt": "2026-08-10T03:28:25Z",
      "finishedAt": "2026-08-10T03:40:25Z",
      "exportStatus": {
        "exportedCollections": 42,
        "totalCollections": 42
      }
    }`, ",\n") + "\n  ],\n  \"totalCount\": " + strconv.Itoa(n) + "\n}\n"
	},
	"yaml": func(n int) string {
		return "results:\n" + each(n, `  - id: %024x
    state: Successful
    snapshotId: `+sim.OrdersSnapshot+`
    createdAt: "2026-08-10T03:28:25Z"
    finishedAt: "2026-08-10T03:40:25Z"
    exportStatus:
      exportedCollections: 42
      totalCollections: 42
`, "") + "totalCount: " + strconv.Itoa(n) + "\n"
	},
	"name": func(n int) string { return each(n, "export/%024x\n", "") },
}

// each writes the ids of the first jobs of writePage in a form, with a text between them.
func each(n int, form, between string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(form, 0xa00000+500+i)
	}
	return strings.Join(list, between)
}

// growing is an output that tells when something is written.
type growing struct {
	strings.Builder
	written chan struct{}
}

func (g *growing) Write(p []byte) (int, error) {
	defer func() { g.written <- struct{}{} }()
	return g.Builder.Write(p)
}

// If an error ends a list, what was read is written, and can't be taken for all: JSON has no end,
// and YAML no totalCount.
func TestListsThatBreakOff(t *testing.T) {
	for name, test := range map[string]struct {
		write func(w http.ResponseWriter, r *http.Request, number int)
		why   string
	}{
		"a page that fails": {func(w http.ResponseWriter, _ *http.Request, number int) {
			if number == 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			writePage(w, number, true)
		}, "503 Service Unavailable: .*"},
		"a page that comes again": {func(w http.ResponseWriter, _ *http.Request, number int) { writePage(w, 1, number < 100) },
			"the answer is not what the operation promises: page 2 has the same items as page 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := servePages(t, test.write)
			for _, format := range formats {
				got := s.run(t, s.owner, "exports", "list", "--cluster", "orders", "--retries", "0", "-o", format)
				const broke, hint = "the list broke off after 500 exports: listBackupExports: ", "atlas-export config show says what base_url is"
				want := "^atlas-export: " + broke + test.why + "\nhint: " + hint + "\n$"
				if format == "json" {
					want = `^\{"error":"` + broke + test.why + `","exitStatus":9,"hint":"` + hint + `","operation":"listBackupExports".*\}\n$`
				}
				if got.Status != exitUnavailable || !regexp.MustCompile(want).MatchString(got.Stderr) {
					t.Errorf("%s: exit status %d: %s", format, got.Status, got.Stderr)
				}
				if !strings.Contains(got.Stdout, fmt.Sprintf("%024x", 0xa00000+999)) || json.Valid([]byte(got.Stdout)) || strings.Contains(got.Stdout, "totalCount") {
					t.Errorf("%s: %.300s", format, got.Stdout)
				}
			}
		})
	}
}

// A list ends where its output can't be written.
func TestListToFullDisk(t *testing.T) {
	s := servePages(t, endlessPages)
	for _, format := range formats {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		var stderr strings.Builder
		status := run(ctx, []string{"buckets", "list", "--all", "-o", format}, s.environ(s.owner), nil, fullDisk{}, &stderr)
		cancel()
		if status != exitFailed || !strings.Contains(stderr.String(), "could not write all of its output: the disk is full") {
			t.Errorf("%s: exit status %d: %s", format, status, &stderr)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }
