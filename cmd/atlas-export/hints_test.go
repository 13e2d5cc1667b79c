package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// answering starts a server that gives each request one answer of Atlas or of a gateway.
func answering(t *testing.T, status int, code string, fields map[string]string, parameters string) *world {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for name, value := range fields {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%d,"errorCode":%q,"detail":"No.","parameters":[%s]}`, status, code, parameters)
	}))
	t.Cleanup(server.Close)
	return &world{url: server.URL, owner: key{"demopubl", "c4na7y"}}
}

// What a hint says.
const (
	hintWho      = "hint: atlas-export config show says which group and cluster are used, if no flag does\n"
	hintLog      = "hint: the gateway answers, but gets no usable answer from Atlas; its log has the request\n"
	hintList     = "hint: list what exists: atlas-export buckets list\n"
	hintReadOnly = "hint: the key lacks the role Project Read Only\n"
	hintLater    = "hint: try again later; calls of other programs in the group count as well\n"
)

var hintTests = []struct {
	answer int
	code   string
	fields string // of the header
	status int
	hint   string
}{
	{403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", "", exitForbidden, "hint: put 203.0.113.9 on the API access list of the key\n"},
	{403, "IP_ADDRESS_NOT_ON_WHITELIST", "", exitForbidden, "hint: put 203.0.113.9 on the API access list of the key\n"},
	{403, "ORG_REQUIRES_ACCESS_LIST", "", exitForbidden, "hint: put 203.0.113.9 on the API access list of the key\n"},
	{403, "RESOURCE_REQUIRES_ACCESS_LIST", "", exitForbidden, "hint: put 203.0.113.9 on the API access list of the key\n"},
	{403, "ORG_REQUIRES_ACCESS_LIST", "Gateway-Request-Id: a-1", exitForbidden, "hint: put 203.0.113.9 on the API access list of the gateway's key at Atlas\n"},
	{403, "USER_UNAUTHORIZED", "", exitForbidden, hintReadOnly},
	{401, "USER_UNAUTHORIZED", "", exitForbidden, hintReadOnly},
	{403, "ACCESS_FORBIDDEN", "Gateway-Request-Id: a-1", exitForbidden, "hint: the gateway's key at Atlas lacks the role Project Read Only\n"},
	{401, "NOT_IN_GROUP", "", exitForbidden, "hint: the key is of another project, or the group does not exist\n"},
	{403, "FEATURE_UNSUPPORTED", "", exitForbidden, "hint: only dedicated clusters (M10 and larger) with Cloud Backup have snapshots that can be exported\n"},
	{403, "ANOTHER_CODE", "", exitForbidden, ""},
	{402, "ACCOUNT_SUSPENDED", "", exitForbidden, "hint: the organization must be active and paid for; its owner sees more in Atlas\n"},
	{400, "INVALID_ATTRIBUTE", "", exitInvalid, ""},
	{400, "EXPORT_BUCKET_NAME_INVALID", "", exitInvalid, "hint: give the name alone, as the cloud provider has it, without s3:// and without a path\n"},
	{400, "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API", "", exitInvalid, "hint: the cluster is not a flex cluster, and was asked for as one\n"},
	{404, "GROUP_NOT_FOUND", "", exitNotFound, hintWho},
	{404, "INVALID_GROUP_ID", "", exitNotFound, hintWho},
	{404, "CLUSTER_NOT_FOUND", "", exitNotFound, hintWho},
	{404, "EXPORT_BUCKET_NOT_FOUND", "", exitNotFound, hintList},
	{404, "RESOURCE_NOT_FOUND", "", exitNotFound, hintList},
	{409, "ANOTHER_CODE", "", exitConflict, ""},
	{409, "CANNOT_START_RESTORE_JOB_FOR_INCOMPLETE_CLUSTER_SNAPSHOT", "", exitConflict, "hint: only a completed snapshot can be exported; see which are: atlas-export snapshots list\n"},
	{400, "UNFINISHED_ON_DEMAND_SNAPSHOT", "", exitConflict, "hint: wait until the on-demand snapshot that is under way has ended\n"},
	{405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", "", exitWait, "hint: Atlas is being upgraded, and only answers reads; try again later\n"},
	{406, "INVALID_VERSION_DATE", "", exitInvalid, "hint: Atlas no longer serves the version that this release asks for; a newer release of atlas-export may know another\n"},
	{410, "VERSION_GONE", "", exitFailed, "hint: Atlas no longer serves the version that this release asks for; a newer release of atlas-export may know another\n"},
	{429, "RATE_LIMITED", "Retry-After: 7", exitWait, "hint: try again in 7s\n"},
	{429, "RATE_LIMITED", "", exitWait, hintLater},
	{400, "RATE_LIMITED_TOKEN_BUCKET", "", exitWait, hintLater},
	{503, "UNEXPECTED_ERROR", "Retry-After: 70", exitWait, "hint: try again in 1m10s\n"},
	{503, "UNEXPECTED_ERROR", "", exitUnavailable, "hint: Atlas failed; try again later\n"},
	{500, "UNEXPECTED_ERROR", "", exitUnavailable, "hint: Atlas failed; try again later\n"},

	{403, "USER_UNAUTHORIZED", "Gateway-Error: forbidden", exitForbidden, "hint: the gateway's configuration does not grant this; atlas-gateway explain shows why\n"},
	{403, "USER_UNAUTHORIZED", "Gateway-Error: foreign_site", exitForbidden, "hint: a gateway that needs no key answers only under its own names; atlas-export config show says what base_url is\n"},
	{404, "RESOURCE_NOT_FOUND", "Gateway-Error: not_found", exitNotFound, "hint: the gateway does not serve this; one of another version may\n"},
	{403, "SOMETHING_NEW", "Gateway-Error: something_new", exitForbidden, ""},
	{406, "INVALID_VERSION_DATE", "Gateway-Error: invalid_version", exitInvalid, "hint: the gateway is of an older version than this program\n"},
	{401, "UNEXPECTED_ERROR", "Gateway-Error: unauthorized", exitUnauthorized, "hint: atlas-export config show says which credential is used, and where it comes from\n"},
	{502, "UNEXPECTED_ERROR", "Gateway-Error: upstream_response", exitUnavailable, hintLog},
	{502, "UNEXPECTED_ERROR", "Gateway-Error: upstream_credential", exitUnavailable, "hint: Atlas refuses the gateway's own key; tell the gateway's operator\n"},
	{502, "UNEXPECTED_ERROR", "Gateway-Error: no_credential", exitUnavailable, "hint: the gateway has no key for the group; " + strings.TrimPrefix(hintWho, "hint: ")},
	{502, "UNEXPECTED_ERROR", "Gateway-Error: upstream_unsigned\nRetry-After: 3", exitWait, "hint: try again in 3s\n"},
	{503, "SERVICE_UNAVAILABLE", "Gateway-Error: overloaded\nRetry-After: 1", exitWait, "hint: try again in 1s\n"},
	{429, "RATE_LIMITED_TOKEN_BUCKET", "Gateway-Error: rate_limited", exitWait, hintLater},
}

// The errorCode decides about the hint before the status does: advice never contradicts the code
// above it. Where a hint could mislead, there is none.
func TestHints(t *testing.T) {
	for _, test := range hintTests {
		fields := map[string]string{}
		for line := range strings.Lines(test.fields) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[name] = value
		}
		got := answering(t, test.answer, test.code, fields, `"orders","203.0.113.9"`).run(t, key{"demopubl", "c4na7y"}, "buckets", "list", "--retries", "0")
		first, hint, _ := strings.Cut(got.Stderr, "\n")
		want := fmt.Sprintf("atlas-export: listExportBuckets: %d %s: No.", test.answer, test.code)
		if got.Status != test.status || !strings.HasPrefix(first, want) || hint != test.hint {
			t.Errorf("%+v: got %+v", test, got)
		}
	}
}

// A token endpoint that refuses is an error like any other, with advice of its own: it is not the
// rate limit of the group, and Atlas does not say how long to wait.
func TestTokenEndpointRefuses(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{TokensPerMinute: 1}})
	list := func(secret string) result {
		var stdout, stderr strings.Builder
		status := run(t.Context(), strings.Fields("buckets list --retries 0"), []string{"ATLAS_EXPORT_CONFIG=" + os.DevNull, "MONGODB_ATLAS_BASE_URL=" + atlas.URL(),
			"MONGODB_ATLAS_PROJECT_ID=" + sim.GroupID, "MONGODB_ATLAS_CLIENT_ID=" + sim.ClientID, "MONGODB_ATLAS_CLIENT_SECRET=" + secret}, nil, &stdout, &stderr)
		if strings.Contains(stderr.String(), secret) {
			t.Errorf("the secret is in %s", &stderr)
		}
		return result{status, stdout.String(), stderr.String()}
	}
	for _, test := range []struct {
		secret string
		status int
		stderr string
	}{
		{"c4na7y-wrong", exitUnauthorized, `^atlas-export: listExportBuckets: 401 Unauthorized: Invalid credentials provided\.: serviceaccount: the credential was refused: invalid_client\nhint: atlas-export config show says which credential is used, and where it comes from\n$`},
		{sim.ClientSecret, exitWait, `^atlas-export: listExportBuckets: 429 .*\nhint: (a service account gets only so many tokens a minute; try again in a minute|try again in [0-9ms]+)\n$`},
	} {
		if got := list(test.secret); got.Status != test.status || !regexp.MustCompile(test.stderr).MatchString(got.Stderr) {
			t.Errorf("got %+v", got)
		}
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(429)
		io.WriteString(w, `{"error":429,"errorCode":"RATE_LIMITED","detail":"Too many.","reason":"Too Many Requests"}`)
	}))
	defer server.Close()
	w := &world{url: server.URL}
	var stderr strings.Builder
	env := append(w.environ(key{}), "MONGODB_ATLAS_CLIENT_ID=a", "MONGODB_ATLAS_CLIENT_SECRET=c4na7y")
	status := run(t.Context(), strings.Fields("buckets list --retries 0"), env, nil, io.Discard, &stderr)
	if !strings.HasSuffix(stderr.String(), "\nhint: a service account gets only so many tokens a minute; try again in a minute\n") || status != exitWait {
		t.Errorf("exit status %d: %s", status, &stderr)
	}
}

// Each kind of the gateway's refusals that a caller can see has a hint, or is known to need none.
func TestGatewayKindsHaveHints(t *testing.T) {
	page, err := os.ReadFile("../../DIVERGENCES.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}|as answered) \\|").FindAllStringSubmatch(string(page), -1)
	if len(kinds) < 20 {
		t.Errorf("%d kinds in DIVERGENCES.md", len(kinds))
	}
	for _, kind := range kinds {
		switch name := kind[1]; name {
		case "unauthorized": // depends on what the caller has
		case "oauth", "caller_gone": // nobody sees it
		default:
			if _, ok := gatewayHints[name]; !ok {
				t.Errorf("%s has no hint", name)
			}
		}
	}
}

// With -o json, an error is one line of JSON, also where the command line is what is wrong.
func TestErrorsAsJSON(t *testing.T) {
	wait := answering(t, 503, "SERVICE_UNAVAILABLE", map[string]string{"Gateway-Error": "overloaded", "Gateway-Request-Id": "a-1", "Retry-After": "2"}, `"a\u001b"`)
	other := direct(t, sim.Config{})
	for _, test := range []struct {
		w    *world
		env  string
		args string
		want problem
	}{
		{wait, "", "buckets list -o json --retries 0", problem{
			Error: "listExportBuckets: 503 SERVICE_UNAVAILABLE: No. (request a-1 of the gateway)", ExitStatus: exitWait, Hint: "try again in 2s",
			Operation: "listExportBuckets", HTTPStatus: 503, Code: "SERVICE_UNAVAILABLE", Detail: "No.", Parameters: []string{"a\x1b"},
			RetryAfter: 2, Gateway: "overloaded", RequestID: "a-1"}},
		{other, "", "buckets list --group a/b -ojson", problem{
			Error: "getGroupByName: not sent, since it breaks the contract", ExitStatus: exitInvalid, Operation: "getGroupByName",
			Violations: []violation{{"groupName", "groupName, --group", "is not a group name: 1 to 64 letters, digits, spaces and the marks -_.(),:&@+'"}}}},
		{other, "ATLAS_EXPORT_OUTPUT=json", "backup list --clusterName x", problem{
			Error: `unknown command "backup"; there are buckets, clusters, completion, config, exports, groups, roles, schedule, snapshots, version`, ExitStatus: exitUsage, Hint: "atlas-export -h shows how it is used"}},
		{other, "", "exports create --custom-data x --dry-run --output=json", problem{
			Error: `invalid argument "x" for "--custom-data" flag: "x" is not key=value`, ExitStatus: exitUsage, Hint: "atlas-export exports create -h shows how it is used"}},
		{other, "", "buckets list --request-timeout soon --output json", problem{
			Error: `--request-timeout: "soon" is not a duration such as 500ms, 30s or 2m`, ExitStatus: exitUsage, Hint: "atlas-export buckets list -h shows how it is used"}},
		{other, "MONGODB_ATLAS_OUTPUT=json", "exports get " + unknownID, problem{
			Error: "--cluster is missing", ExitStatus: exitUsage, Hint: "give it with --cluster, ATLAS_EXPORT_CLUSTER, or: atlas-export config set cluster VALUE"}},
	} {
		var stdout, stderr strings.Builder
		status := run(t.Context(), strings.Fields(test.args), append(test.w.environ(test.w.owner), test.env), nil, &stdout, &stderr)
		var got problem
		decoder := json.NewDecoder(strings.NewReader(stderr.String()))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&got)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" || status != test.want.ExitStatus || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%s: exit status %d, %v, %s, -want +got:\n%s", test.args, status, err, &stderr, diff)
		}
		checkPrintable(t, stderr.String())
	}
	for _, args := range []string{"buckets list -o yaml --group x", "buckets list -o jso", "buckets list --group x"} {
		if got := other.run(t, other.owner, strings.Fields(args)...); !strings.HasPrefix(got.Stderr, "atlas-export: ") {
			t.Errorf("%s: %s", args, got.Stderr)
		}
	}
}

// A certificate that is not trusted has a hint, and ca_file names whom to trust, from each place
// that a setting can come from.
func TestCAFile(t *testing.T) {
	authority := gatewaytest.NewAuthority(t)
	certificate := authority.Loopback(t)
	expired := sim.Start(t, sim.Config{TLS: &authority.Issue(t, -time.Minute, net.IPv4(127, 0, 0, 1)).Certificate})
	atlas := sim.Start(t, sim.Config{TLS: &certificate.Certificate})
	w := &world{atlas, atlas.URL(), key{sim.PublicKey, sim.PrivateKey}, key{}, nil}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of what comes without TLS
	secure.StartTLS()
	t.Cleanup(secure.Close)
	directory := t.TempDir()
	file := filepath.Join(directory, "authorities.pem")
	writeFile(t, file, authority.PEM)
	writeFile(t, filepath.Join(directory, "empty.pem"), "no certificate")
	writeFile(t, filepath.Join(directory, "config.yaml"), "profiles:\n  default:\n    ca_file: authorities.pem\n")
	for _, test := range []struct {
		args, env string
		status    int
		stderr    string
	}{
		{"", "", exitUnavailable, `(?s)^atlas-export: listExportBuckets: .*certificate signed by unknown authority\n` +
			`hint: the certificate is from an authority that is not trusted here; --ca-file FILE, or the setting ca_file, names those to trust\n$`},
		{"--ca-file " + file, "", exitOK, "^$"},
		{"", "ATLAS_EXPORT_CA_FILE=" + file, exitOK, "^$"},
		{"", "ATLAS_EXPORT_CONFIG=" + filepath.Join(directory, "config.yaml"), exitOK, "^$"},
		{"--ca-file " + filepath.Join(directory, "empty.pem"), "", exitInvalid, `^atlas-export: ca_file from flag --ca-file: .*/empty\.pem holds no certificate in PEM\n$`},
		{"--ca-file " + filepath.Join(directory, "none"), "", exitInvalid, `^atlas-export: ca_file from flag --ca-file: open .*/none: no such file or directory\n$`},
		{"--ca-file /dev/zero", "", exitInvalid, `^atlas-export: ca_file from flag --ca-file: read /dev/zero: larger than 1048576 bytes\n$`},
		{"--base-url " + strings.Replace(w.url, "127.0.0.1", "localhost", 1) + " --ca-file " + file, "", exitUnavailable,
			`(?s)^atlas-export: listExportBuckets: .*\nhint: the certificate is for other names than base_url has; atlas-export config show says what base_url is\n$`},
		{"--base-url " + expired.URL() + " --ca-file " + file, "", exitUnavailable,
			`(?s)^atlas-export: listExportBuckets: .*\nhint: the server needs another certificate, or the clock of this machine is wrong\n$`},
		{"--base-url " + strings.Replace(direct(t, sim.Config{}).url, "http:", "https:", 1), "", exitUnavailable,
			`(?s)^atlas-export: listExportBuckets: .*\nhint: what answers does not speak TLS; atlas-export config show says what base_url is\n$`},
		{"--base-url " + strings.Replace(secure.URL, "https:", "http:", 1), "", exitInvalid,
			`(?s)^atlas-export: listExportBuckets: 400 .*\nhint: what answers is neither Atlas nor a gateway, or it expects https; atlas-export config show says what base_url is\n$`},
	} {
		var stdout, stderr strings.Builder
		args := append(strings.Fields("buckets list -o name --retries 0"), strings.Fields(test.args)...)
		status := run(t.Context(), args, append(w.environ(w.owner), test.env), nil, &stdout, &stderr)
		if status != test.status || !regexp.MustCompile(test.stderr).MatchString(stderr.String()) {
			t.Errorf("%s %s: exit status %d: %s", test.args, test.env, status, &stderr)
		}
	}
}

var neededRole = regexp.MustCompile(`Needs the role ([A-Za-z ]+)\.`)

// The role that a hint names is the one that the contract names for the operation. It is the same
// in both generations.
func TestRequiredRoles(t *testing.T) {
	document, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, item := range document.Paths.Map() {
		if strings.Contains(path, "/v1.0/") {
			continue
		}
		for _, o := range item.Operations() {
			checked++
			needed := neededRole.FindStringSubmatch(strings.Join(strings.Fields(o.Description), " "))
			if needed == nil {
				t.Errorf("%s: the contract names no role", o.OperationID)
				continue
			}
			for _, name := range []string{o.OperationID, "v1" + strings.ToUpper(o.OperationID[:1]) + o.OperationID[1:]} {
				if got := requiredRole(name); got != needed[1] {
					t.Errorf("%s: %s, and the contract says %s", name, got, needed[1])
				}
			}
		}
	}
	if checked < 23 {
		t.Errorf("only %d operations were checked", checked)
	}
}
