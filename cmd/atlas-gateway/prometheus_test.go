package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/goccy/go-yaml"
)

// scrapeAll returns the page of metrics of a program that has TLS, a journal and an audit stream,
// and has served a request of each sort.
func scrapeAll(t *testing.T) string {
	t.Helper()
	const token = "c4na7y-token-of-nobody"
	dir := t.TempDir()
	certificate := gatewaytest.NewAuthority(t).Loopback(t)
	crt, key := gatewaytest.WriteFile(t, filepath.Join(dir, "crt"), certificate.CertPEM), gatewaytest.WriteFile(t, filepath.Join(dir, "key"), certificate.KeyPEM)
	p := serveFor(t, sim.Start(t, sim.Config{}).URL(), "creates: {journal: file, file: "+filepath.Join(dir, "creates.db")+"}\naudit: {file: "+filepath.Join(dir, "audit.jsonl")+"}\nrequests: {check: report}\ntracing: {endpoint: \"http://127.0.0.1:9\", sample: 1000000}\ncallers: {anonymous: true, list: [{name: nobody, tokens: [{sha256: "+hash(token)+", not_after: 2099-01-01T00:00:00Z}]}], "+
		"issuers: [{name: ci, issuer: 'https://"+gatewaytest.Refused(t)+"', audiences: [gateway], algorithms: [RS256]}]}\n",
		"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+crt, "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+key, "ATLAS_GATEWAY_LISTENER_CLIENT_CA_FILE="+crt)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
	for target, authorization := range map[string]string{exports + "?pageSize=1": "", "/api/atlas/v2/orgs": "", exports: "Bearer " + token} {
		request, err := http.NewRequest("GET", p.Listener+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	_, page := get(t, p.Management+"/metrics")
	p.stop(t)
	return page
}

// labelled are the values that the labels of metrics have, by the metric's name and the label's.
type labelled map[string]map[string]map[string]bool

var (
	seriesLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? [^ ]+$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)(=~|=)"([^"]*)"`)
	selector   = regexp.MustCompile(`\b((?:atlas_gateway|process)_[a-z_]+)(?:\{([^}]*)\})?`)
	grouping   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	shownLabel = regexp.MustCompile(`\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}`)
)

// seriesOf returns the series on a page of metrics.
func seriesOf(page string) labelled {
	found := labelled{}
	for _, line := range seriesLine.FindAllStringSubmatch(page, -1) {
		if found[line[1]] == nil {
			found[line[1]] = map[string]map[string]bool{}
		}
		for _, pair := range labelPair.FindAllStringSubmatch(line[2], -1) {
			if found[line[1]][pair[1]] == nil {
				found[line[1]][pair[1]] = map[string]bool{}
			}
			found[line[1]][pair[1]][pair[3]] = true
		}
	}
	return found
}

// ofPrometheus are the labels that Prometheus adds to what it scrapes, and rules to alerts.
var ofPrometheus = []string{"job", "instance"}

// checks fails the test unless the metrics, labels and values of an expression exist, and the
// labels that a text shows. The value .* is any.
func (l labelled) checks(t *testing.T, where, expression, shows string) {
	t.Helper()
	known := slices.Clone(ofPrometheus)
	metrics := selector.FindAllStringSubmatch(expression, -1)
	if len(metrics) == 0 {
		t.Errorf("%s: no metric is in %s", where, expression)
	}
	for _, metric := range metrics {
		labels, ok := l[metric[1]]
		if !ok {
			t.Errorf("%s: the gateway has no metric %s", where, metric[1])
			continue
		}
		for label := range labels {
			known = append(known, label)
		}
		for _, pair := range labelPair.FindAllStringSubmatch(metric[2], -1) {
			if slices.Contains(ofPrometheus, pair[1]) {
				continue
			}
			values := []string{pair[3]}
			if pair[2] == "=~" {
				values = strings.Split(pair[3], "|")
			}
			for _, value := range values {
				if labels[pair[1]] == nil || value != ".*" && !labels[pair[1]][value] {
					t.Errorf("%s: no series %s has %s=%q", where, metric[1], pair[1], value)
				}
			}
		}
	}
	var used []string
	for _, list := range grouping.FindAllStringSubmatch(expression, -1) {
		used = append(used, strings.Split(strings.ReplaceAll(list[1], " ", ""), ",")...)
	}
	for _, label := range shownLabel.FindAllStringSubmatch(shows, -1) {
		used = append(used, label[1])
	}
	for _, label := range used {
		if !slices.Contains(known, label) {
			t.Errorf("%s: no metric of %s has the label %s", where, expression, label)
		}
	}
}

// promtool runs Prometheus's tool, whose output must be no complaint.
func promtool(t *testing.T, input string, arguments ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing, which Debian's package prometheus has")
		}
		t.Skip("promtool is missing, which Debian's package prometheus has")
	}
	command := exec.CommandContext(t.Context(), "promtool", arguments...)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err != nil || input != "" && len(output) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

// rule is an alert.
type rule struct {
	Alert, Expr string
	Annotations struct {
		Summary string
		Runbook string `yaml:"runbook_url"`
	}
}

func alertRules(t *testing.T) (rules []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(readFile(t, "../../deploy/prometheus/rules.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) < 15 {
		t.Fatalf("there are %d rules", len(rules))
	}
	return rules
}

// The names of the metrics are as Prometheus has them. The alerts and the dashboard are of
// metrics, labels and values that the gateway has, and so are the series in the tests of the
// alerts.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	page := scrapeAll(t)
	series := seriesOf(page)
	for _, rule := range alertRules(t) {
		series.checks(t, rule.Alert, rule.Expr, rule.Annotations.Summary)
	}
	inputs := regexp.MustCompile(`(?m)series: '(.+?)', values`).FindAllStringSubmatch(readFile(t, "../../deploy/prometheus/rules_test.yaml"), -1)
	for _, input := range inputs {
		names := regexp.MustCompile(`\b(version|go_version|pointer|le|status|caller|form|key)="[^"]*"`).ReplaceAllString(input[1], `$1=~".*"`)
		series.checks(t, "rules_test.yaml", names, "")
	}
	expressions := "groups:\n- name: dashboard\n  rules:\n"
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			expression := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr)
			series.checks(t, panel.Title, expression, target.LegendFormat)
			expressions += "  - {record: 'dashboard:expression', expr: '" + expression + "', labels: {panel: \"" + panel.Title + target.RefID + "\"}}\n"
		}
	}
	if len(inputs) < 20 || strings.Count(expressions, "record") < 30 {
		t.Errorf("there are %d series of tests, and %d expressions", len(inputs), strings.Count(expressions, "record"))
	}
	promtool(t, page, "check", "metrics")
	promtool(t, "", "check", "rules", gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "dashboard.yaml"), expressions), "../../deploy/prometheus/rules.yaml")
	promtool(t, "", "test", "rules", "../../deploy/prometheus/rules_test.yaml")
}

// panel is a panel of the dashboard.
type panel struct {
	Title   string
	Type    string
	Targets []struct{ RefID, Expr, LegendFormat string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal([]byte(readFile(t, "../../deploy/grafana/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && (panel.Title == "" || len(panel.Targets) == 0) {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
	}
	return dashboard.Panels
}

// Each alert has a test, a place in the runbook that it leads to, and the runbook has no other
// places.
func TestRunbook(t *testing.T) {
	_, book, _ := strings.Cut(readFile(t, "../../docs/operate.md"), "\n### Runbook\n")
	book, _, _ = strings.Cut(book, "\n### ")
	tested := readFile(t, "../../deploy/prometheus/rules_test.yaml")
	var want, got []string
	for _, rule := range alertRules(t) {
		if !slices.Contains(want, rule.Alert) {
			want = append(want, rule.Alert)
		}
		if anchor := "docs/operate.md#" + strings.ToLower(rule.Alert); rule.Annotations.Runbook != anchor {
			t.Errorf("%s leads to %s", rule.Alert, rule.Annotations.Runbook)
		}
		if fires := "      - alertname: " + rule.Alert + "\n"; !strings.Contains(tested, fires) || !strings.Contains(tested, "{alertname: "+rule.Alert+", eval_time: 1h, exp_alerts: []}") {
			t.Errorf("no test has %s fire, or not fire", rule.Alert)
		}
	}
	for _, heading := range regexp.MustCompile(`(?m)^#### (.+)\n\n\S`).FindAllStringSubmatch(book, -1) {
		got = append(got, heading[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the runbook has %q, want %q", got, want)
	}
}
