package client_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/client"

	"github.com/google/go-cmp/cmp"
)

// keysOf returns a function that reads a list, and returns what tells its items apart.
func keysOf[T any](list iter.Seq2[*T, error], key func(*T) string) func() ([]string, error) {
	return func() (keys []string, err error) {
		for item, err := range list {
			if err != nil {
				return keys, err
			}
			keys = append(keys, key(item))
		}
		return keys, nil
	}
}

// lists are all lists that the client has.
func lists(ctx context.Context, c *client.Client, o client.ListOptions) map[string]func() ([]string, error) {
	job := func(j *client.ExportJob) string { return j.ID }
	bucket := func(b *client.ExportBucket) string { return b.ID }
	snapshot := func(s *client.Snapshot) string { return s.ID }
	ofGroup := func(g *client.Group) string { return g.ID }
	return map[string]func() ([]string, error){
		"exports":        keysOf(c.ListExports(ctx, group, cluster, o), job),
		"v1.0 exports":   keysOf(c.V1().ListExports(ctx, group, cluster, o), job),
		"buckets":        keysOf(c.ListExportBuckets(ctx, group, o), bucket),
		"v1.0 buckets":   keysOf(c.V1().ListExportBuckets(ctx, group, o), bucket),
		"snapshots":      keysOf(c.ListSnapshots(ctx, group, cluster, o), snapshot),
		"v1.0 snapshots": keysOf(c.V1().ListSnapshots(ctx, group, cluster, o), snapshot),
		"groups":         keysOf(c.ListGroups(ctx, o), ofGroup),
		"v1.0 groups":    keysOf(c.V1().ListGroups(ctx, o), ofGroup),
		"clusters":       keysOf(c.ListClusters(ctx, group, o), func(c *client.Cluster) string { return c.Name }),
	}
}

// A page that comes again ends each list with an error, also if the rest of its items has changed,
// and wherever the pages begin to go round. Its items are not yielded twice. Pages that only
// overlap end nothing.
func TestPagesThatComeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		pages []string // the last ones, from again on, go round; a page has the items that its letters name
		again int
		items string
		want  string // the end of the error
	}{
		"the same page":    {pages: []string{"ab"}, items: "ab", want: "page 2 has the same items as page 1"},
		"the one before":   {pages: []string{"ab", "cd", "ef"}, again: 2, items: "abcdef", want: "page 4 has the same items as page 3"},
		"the first":        {pages: []string{"ab", "cd", "ef"}, items: "abcdef", want: "page 4 has the same items as page 1"},
		"some of the last": {pages: []string{"ab", "cd", "ef", "gh", "ij"}, again: 2, items: "abcdefghijef", want: "page 7 has the same items as page 4"},
		"overlapping":      {pages: []string{"ab", "bc", "cd", "da", ""}, items: "abbccdda"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := strconv.Atoi(r.URL.Query().Get("pageNum"))
				if err != nil || n > 100 {
					http.Error(w, `{"errorCode":"ENDLESS"}`, http.StatusBadRequest)
					return
				}
				i := n - 1
				if i >= len(test.pages) {
					i = test.again + (i-test.again)%(len(test.pages)-test.again)
				}
				results := []string{}
				for _, id := range strings.Split(test.pages[i], "") {
					results = append(results, fmt.Sprintf(`{"id":%q,"_id":%[1]q,"name":%[1]q,"state":"%[2]d","cloudProvider":"%[2]d"}`, id, n))
				}
				links := `[{"rel":"next"}]`
				if test.pages[i] == "" {
					links = `[{"rel":"self"}]`
				}
				fmt.Fprintf(w, `{"results":[%s],"links":%s}`, strings.Join(results, ","), links)
			}))
			defer server.Close()
			c := newClient(t, client.Config{BaseURL: server.URL, MaxRetries: -1})
			for name, read := range lists(t.Context(), c, client.ListOptions{ItemsPerPage: 2}) {
				keys, err := read()
				if diff := cmp.Diff(test.items, strings.Join(keys, "")); diff != "" {
					t.Errorf("%s: items (-want +got):\n%s", name, diff)
				}
				if (err != nil) != (test.want != "") || err != nil && (kindOf(t, err) != "" || !strings.HasSuffix(err.Error(), ": the answer is not what the operation promises: "+test.want)) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// Wherever pages begin to go round, and however many they are, the list ends soon after.
func TestPagesGoRound(t *testing.T) {
	var asked, begin, round int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		n := asked
		if n > begin {
			n = begin + 1 + (n-begin-1)%round
		}
		if asked > 1000 {
			http.Error(w, `{"errorCode":"ENDLESS"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"results":[{"id":"%d","state":"Queued"}],"links":[{"rel":"next"}]}`, n)
	}))
	defer server.Close()
	c := newClient(t, client.Config{BaseURL: server.URL, MaxRetries: -1})
	for _, begin = range []int{0, 1, 2, 7, 50} {
		for _, round = range []int{1, 2, 3, 10, 33} {
			asked = 0
			keys, err := lists(t.Context(), c, client.ListOptions{})["exports"]()
			if err == nil || !strings.Contains(err.Error(), " has the same items as page ") || asked > 3*max(begin, round)+round {
				t.Errorf("%d pages, then %d that go round: %d requests, %v", begin, round, asked, err)
			}
			if want := asked - 1; len(keys) != want || len(slices.Compact(slices.Sorted(slices.Values(keys)))) != min(begin+round, want) {
				t.Errorf("%d pages, then %d that go round: %q", begin, round, keys)
			}
		}
	}
}
