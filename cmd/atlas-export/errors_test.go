package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// commands are all commands that call Atlas for a group. The ids are those of prepare.
func commands(bucket, export string) [][]string {
	return [][]string{
		{"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot2, "--bucket", bucket},
		{"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot3, "--bucket", bucket, "--wait"},
		{"exports", "create", "--cluster", "orders", "--snapshot", "latest", "--bucket", bucket, "--wait"},
		{"exports", "create", "--all-clusters", "--snapshot", "latest", "--bucket", bucket},
		{"exports", "list", "--cluster", "orders"},
		{"exports", "list", "--all-clusters"},
		{"exports", "get", export, "--cluster", "orders"},
		{"exports", "watch", export, "--cluster", "orders"},
		{"buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole, "--duplicate"},
		{"buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole, "--if-not-exists"},
		{"buckets", "create", "azure", "--service-url", "https://acmebackups.blob.core.windows.net/exports", "--role", sim.AzureRole, "--duplicate"},
		{"buckets", "create", "gcp", "--name", "acme-archive", "--role", sim.AWSRole, "--duplicate"},
		{"buckets", "list"},
		{"buckets", "get", bucket},
		{"buckets", "get", "acme-exports"},
		{"buckets", "delete", bucket, "--yes"},
		{"buckets", "set-private-networking", bucket, "true"},
		{"snapshots", "list", "--cluster", "orders"},
		{"snapshots", "get", sim.OrdersSnapshot, "--cluster", "orders"},
		{"snapshots", "get", "latest", "--cluster", "orders"},
		{"snapshots", "take", "--cluster", "orders"},
		{"snapshots", "watch", sim.OrdersSnapshot, "--cluster", "orders"},
		{"clusters", "list"},
		{"clusters", "get", "orders"},
		{"roles", "list"},
		{"schedule", "get", "--cluster", "orders"},
		{"schedule", "set", "--cluster", "orders", "--prefix", "names"},
		{"groups", "get"},
	}
}

// prepare creates a bucket and starts an export, and returns their ids.
func (w *world) prepare(t testing.TB) (bucket, export string) {
	bucket = strings.TrimPrefix(w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole, "-o", "name"), "bucket/")
	export = strings.TrimPrefix(w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", bucket, "-o", "name"), "export/")
	return bucket, export
}

// isCreate reports whether a command creates something before it asks for anything else, so that
// its outcome may be unknown.
func isCreate(command []string) bool {
	return command[1] == "take" || command[1] == "create" && !slices.Contains(command, "--if-not-exists") && !slices.Contains(command, "latest")
}

// Each command has an exit status for each kind of error. It writes only to standard error; the
// first line is the error.
func TestErrors(t *testing.T) {
	gatewaytest.Sequential(t)
	refused := gatewaytest.Refused(t)
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		bucket, export := w.prepare(t)
		for _, kind := range []struct {
			name   string
			faults []sim.Fault
			key    key
			flags  []string
			want   func(command []string) int
		}{
			{name: "wrong command line", key: w.owner, flags: []string{"--nonsense"}, want: always(exitUsage)},
			{name: "invalid", key: w.owner, flags: []string{"--group", strings.ToUpper(sim.GroupID)}, want: always(exitInvalid)},
			{name: "unauthorized", key: key{w.owner.public, "canary-private"}, want: always(exitUnauthorized)},
			{name: "forbidden", key: w.reader, flags: []string{"--group", sim.EmptyGroupID}, want: always(exitForbidden)},
			{name: "not found", key: w.owner, flags: []string{"--group", unknownID}, want: always(exitNotFound)},
			{name: "rate limited", key: w.owner, faults: []sim.Fault{{Kind: sim.FaultRateLimit, RetryAfter: 7}}, want: always(exitWait)},
			{name: "rate limited as 400", key: w.owner, faults: []sim.Fault{{Kind: sim.FaultRateLimit400}}, want: always(exitWait)},
			{name: "nobody listens", key: w.owner, flags: []string{"--base-url", "http://" + refused}, want: always(exitUnavailable)},
			{name: "unavailable", key: w.owner, faults: []sim.Fault{{Kind: sim.FaultUnavailable}}, want: unknownIfCreate},
			{name: "truncated", key: w.owner, faults: []sim.Fault{{Kind: sim.FaultTruncate}}, want: unknownIfCreate},
		} {
			if err := w.atlas.SetFaults(kind.faults); err != nil {
				t.Fatal(err)
			}
			for _, command := range commands(bucket, export) {
				args := append(append([]string{}, command...), kind.flags...)
				want := kind.want(command)
				if command[1] == "watch" && (want == exitUnavailable || want == exitWait) {
					// A request that fails does not end watch.
					args, want = append(args, "--timeout", "100ms"), exitNotFollowed
				}
				if kind.name == "truncated" && command[1] == "delete" {
					continue // there is nothing to cut off
				}
				if kind.faults != nil {
					w.renew()
				}
				got := w.run(t, kind.key, append(args, "--retries", "0")...)
				if got.Status != want {
					t.Errorf("%s: %q: exit status %d, want %d: %s", kind.name, args, got.Status, want, got.Stderr)
				}
				if got.Stdout != "" || !strings.HasPrefix(got.Stderr, "atlas-export: ") || strings.Contains(got.Stderr, "%!") {
					t.Errorf("%s: %q: stdout %q, stderr %q", kind.name, args, got.Stdout, got.Stderr)
				}
			}
		}
	})
}

func always(status int) func([]string) int { return func([]string) int { return status } }

func unknownIfCreate(command []string) int {
	if isCreate(command) {
		return exitUnknown
	}
	return exitUnavailable
}

// checkError runs the program and compares its exit status, and its standard error with a
// regular expression.
func (w *world) checkError(t *testing.T, key key, status int, text string, args ...string) {
	t.Helper()
	got := w.run(t, key, append(args, "--retries", "0")...)
	// A gateway adds its request id.
	stderr := regexp.MustCompile(` \(request [0-9A-Za-z-]+ of the gateway\)`).ReplaceAllString(got.Stderr, "")
	if got.Status != status || !regexp.MustCompile("^"+text+"$").MatchString(stderr) || got.Stdout != "" {
		t.Errorf("%q: exit status %d, want %d; stdout %q, stderr:\n%swant:\n%s", args, got.Status, status, got.Stdout, stderr, text)
	}
}

// Some errors are particular to a few commands, and some have a hint.
func TestErrorsInFull(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		bucket, _ := w.prepare(t)
		w.checkError(t, w.owner, exitConflict,
			`atlas-export: createBackupExport: 409 EXPORT_ALREADY_IN_PROGRESS: .*\n`+
				`hint: find the export that is in progress, and watch it: atlas-export exports list --cluster orders --snapshot `+sim.OrdersSnapshot+`\n`,
			"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", bucket)
		w.checkError(t, w.owner, exitConflict,
			`atlas-export: deleteExportBucket: 400 EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE: .*\n`+
				`  cluster orders: the export [0-9a-f]{24} is Queued\n`+
				`hint: wait for the exports to the bucket, and take it out of the export policies of the clusters\n`,
			"buckets", "delete", bucket, "--yes")
		w.checkError(t, w.owner, exitNotFound,
			`atlas-export: getBackupExport: 404 .*\nhint: list what exists: atlas-export exports list --cluster orders\n`,
			"exports", "get", unknownID, "--cluster", "orders")
		w.checkError(t, w.owner, exitNotFound,
			`atlas-export: listBackupExports: 404 CLUSTER_NOT_FOUND: .*\nhint: atlas-export config show says which group and cluster are used, if no flag does\n`,
			"exports", "list", "--cluster", "none")
		w.checkError(t, w.owner, exitNotFound,
			`atlas-export: createBackupExport: 404 SNAPSHOT_NOT_FOUND: .*\nhint: the snapshot must be one of the cluster's, and not yet deleted\n`,
			"exports", "create", "--cluster", "orders", "--snapshot", unknownID, "--bucket", bucket)
		w.checkError(t, w.owner, exitInvalid, `atlas-export: createExportBucket: 400 CANNOT_ASSUME_ROLE: .*\nhint: the trust policy of the role must name .*\n`,
			"buckets", "create", "aws", "--name", "acme-others", "--role", sim.UnassumableRole)
		w.checkError(t, w.owner, exitUsage, `atlas-export: --base-url: has a path; expected scheme and host only\nhint: .*\n`,
			"buckets", "list", "--base-url", "http://example.com/api")
		w.checkError(t, key{}, exitUnauthorized, `atlas-export: there is no credential, and Atlas requires one\nhint: `+regexp.QuoteMeta(noCredentialHint)+`\n`,
			"buckets", "list", "--base-url", "https://cloud.mongodb.com/")
		w.checkError(t, w.reader, exitForbidden,
			`atlas-export: deleteExportBucket: 40[13] USER_UNAUTHORIZED: .*\nhint: (the key lacks the role Project Backup Manager|the gateway's configuration does not grant this; atlas-gateway explain shows why)\n`,
			"buckets", "delete", bucket, "--yes")
	})
}

// These errors come from faults of Atlas.
func TestErrorsOfFaults(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		bucket, _ := w.prepare(t)
		setFaults(t, w, sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7})
		w.checkError(t, w.owner, exitWait, `atlas-export: listExportBuckets: 429 RATE_LIMITED_TOKEN_BUCKET: .*\nhint: try again in 7s\n`, "buckets", "list")
		w.renew()
		setFaults(t, w, sim.Fault{Kind: sim.FaultUnavailableAfter, Operation: "createBackupExport"})
		w.checkError(t, w.owner, exitUnknown,
			`atlas-export: createBackupExport: 50[23] .*it may have been carried out all the same.*\n`+
				`hint: look before you repeat it: atlas-export exports list --cluster orders --snapshot `+sim.OrdersSnapshot2+`\n`,
			"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot2, "--bucket", bucket, "--wait")
		setFaults(t, w, sim.Fault{Kind: sim.FaultResetAfter, Operation: "createExportBucket"})
		w.checkError(t, w.owner, exitUnknown,
			`atlas-export: createExportBucket: .*it may have been carried out all the same.*\nhint: look before you repeat it: atlas-export buckets list\n`,
			"buckets", "create", "gcp", "--name", "acme-archive", "--role", sim.AWSRole)
	})
}

// An export that can't be followed is still created. One that was cancelled is no success.
func TestErrorsOfWatch(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		bucket, export := w.prepare(t)
		if err := w.atlas.SetSettings(sim.Settings{Removed: map[string][]string{"getBackupExport": {"2023-01-01"}}}); err != nil {
			t.Fatal(err)
		}
		got := w.run(t, w.owner, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot3, "--bucket", bucket, "--wait")
		created := regexp.MustCompile(`^export/([0-9a-f]{24})\nQueued  [0-9]+s\n$`).FindStringSubmatch(got.Stdout)
		if created == nil || got.Status != exitNotFollowed || !strings.HasPrefix(got.Stderr, "atlas-export: the export was created, and can't be followed: getBackupExport: 410 VERSION_GONE: ") ||
			!strings.HasSuffix(got.Stderr, "\nhint: the export goes on; follow it with: atlas-export exports watch "+created[1]+" --cluster orders\n") {
			t.Errorf("got %+v", got)
		}

		w.checkError(t, w.owner, exitFailed, `atlas-export: getBackupExport: 410 VERSION_GONE: .*\nhint: Atlas no longer serves the version that this release asks for; .*\n`, "exports", "get", export, "--cluster", "orders")

		if err := w.atlas.EndJob(export, sim.Outcome{State: "Cancelled"}); err != nil {
			t.Fatal(err)
		}
		if err := w.atlas.SetSettings(sim.Settings{}); err != nil {
			t.Fatal(err)
		}
		got = w.run(t, w.owner, "exports", "watch", export, "--cluster", "orders")
		want := result{exitCancelled, "export/" + export + "\nCancelled  0/42 collections  0s\n", "atlas-export: export " + export + " is Cancelled\nhint: create another export of the snapshot\n"}
		got.Stdout = anySpan.ReplaceAllString(got.Stdout, "0s")
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// A dry run makes the check of the gateway, which has bounds that the client does not have.
func TestDryRunAsksTheContract(t *testing.T) {
	w := direct(t, sim.Config{})
	args := []string{"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", unknownID, "--dry-run"}
	for i := range 4000 {
		args = append(args, "--custom-data", strconv.Itoa(i)+"=")
	}
	got := w.run(t, w.owner, args...)
	want := result{Status: exitInvalid, Stderr: "atlas-export: createBackupExport: the request breaks the contract\n  body: is not valid JSON at line 1, column 99999: holds more than 10000 values\n"}
	got.Stderr = regexp.MustCompile(`column [0-9]+`).ReplaceAllString(got.Stderr, "column 99999")
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func setFaults(t testing.TB, w *world, faults ...sim.Fault) {
	t.Helper()
	if err := w.atlas.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

// The setting retries says how often a request is sent again.
func TestRetries(t *testing.T) {
	w := direct(t, sim.Config{})
	for _, test := range []struct {
		flags  []string
		fails  int // how often Atlas fails
		status int
		struck int
	}{
		{[]string{"--retries", "0"}, 1, exitUnavailable, 1},
		{[]string{"--retries", "1"}, 3, exitUnavailable, 2},
		{[]string{"--retries", "1"}, 1, exitOK, 1},
		{nil, 2, exitOK, 2},
	} {
		setFaults(t, w, sim.Fault{Kind: sim.FaultUnavailable, Count: test.fails})
		got := w.run(t, w.owner, append([]string{"buckets", "list"}, test.flags...)...)
		if struck := w.atlas.Faults()[0].Struck; got.Status != test.status || struck != test.struck {
			t.Errorf("%q: exit status %d after %d failures, want %d after %d", test.flags, got.Status, struck, test.status, test.struck)
		}
	}
}

// Output that can't be written is an error: a full disk must not look like an empty list.
func TestUnwritableOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	w := direct(t, sim.Config{})
	bucket, _ := w.prepare(t)
	for _, format := range formats {
		var stderr strings.Builder
		status := run(t.Context(), []string{"buckets", "get", bucket, "-o", format}, w.environ(w.owner), nil, full, &stderr)
		if status != exitFailed || !strings.Contains(stderr.String(), "the command did what it was asked to do, but could not write all of its output: ") {
			t.Errorf("%s: exit status %d: %s", format, status, &stderr)
		}
	}
}

// No text of Atlas, or of a server in its place, can move the cursor of a terminal or change its
// colours.
func TestHostileText(t *testing.T) {
	w := direct(t, sim.Config{})
	bucket, _ := w.prepare(t)
	const hostile = "a\x1b[31m\r\n\u202eb"
	for _, format := range formats {
		export := w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot2, "--bucket", bucket, "--custom-data", "k="+hostile, "-o", "name")
		w.checkText(t, "exports", "get", export, "--cluster", "orders", "-o", format)
		if err := w.atlas.EndJob(strings.TrimPrefix(export, "export/"), sim.Outcome{State: "Failed", ErrorCode: hostile, Message: hostile}); err != nil {
			t.Fatal(err)
		}
		w.checkText(t, "exports", "get", export, "--cluster", "orders", "-o", format)
		w.checkText(t, "exports", "watch", export, "--cluster", "orders", "-o", format)
	}

	text, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(`{"error":400,"errorCode":T,"detail":T,"badRequestDetail":{"fields":[{"field":T,"description":T}]}}`, "T", string(text))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, content)
	}))
	defer server.Close()
	w.url = server.URL
	w.checkText(t, "buckets", "list")

	list := strings.ReplaceAll(`{"results":[{"id":T,"state":"Queued"},{"id":"_activeHelp_ x","state":"Queued"},{"id":"`+unknownID+`","state":T}],"links":[]}`, "T", string(text))
	jobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, list) }))
	defer jobs.Close()
	w.url = jobs.URL
	if got := w.run(t, w.owner, "__complete", "exports", "get", "--cluster", "orders", ""); strings.Count(got.Stdout, "\n") != 2 || strings.ContainsAny(got.Stdout, "\x1b\r\u202e") || !strings.HasPrefix(got.Stdout, unknownID+"\t") {
		t.Errorf("completions: %+v", got) // one completion, and the directive
	}
}

// checkText runs the program and checks each character that it writes.
func (w *world) checkText(t *testing.T, args ...string) {
	t.Helper()
	got := w.run(t, w.owner, args...)
	if !strings.Contains(got.Stdout+got.Stderr, "[31m") && !slices.Contains(args, "name") {
		t.Errorf("%q: the text isn't there: %+v", args, got)
	}
	checkPrintable(t, got.Stdout+got.Stderr)
}

func checkPrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range strings.ReplaceAll(text, "\n", "") {
		if !strconv.IsPrint(r) {
			t.Errorf("%q in %q", r, text)
			return
		}
	}
}
