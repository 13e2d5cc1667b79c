//go:build unix

package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/pages"
)

// The blocks of docs/first-week.md, one after the other, with Prometheus and HAProxy. Every command
// has to succeed, and the blocks have to print what shows says.
func TestFirstWeek(t *testing.T) {
	if os.Getenv("FIRST_WEEK") == "" {
		t.Skip("make first-week runs it")
	}
	for _, program := range []string{"make", "openssl", "haproxy", "prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(err)
		}
	}
	page, err := pages.Read(root, "docs/first-week.md")
	if err != nil {
		t.Fatal(err)
	}
	whole, _ := pages.ParseSelector("docs/first-week.md sh")
	shows := map[string][]string{ // expressions, by the block's name
		"the-first-week sh 1":       {`^atlas-gateway v1\.0\.0$`},
		"a-configuration sh 2":      {`holds a new signing key`},
		"a-configuration sh 3":      {`^- name: nightly$`},
		"a-configuration sh 4":      {regexp.QuoteMeta(shown(t, "docs/first-week.md", "a-configuration"))},
		"two-replicas sh 1":         {`^\[\+\]journal ok$`, `^readyz check passed$`},
		"callers sh 1":              {`^orders: .* to s3://acme-shop/`, `^warehouse: .* to s3://acme-reports/`},
		"callers sh 2":              {`403 .*no grant of caller nightly(?s:.*)^exit status 5$(?s:.*)no grant of caller analyst(?s:.*)^exit status 5$`},
		"prometheus sh 1":           {`rules found`, `^\{operation="createBackupExport", status="200"\} => 2 `},
		"a-revoked-credential sh 1": {`Atlas does not accept the gateway's credential(?s:.*)^exit status 9$`, `^ALERTS\{alertname="AtlasGatewayCredentialRefused", alertstate="firing"`, `Successful`},
		"a-revoked-credential sh 2": {`credentials\[0\] \(public key shopkeya\): Atlas refuses it`, `credentials\[1\] \(public key reportsk\): Atlas accepts it`, `^exit status 5$`, `Successful`},
		"a-reload sh 1":             {`Successful`},
		"a-reload sh 2":             {`did you mean clusters\?(?s:.*)^exit status 3$`, `AtlasGatewayConfigurationRefused`, `^atlas_gateway_last_reload_successful\{.*\} => 0 `, `"the configuration was refused; the one before stays".*did you mean clusters\?`, `Successful`},
		"a-reload sh 3":             {`alertstate="firing".* => [1-9]`, `alertstate="pending".* => [1-9]`},
		"rotation sh 2":             {`Successful`},
		"rotation sh 4":             {`^exit status 4$`, `nightly`},
		"an-upgrade sh 1":           {`^\{version="v1\.0\.0"\} => [12] `, `^\{version="v1\.1\.0"\} => 2 `},
	}
	checkout := newWeek(t)
	shell := checkout.open(t)
	t.Cleanup(func() { endWeek(t, checkout) }) // before the terminal is closed, which they have open
	for _, block := range page.Blocks {
		if !whole.Selects(block) {
			continue
		}
		began := time.Now()
		shell.paste(block.Name())
		printed := shell.ends(0)
		_, name, _ := strings.Cut(block.Name(), "#")
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), name)
		for _, expression := range shows[name] {
			if !regexp.MustCompile("(?m)" + expression).MatchString(printed) {
				t.Errorf("%s does not show %s:\n%s", name, expression, printed)
			}
		}
		delete(shows, name)
		if name == "an-upgrade sh 2" {
			checkCalls(t, printed)
		}
	}
	for name := range shows {
		t.Errorf("the page has no block %s", name)
	}
}

// checkCalls fails the test unless many requests were counted, and each was answered with 200.
func checkCalls(t *testing.T, printed string) {
	t.Helper()
	counts := regexp.MustCompile(`(?m)^ *([0-9]+) (.*)$`).FindAllStringSubmatch(printed, -1)
	if len(counts) != 1 || counts[0][2] != "200" {
		t.Errorf("not every request was answered with 200:\n%s", printed)
	} else if n, _ := strconv.Atoi(counts[0][1]); n < 50 {
		t.Errorf("there were only %d requests", n)
	}
}

// newWeek returns a checkout with addresses of its own for the first week, and with a make that
// builds only the gateway, by the recipe of the Makefile.
func newWeek(t *testing.T) *checkout {
	t.Helper()
	c := newCheckout(t, "ATLAS_GATEWAY_TIMEOUTS_DRAIN=3s")
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	build := fmt.Sprintf("#!/bin/sh\nset -e\nrm %[2]s/bin/atlas-gateway\ncd %[1]s\nPATH=%[3]q HOME=%[4]q\nmake --no-print-directory -n \"$@\" | sed 's|-o bin/ ./cmd/...|-o %[2]s/bin/ ./cmd/atlas-gateway|' | sh -e\n", top, c.folder, os.Getenv("PATH"), os.Getenv("HOME"))
	if err := os.WriteFile(filepath.Join(c.folder, "tools", "make"), []byte(build), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(top, "deploy"), filepath.Join(c.folder, "deploy")); err != nil {
		t.Fatal(err)
	}
	api, control := address(t), address(t)
	replace := []string{"127.0.0.1:27080", api, "127.0.0.1:27081", control, "atlas-sim -seed", "atlas-sim -listen " + api + " -control " + control + " -seed"}
	for _, port := range []string{"8441", "8442", "8443", "9099", "27091", "27092"} {
		ours := address(t)
		replace = append(replace, "127.0.0.1:"+port, ours, " port "+port, " port "+ours[strings.LastIndex(ours, ":")+1:])
	}
	c.ports = strings.NewReplacer(replace...)
	return c
}

// endWeek ends what the week has left running, and shows the ends of the logs.
func endWeek(t *testing.T, c *checkout) {
	week := filepath.Join(c.folder, "bin", "week")
	files, _ := filepath.Glob(filepath.Join(week, "*.pid"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(week, "*.log"))
	for _, file := range logs {
		text, _ := os.ReadFile(file)
		t.Logf("%s ends in\n%s", filepath.Base(file), text[max(0, len(text)-2000):])
	}
}
