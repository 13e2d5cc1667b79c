package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// writeScript writes a program in sh.
func writeScript(t *testing.T, file, script string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// A credential_process works from each place that can hold it, and its words arrive as they are.
// What it writes to standard error is shown, and the token is not.
func TestCredentialProcess(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [read], groups: ["*"]}]`)
	token := nightly.Token.Secret.Reveal()
	url := gatewaytest.StartFor(t, atlas.URL(), "", nightly).URL
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "secret"), token)
	writeScript(t, filepath.Join(directory, "helper"), `printf '%s,' "$@" >&2; printf '{"Version": 1, "Token": "%s"}' "$(cat "$FOLDER/secret")"`)
	writeFile(t, filepath.Join(directory, "config.yaml"), "profiles: {default: {credential_process: ./helper --for \"a b\" '$HOME'}}\n")
	absolute := filepath.Join(directory, "helper") + ` --for "a b" '$HOME'`
	for name, test := range map[string]struct{ env, args []string }{
		"flag":                     {nil, []string{"--credential-process", absolute}},
		"variable":                 {[]string{"ATLAS_EXPORT_CREDENTIAL_PROCESS=" + absolute}, nil},
		"profile":                  {[]string{"ATLAS_EXPORT_CONFIG=" + filepath.Join(directory, "config.yaml")}, nil},
		"before Atlas's variables": {[]string{"ATLAS_EXPORT_CREDENTIAL_PROCESS=" + absolute, "MONGODB_ATLAS_ACCESS_TOKEN=c4na7y"}, nil},
	} {
		env := slices.Concat([]string{"HOME=" + directory, "FOLDER=" + directory, "PATH=" + os.Getenv("PATH"), "ATLAS_EXPORT_BASE_URL=" + url, "ATLAS_EXPORT_GROUP=" + sim.GroupID}, test.env)
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(strings.Fields("buckets list -o name"), test.args...), env, strings.NewReader(""), &stdout, &stderr)
		if status != exitOK || stderr.String() != "credential_process: --for,a b,$HOME,\n" {
			t.Errorf("%s: exit status %d: %s", name, status, &stderr)
		}
		stderr.Reset()
		if status := run(t.Context(), append(strings.Fields("config show"), test.args...), env, nil, &stdout, &stderr); status != exitOK || !strings.Contains(stdout.String(), "credential_process") {
			t.Errorf("%s: config show: exit status %d: %s", name, status, &stderr)
		}
		if strings.Contains(stdout.String()+stderr.String(), token) {
			t.Errorf("%s: the token is in the output", name)
		}
	}
	if n := len(atlas.Requests(0)); n == 0 {
		t.Error("Atlas received nothing")
	}
}

// What is wrong with the source of a token is said with the setting and where it comes from.
// Nothing is sent then.
func TestSourceErrors(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "empty"), "")
	writeFile(t, filepath.Join(directory, "config.yaml"), "profiles: {staging: {credential_process: \"helper 'a\"}, both: {credential_process: helper, token_file: empty}}\n")
	config := "ATLAS_EXPORT_CONFIG=" + filepath.Join(directory, "config.yaml")
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--credential-process", "sh -c 'echo c4na7y; exit 3'"}, exitUnauthorized, "credential_process from flag --credential-process: the command sh: exit status 3\n"},
		{[]string{"--credential-process", "echo c4na7y"}, exitUnauthorized, "credential_process from flag --credential-process: the command echo: its output is not one JSON object with Version, Token and Expiration\n"},
		{[]string{"--credential-process", "no-such-helper"}, exitUnauthorized, "credential_process from flag --credential-process: the command no-such-helper: executable file not found in $PATH\n"},
		{[]string{"--credential-process", "curl c4na7y | jq"}, exitUsage, "--credential-process: has | outside of quotes, and no shell runs the command; expected a program and its arguments, such as a script\n"},
		{[]string{"--credential-process", " "}, exitUsage, "--credential-process: names no program\n"},
		{[]string{"--profile", "staging"}, exitInvalid, filepath.Join(directory, "config.yaml") + ":1: profiles.staging.credential_process: has no second '\n"},
		{[]string{"--profile", "both"}, exitInvalid, "token_file from profile both and credential_process from profile both are of two credentials\n"},
		{[]string{"--token-file", "a", "--credential-process", "b"}, exitInvalid, "token_file from flag --token-file and credential_process from flag --credential-process are of two credentials\n"},
		{[]string{"--token-file", filepath.Join(directory, "empty")}, exitInvalid, "token_file from flag --token-file: " + filepath.Join(directory, "empty") + ": holds no token\n"},
	} {
		var stdout, stderr bytes.Buffer
		env := []string{config, "HOME=" + directory, "PATH=" + os.Getenv("PATH"), "ATLAS_EXPORT_GROUP=" + sim.GroupID, "ATLAS_EXPORT_BASE_URL=http://127.0.0.1:1"}
		status := run(t.Context(), append([]string{"buckets", "list"}, test.args...), env, strings.NewReader(""), &stdout, &stderr)
		if line, _, _ := strings.Cut(strings.TrimPrefix(stderr.String(), "atlas-export: "), "\n"); status != test.status || line+"\n" != test.want {
			t.Errorf("%q: exit status %d, %s", test.args, status, &stderr)
		}
		if strings.Contains(stdout.String()+stderr.String(), "c4na7y") {
			t.Errorf("%q: the output has what the command printed", test.args)
		}
	}
}

// An interrupt ends a credential_process that hangs, and its children.
func TestCredentialProcessIsInterrupted(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	path := filepath.Join(directory, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`trap "" INT TERM; exec 3>%s; sleep 1000 & sleep 1000`, path)
	command, stderr := process(t, []string{"HOME=" + directory, "PATH=" + os.Getenv("PATH")}, "groups", "list", "--base-url", "http://127.0.0.1:1", "--credential-process", "sh -c '"+script+"'")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(path) // waits for the child
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	if status := command.ProcessState.ExitCode(); status != exitInterrupted {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	if n, err := io.Copy(io.Discard, pipe); n != 0 || err != nil { // waits for the end of all that have it open
		t.Errorf("%d %v", n, err)
	}
}

// A command line is split as a shell would split it, or refused.
func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"helper":                       {"helper"},
		" /a/helper\t--for  b\r\n":     {"/a/helper", "--for", "b"},
		`"/a folder/helper" 'b c'd""`:  {"/a folder/helper", "b cd"},
		`helper "" ''`:                 {"helper", "", ""},
		`helper "a\"b\\c\d" 'e\"f'`:    {"helper", `a"b\c\d`, `e\"f`},
		`C:\tools\helper.exe`:          {`C:\tools\helper.exe`},
		`sh -c 'curl "$URL" | jq .a'`:  {"sh", "-c", `curl "$URL" | jq .a`},
		"helper 'a\nb'":                {"helper", "a\nb"},
		"":                             nil,
		`"" a`:                         nil,
		`helper "a`:                    nil,
		`helper "a\"`:                  nil,
		`helper 'a`:                    nil,
		"helper $HOME":                 nil,
		"helper > file":                nil,
		"helper; helper":               nil,
		"helper && helper":             nil,
		"helper https://a.example?b=c": nil,
	} {
		got, err := splitCommand(text)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

// Words that are quoted come back as they were.
func FuzzSplitCommand(f *testing.F) {
	f.Add("helper", `a"b\c`, "d e")
	f.Add("a\nb", `\`, `'"`)
	f.Fuzz(func(t *testing.T, program, first, second string) {
		splitCommand(first)
		words := []string{strings.ToValidUTF8("p"+program, ""), strings.ToValidUTF8(first, ""), strings.ToValidUTF8(second, "")}
		text := ""
		for _, word := range words {
			text += `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `" `
		}
		if got, err := splitCommand(text); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	})
}
