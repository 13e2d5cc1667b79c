package main

import (
	"bytes"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the program when RUN_ATLAS_GATEWAY is set, and when a script calls it by the
// program's name.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ATLAS_GATEWAY") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"atlas-gateway": main})
}

func TestScripts(t *testing.T) {
	gatewaytest.NeedProcess(t)
	example, err := filepath.Abs("atlas-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			return nil
		},
	})
}

// What a library writes to the standard logger becomes a record, without what the library quotes.
func TestStrayLog(t *testing.T) {
	var out bytes.Buffer
	stray := log.New(strayLog{slog.New(slog.NewJSONHandler(&out, nil))}, "", 0)
	stray.Print("Unsolicited response\n {} starting with \"c4na7y\"; err=<nil>")
	var record struct{ Level, Msg, Message string }
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	if record.Level != "WARN" || record.Msg != "library" || record.Message != "Unsolicited response\n {} starting with " {
		t.Errorf("%+v", record)
	}
}

func TestExitStatus(t *testing.T) {
	keyPair := []string{"MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}
	for _, test := range []struct {
		args []string
		env  []string
		want int
	}{
		{[]string{"version"}, nil, exitOK},
		{[]string{"-h"}, nil, exitOK},
		{[]string{"help"}, nil, exitOK},
		{[]string{"serve", "-h"}, nil, exitOK},
		{[]string{"serve", "--bogus"}, nil, exitUsage},
		{nil, nil, exitUsage},
		{[]string{"fly"}, nil, exitUsage},
		{[]string{"version", "x"}, nil, exitUsage},
		{[]string{"check"}, nil, exitConfig},
		{[]string{"serve"}, nil, exitConfig},
		{[]string{"check", "none.yaml"}, nil, exitConfig},
		{[]string{"keys"}, nil, exitUsage},
		{[]string{"keys", "new", "-caller", "a", "-kind", "key"}, nil, exitUsage},
		{[]string{"keys", "signing-key", "testdata"}, nil, exitFailed},
		{[]string{"keys", "new", "-caller", "a", "-kind", "token", "-ha1-file", "a"}, nil, exitUsage},
		{[]string{"explain", "-caller", "a"}, nil, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "b", "-group", "c"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "b", "-group", "c", "none.yaml"}, nil, exitConfig},
		{[]string{"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "64f0c1a2b3d4e5f607182930", "testdata/granted.yaml"}, keyPair, exitOK},
		{[]string{"explain", "-caller", "a", "-operation", "createExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "testdata/granted.yaml"}, keyPair, exitDenied},
		{[]string{"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "orders", "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "listBackupExports", "-group", "64f0c1a2b3d4e5f607182930", "-cluster", strings.Repeat("a", 65), "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "getExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "-export-bucket", "65A9", "testdata/granted.yaml"}, keyPair, exitUsage},
		{[]string{"explain", "-caller", "a", "-operation", "createExportBucket", "-group", "64f0c1a2b3d4e5f607182930", "-cloud-provider", "S3", "testdata/granted.yaml"}, keyPair, exitUsage},
		// 192.0.2.0/24 is for documentation (RFC 5737): no address of this machine.
		{[]string{"serve"}, []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "ATLAS_GATEWAY_MANAGEMENT_ADDRESS=192.0.2.1:1", "ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:0", "ATLAS_GATEWAY_CREATES_JOURNAL=off", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}, exitFailed},
	} {
		var stdout, stderr strings.Builder
		if got := run(t.Context(), test.args, test.env, nil, &stdout, &stderr); got != test.want {
			t.Errorf("%q: exit status %d, want %d: %s", test.args, got, test.want, &stderr)
		}
	}
}
