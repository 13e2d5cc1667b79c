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
)

// The page of the first week, from the first key to the upgrade, with Prometheus and HAProxy. Every
// command has to succeed, and what follows it has to be in its block's output.
func TestFirstWeek(t *testing.T) {
	if os.Getenv("FIRST_WEEK") == "" {
		t.Skip("make first-week runs it")
	}
	for _, program := range []string{"make", "openssl", "haproxy", "prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(err)
		}
	}
	shell := newWeek(t).open(t)
	for _, block := range []struct {
		selector string
		shows    []string // expressions
	}{
		{"docs/first-week.md#the-first-week sh 1", []string{`^atlas-gateway v1\.0\.0$`}},
		{"docs/first-week.md#two-projects sh 1", nil},
		{"docs/first-week.md#a-configuration sh 1", nil},
		{"docs/first-week.md#a-configuration sh 2", []string{`holds a new signing key`}},
		{"docs/first-week.md#a-configuration sh 3", []string{`^- name: nightly$`}},
		{"docs/first-week.md#a-configuration sh 4", []string{regexp.QuoteMeta(shown(t, "docs/first-week.md", "a-configuration"))}},
		{"docs/first-week.md#two-replicas sh 1", []string{`^\[\+\]journal ok$`, `^readyz check passed$`}},
		{"docs/first-week.md#two-replicas sh 2", nil},
		{"docs/first-week.md#callers sh 1", []string{`^orders: .* to s3://acme-shop/`, `^warehouse: .* to s3://acme-reports/`}},
		{"docs/first-week.md#callers sh 2", []string{`403 .*no grant of caller nightly(?s:.*)^exit status 5$(?s:.*)no grant of caller analyst(?s:.*)^exit status 5$`}},
		{"docs/first-week.md#prometheus sh 1", []string{`rules found`, `^\{operation="createBackupExport", status="200"\} => 2 `}},
		{"docs/first-week.md#a-revoked-credential sh 1", []string{`Atlas does not accept the gateway's credential(?s:.*)^exit status 9$`, `^ALERTS\{alertname="AtlasGatewayCredentialRefused", alertstate="firing"`, `Successful`}},
		{"docs/first-week.md#a-revoked-credential sh 2", []string{`credentials\[0\] \(public key shopkeya\): Atlas refuses it`, `credentials\[1\] \(public key reportsk\): Atlas accepts it`, `^exit status 5$`, `Successful`}},
		{"docs/first-week.md#a-reload sh 1", []string{`Successful`}},
		{"docs/first-week.md#a-reload sh 2", []string{`did you mean clusters\?(?s:.*)^exit status 3$`, `AtlasGatewayConfigurationRefused`, `^atlas_gateway_last_reload_successful\{.*\} => 0 `, `"the configuration was refused; the one before stays".*did you mean clusters\?`, `Successful`}},
		{"docs/first-week.md#a-reload sh 3", []string{`alertstate="firing".* => [1-9]`, `alertstate="pending".* => [1-9]`}},
		{"docs/first-week.md#rotation sh 1", nil},
		{"docs/first-week.md#rotation sh 2", []string{`^orders: .* to s3://acme-shop/`}},
		{"docs/first-week.md#rotation sh 3", nil},
		{"docs/first-week.md#rotation sh 4", []string{`^exit status 4$`, `nightly`}},
		{"docs/first-week.md#an-upgrade sh 1", []string{`^\{version="v1\.0\.0"\} => [12] `, `^\{version="v1\.1\.0"\} => 2 `}},
	} {
		began := time.Now()
		shell.paste(block.selector)
		printed := shell.ends(0)
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), block.selector)
		for _, expression := range block.shows {
			if !regexp.MustCompile("(?m)" + expression).MatchString(printed) {
				t.Errorf("%s does not show %s:\n%s", block.selector, expression, printed)
			}
		}
	}
	shell.paste("docs/first-week.md#an-upgrade sh 2")
	printed := shell.ends(0)
	counts := regexp.MustCompile(`(?m)^ *([0-9]+) (.*)$`).FindAllStringSubmatch(printed, -1)
	if len(counts) != 1 || counts[0][2] != "200" {
		t.Errorf("not every request was answered with 200:\n%s", printed)
	} else if n, _ := strconv.Atoi(counts[0][1]); n < 50 {
		t.Errorf("there were only %d requests", n)
	}
	shell.paste("docs/first-week.md#the-end sh 1")
	shell.ends(0)
}

// newWeek returns a checkout with addresses of its own for the first week, and with a make that
// builds only the gateway, by the recipe of the Makefile. What the week leaves running ends with the
// test.
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
	for _, port := range []string{"8441", "8442", "8443", "9090", "27091", "27092"} {
		ours := address(t)
		replace = append(replace, "127.0.0.1:"+port, ours, " port "+port, " port "+ours[strings.LastIndex(ours, ":")+1:])
	}
	c.ports = strings.NewReplacer(replace...)
	t.Cleanup(func() {
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
	})
	return c
}
