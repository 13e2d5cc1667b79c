package policy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The page for callers has each operation once, with the smallest set that has it and the lists
// that restrict it.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/callers.md")
	if err != nil {
		t.Fatal(err)
	}
	lists := strings.NewReplacer("clusters", "cluster", "export_buckets", "bucket", "cloud_providers", "provider", "bucket_names", "name", "service_urls", "url", ",", "", "`", "")
	got := map[string]string{}
	quoted := regexp.MustCompile("`[a-z][A-Za-z]+`")
	for _, row := range regexp.MustCompile("(?m)^\\| `(read|export|manage)`.*$").FindAllStringSubmatch(string(page), -1) {
		cells := strings.Split(row[0], "|")
		for _, id := range quoted.FindAllString(cells[2], -1) {
			got[strings.Trim(id, "`")] += strings.TrimSpace(row[1] + ": " + lists.Replace(strings.TrimSpace(cells[3])))
		}
	}
	want := map[string]string{}
	for id, row := range rows {
		var restricted []string
		for _, list := range strings.Fields(row.restricted) {
			if list != "group" && list != "every" && list != "answer" {
				restricted = append(restricted, list)
			}
		}
		want[id] = strings.TrimSpace(row.set + ": " + strings.Join(restricted, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/callers.md (-want +got):\n%s", diff)
	}
}
