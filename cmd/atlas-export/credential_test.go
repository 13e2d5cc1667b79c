package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Each kind of credential works at Atlas and at a gateway, from each place that can hold it. No
// output has its secret.
func TestCredentials(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [read], groups: ["*"]}]`)
	pair, account, token := nightly.Pair, nightly.Account, nightly.Token
	gateway := gatewaytest.StartFor(t, atlas.URL(), "", nightly).URL

	for _, test := range []struct{ name, url, id, secret, idKey, secretKey, idVariable, secretVariable string }{
		{"API key of Atlas", atlas.URL(), sim.PublicKey, sim.PrivateKey, "public_key", "private_key_file", "MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"},
		{"API key, as Terraform has it", atlas.URL(), sim.PublicKey, sim.PrivateKey, "public_key", "private_key_file", "MONGODB_ATLAS_PUBLIC_KEY", "MONGODB_ATLAS_PRIVATE_KEY"},
		{"service account of Atlas", atlas.URL(), sim.ClientID, sim.ClientSecret, "client_id", "client_secret_file", "MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"},
		{"API key of the gateway", gateway, pair.ID, pair.Secret.Reveal(), "public_key", "private_key_file", "MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"},
		{"service account of the gateway", gateway, account.ID, account.Secret.Reveal(), "client_id", "client_secret_file", "MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"},
		{"token of the gateway", gateway, "", token.Secret.Reveal(), "", "token_file", "", "MONGODB_ATLAS_ACCESS_TOKEN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			directory := t.TempDir()
			writeFile(t, filepath.Join(directory, "secret"), test.secret+"\n")
			config := "profiles:\n  default:\n    " + test.secretKey + ": secret\n" // relative to the profiles
			flags := []string{"--" + strings.ReplaceAll(test.secretKey, "_", "-"), filepath.Join(directory, "secret")}
			variables := []string{"ATLAS_EXPORT_" + strings.ToUpper(test.secretKey) + "=" + filepath.Join(directory, "secret")}
			atlasVariables := []string{test.secretVariable + "=" + test.secret}
			if test.id != "" {
				config += "    " + test.idKey + ": " + test.id + "\n"
				flags = append(flags, "--"+strings.ReplaceAll(test.idKey, "_", "-"), test.id)
				variables = append(variables, "ATLAS_EXPORT_"+strings.ToUpper(test.idKey)+"="+test.id)
				atlasVariables = append(atlasVariables, test.idVariable+"="+test.id)
			}
			writeFile(t, filepath.Join(directory, "config.yaml"), config)
			for _, source := range []struct {
				name      string
				env, args []string
				from      string // as config show says
			}{
				{"flags", nil, flags, "flag --"},
				{"variables", variables, nil, "environment ATLAS_EXPORT_"},
				{"Atlas's variables", atlasVariables, nil, "environment MONGODB_ATLAS_"},
				{"profile", []string{"ATLAS_EXPORT_CONFIG=" + filepath.Join(directory, "config.yaml")}, nil, "profile default"},
			} {
				for command, want := range map[string]string{"buckets list -o name": "", "config show": source.from} {
					env := append([]string{"HOME=" + directory, "ATLAS_EXPORT_BASE_URL=" + test.url, "ATLAS_EXPORT_GROUP=" + sim.GroupID}, source.env...)
					var stdout, stderr bytes.Buffer
					status := run(t.Context(), append(strings.Fields(command), source.args...), env, strings.NewReader(""), &stdout, &stderr)
					if status != exitOK || !strings.Contains(stdout.String(), want) || stderr.Len() > 0 {
						t.Errorf("%s: %s: exit status %d, stdout %q, stderr %q", source.name, command, status, &stdout, &stderr)
					}
					if strings.Contains(stdout.String()+stderr.String(), test.secret) {
						t.Errorf("%s: %s: the secret is in the output", source.name, command)
					}
				}
			}
		})
	}
}

// process returns a command that runs the program as a process of its own, without a terminal.
func process(t *testing.T, env []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	gatewaytest.NeedProcess(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, args...)
	command.Env = append(env, "RUN_ATLAS_EXPORT=1", "GORACE=atexit_sleep_ms=0")
	stderr := new(bytes.Buffer)
	command.Stderr = stderr
	return command, stderr
}

// The program trusts a certificate only if a trusted authority has signed it. SSL_CERT_FILE names
// other authorities than the system's.
func TestTLS(t *testing.T) {
	authority := gatewaytest.NewAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, file, authority.PEM)
	w := direct(t, sim.Config{TLS: &authority.Loopback(t).Certificate})

	command, stderr := process(t, w.environ(w.owner), "buckets", "list", "-o", "name")
	if err := command.Run(); command.ProcessState.ExitCode() != exitUnavailable || !strings.Contains(stderr.String(), "certificate") {
		t.Errorf("%v: %s", err, stderr)
	}
	if n := len(w.atlas.Requests(0)); n != 0 {
		t.Errorf("Atlas received %d requests", n)
	}
	command, stderr = process(t, append(w.environ(w.owner), "SSL_CERT_FILE="+file), "buckets", "list", "-o", "name")
	if err := command.Run(); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
}

// SIGTERM and SIGQUIT end the program like Ctrl-C.
func TestTerminated(t *testing.T) {
	w := direct(t, sim.Config{})
	_, export := w.prepare(t)
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGQUIT} {
		command, stderr := process(t, w.environ(w.owner), "exports", "watch", export, "--cluster", "orders")
		stdout, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len("export/"))
		if _, err := stdout.Read(line); err != nil {
			t.Fatal(err)
		}
		if err := command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		command.Wait()
		if status := command.ProcessState.ExitCode(); status != exitInterrupted || !strings.Contains(stderr.String(), "follow it with: atlas-export exports watch "+export+" --cluster orders\n") {
			t.Errorf("%s: exit status %d: %s", signal, status, stderr)
		}
	}
}
