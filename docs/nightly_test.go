//go:build unix

package docs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"

	"github.com/goccy/go-yaml"
)

// nightlyConfiguration completes the grants of the page to a configuration of the gateway.
func nightlyConfiguration(page string) string {
	return upstream + "callers:\n  list:\n    - name: nightly\n      " + tokens + "\n      " + strings.ReplaceAll(page, "\n", "\n      ")
}

// night is a folder with the programs, a simulated Atlas and a gateway in front of it, each a
// process. The caller of the gateway has the grants of the page.
type night struct {
	*checkout
	t      *testing.T
	bucket string // the id of acme-exports, the one that the grants name
	other  string // the id of another bucket
}

// newNight starts the processes.
func newNight(t *testing.T) *night {
	t.Helper()
	if _, err := exec.LookPath("jq"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c := newCheckout(t, "MONGODB_ATLAS_PUBLIC_API_KEY="+sim.PublicKey, "MONGODB_ATLAS_PRIVATE_API_KEY="+sim.PrivateKey)
	n := &night{checkout: c, t: t}
	n.serve("bin/atlas-sim -speed 2400")
	atlas := c.ports.Replace("http://127.0.0.1:27080")
	n.setenv("MONGODB_ATLAS_BASE_URL", atlas)
	n.setenv("ATLAS_EXPORT_GROUP", sim.GroupID)
	for name, id := range map[string]*string{"acme-exports": &n.bucket, "acme-others": &n.other} {
		*id = strings.TrimPrefix(n.must("bin/atlas-export buckets create aws --name "+name+" --role "+sim.AWSRole+" -o name"), "bucket/")
	}

	issued := n.must("bin/atlas-gateway keys new -caller nightly -ha1-file nightly.ha1")
	entry := issued[strings.Index(issued, "- name: nightly"):strings.Index(issued, "  grants:")]
	grants := strings.ReplaceAll(pages.Blocks(t, root, "docs/nightly.md#the-key yaml 1")[0], "65a9d3e1f20b4c7788990011", n.bucket)
	config := "upstream:\n  base_url: " + atlas + "\n  credentials: [{public_key_env: MONGODB_ATLAS_PUBLIC_API_KEY, private_key_env: MONGODB_ATLAS_PRIVATE_API_KEY}]\ncallers:\n  list:\n    " + strings.ReplaceAll(entry+"  "+strings.ReplaceAll(grants, "\n", "\n  "), "\n", "\n    ")
	if err := os.WriteFile(filepath.Join(c.folder, "gateway.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	n.serve("bin/atlas-gateway serve gateway.yaml")
	pair := regexp.MustCompile(`(?m)^  (?:public|private) key: (\S+)$`).FindAllStringSubmatch(issued, 2)
	n.setenv("MONGODB_ATLAS_BASE_URL", c.ports.Replace("http://127.0.0.1:8080"))
	n.setenv("MONGODB_ATLAS_PUBLIC_API_KEY", pair[0][1])
	n.setenv("MONGODB_ATLAS_PRIVATE_API_KEY", pair[1][1])
	n.setenv("PATH", filepath.Join(c.folder, "bin")+":"+os.Getenv("PATH"))
	n.setenv("PAUSE", "0.05")
	return n
}

func (n *night) setenv(name, value string) { n.env = append(n.env, name+"="+value) }

// serve starts a program of the folder, and waits until it says that it is ready. It ends with
// the test.
func (n *night) serve(command string) {
	n.t.Helper()
	server := exec.Command("sh", "-c", "exec "+n.ports.Replace(command))
	server.Dir, server.Env = n.folder, n.env
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		server.Process.Signal(os.Interrupt)
		server.Wait()
	})
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		n.t.Fatalf("%s: %v", command, err)
	}
	go func() { // a pipe that nobody reads would stop it
		buffer := make([]byte, 4096)
		for {
			if _, err := stdout.Read(buffer); err != nil {
				return
			}
		}
	}()
}

// run runs a script in the folder. It returns the exit status and what was printed.
func (n *night) run(script string) (status int, stdout, stderr string) {
	n.t.Helper()
	command := exec.CommandContext(n.t.Context(), "sh", "-c", script)
	var out, problems strings.Builder
	command.Dir, command.Env, command.Stdout, command.Stderr = n.folder, n.env, &out, &problems
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), problems.String()
}

func (n *night) must(script string) string {
	n.t.Helper()
	status, stdout, stderr := n.run(script)
	if status != 0 {
		n.t.Fatalf("%s: exit status %d: %s%s", script, status, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

var exportedLine = regexp.MustCompile(`^orders: snapshot ` + sim.LatestSnapshot + ` exported in [0-9]+s to s3://acme-exports/exported_snapshots/` + sim.OrgID + `/` + sim.GroupID + `/orders/[0-9TZ-]+/[0-9]+(, created at [0-9TZ:-]+)?\n$`)

// existedLine is what a command says whose export was there already.
var existedLine = regexp.MustCompile(`^the export [0-9a-f]{24} was created at [0-9TZ:-]+, by this command or shortly before it, and is [A-Za-z]+; nothing was created twice\n$`)

// One command does the whole job of a nightly pipeline through the gateway, with a key for one
// cluster and one bucket: as it stands on the page, in the crontab, in the workflow and in the
// CronJob. So does the script with curl. With another cluster or another bucket each is
// refused.
func TestNightly(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	first := pages.Blocks(t, root, "docs/nightly.md#a-nightly-pipeline sh 1")[0]
	commands := map[string]string{
		"the page": first,
		"workflow": workflowCommand(t, pages.Blocks(t, root, "docs/nightly.md#github-actions yaml 1")[0]),
		"CronJob":  "atlas-export " + cronJobArguments(t, pages.Blocks(t, root, "docs/nightly.md#a-kubernetes-cronjob yaml 1")[0]),
		"crontab":  crontabCommand(t, n, shown(t, "docs/nightly.md", "cron")),
	}
	created := 0
	for name, command := range commands {
		command = strings.TrimSuffix(command, "\n") + " --interval 20ms" // the exports of the test take less than a second
		if status, stdout, stderr := n.run(command); status != 0 || !exportedLine.MatchString(stdout) || stderr != "" && !existedLine.MatchString(stderr) {
			t.Errorf("%s: exit status %d: %s%s", name, status, stdout, stderr)
		} else if stderr == "" {
			created++
		}
		for from, to := range map[string]string{"--cluster orders": "--cluster events", "--bucket acme-exports": "--bucket acme-others"} {
			status, stdout, stderr := n.run(strings.ReplaceAll(command, from, to))
			if status != 5 || stdout != "" || !strings.Contains(stderr, ": 403 USER_UNAUTHORIZED: ") {
				t.Errorf("%s with %s: exit status %d: %s%s", name, to, status, stdout, stderr)
			}
		}
	}
	if example := shown(t, "docs/nightly.md", "a-nightly-pipeline"); !exportedLine.MatchString(strings.Replace(example, " 12m30s ", " 12s ", 1)) {
		t.Errorf("the page shows %s", example)
	}
	if created != 1 {
		t.Errorf("%d commands created the export", created)
	}
	// The snapshot is three hours old.
	status, stdout, stderr := n.run(strings.ReplaceAll(first, "24h", "1h"))
	if status != 17 || stdout != "" || !strings.Contains(stderr, "--max-age is 1h") {
		t.Errorf("an old snapshot: exit status %d: %s%s", status, stdout, stderr)
	}
	n.withCurl()
}

// withCurl runs the script with curl.
func (n *night) withCurl() {
	script := pages.Blocks(n.t, root, "docs/nightly.md#the-same-with-curl sh 1")[0]
	line := regexp.MustCompile(`^orders: snapshot ` + sim.LatestSnapshot + ` is exported: Successful, exported_snapshots/` + sim.OrgID + `/` + sim.GroupID + `/orders/[0-9TZ-]+/[0-9]+\n$`)
	for _, test := range []struct {
		cluster, bucket string
		status          int
		stderr          string
	}{
		{"orders", n.bucket, 0, ""},
		{"events", n.bucket, 22, "no grant of caller nightly allows listBackupSnapshots"},
		{"orders", n.other, 22, "no grant of caller nightly allows createBackupExport"},
		{"orders", n.bucket + " MAX_AGE=3600", 1, "orders: no snapshot is new enough\n"},
		{"orders", n.bucket + " TIMEOUT=0", 1, " goes on\n"},
	} {
		status, stdout, stderr := n.run("export CLUSTER=" + test.cluster + " BUCKET=" + test.bucket + "\n" + script)
		if (status != 0) != (test.status != 0) || test.status == 0 && !line.MatchString(stdout) || test.status != 0 && stdout != "" || !strings.Contains(stderr, test.stderr) {
			n.t.Errorf("curl for %s: exit status %d: %s%s", test.cluster, status, stdout, stderr)
		}
	}
}

// workflowCommand returns the one command of a workflow.
func workflowCommand(t *testing.T, text string) string {
	t.Helper()
	var workflow struct {
		Jobs map[string]struct {
			Env   map[string]string
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
		t.Fatal(err)
	}
	job := workflow.Jobs["export"]
	if len(job.Steps) != 1 || job.Env["MONGODB_ATLAS_PRIVATE_API_KEY"] != "${{ secrets.MONGODB_ATLAS_PRIVATE_API_KEY }}" {
		t.Errorf("%+v", workflow)
	}
	return job.Steps[0].Run
}

// cronJobArguments returns the arguments of the one container of a CronJob.
func cronJobArguments(t *testing.T, text string) string {
	t.Helper()
	var job struct {
		Spec struct {
			JobTemplate struct {
				Spec struct {
					BackoffLimit *int `yaml:"backoffLimit"`
					Template     struct {
						Spec struct{ Containers []struct{ Args []string } }
					}
				}
			} `yaml:"jobTemplate"`
		}
	}
	if err := yaml.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	spec := job.Spec.JobTemplate.Spec
	if len(spec.Template.Spec.Containers) != 1 || spec.BackoffLimit == nil || *spec.BackoffLimit != 0 {
		t.Fatalf("%+v", job)
	}
	return strings.Join(spec.Template.Spec.Containers[0].Args, " ")
}

// crontabCommand returns the command of a line of a crontab. Its environment is in a file.
func crontabCommand(t *testing.T, n *night, line string) string {
	t.Helper()
	var file strings.Builder
	for _, variable := range n.env {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "MONGODB_") || strings.HasPrefix(name, "ATLAS_EXPORT_") {
			file.WriteString(name + "=" + value + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(n.folder, ".atlas-export.env"), []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := regexp.MustCompile(`^30 3 \* \* \*  (.*)\n$`).FindStringSubmatch(line)
	if fields == nil || strings.Contains(fields[1], "%") { // which ends a command of cron
		t.Fatalf("%q", line)
	}
	return "unset MONGODB_ATLAS_BASE_URL MONGODB_ATLAS_PUBLIC_API_KEY MONGODB_ATLAS_PRIVATE_API_KEY ATLAS_EXPORT_GROUP\n" + fields[1]
}
