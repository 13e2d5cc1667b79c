package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	icholy "github.com/icholy/digest"
)

// outcome is all that a request of a caller leaves behind.
type outcome struct {
	Status       int
	Challenge    string // the WWW-Authenticate field, with N for the nonce
	GatewayError string // the Gateway-Error field
	Refusal      string // the content, where the status is 400 or more
	Record       record
	Atlas        int64 // requests that Atlas received
}

// record is what the record of a request says of its caller.
type record struct {
	Status                 int
	Caller, Key, Form      string
	Error, Reason, Missing string
}

var nonceField = regexp.MustCompile(`nonce="[A-Za-z0-9_-]{32}"`)

// try sends a request to a gateway and tells what came of it.
func (r *running) try(t *testing.T, atlas *sim.Server, send func() response) outcome {
	t.Helper()
	before := atlas.Counts().Requests
	got := send()
	o := outcome{
		Status:       got.status,
		Challenge:    nonceField.ReplaceAllString(strings.Join(got.header["Www-Authenticate"], " and "), `nonce="N"`),
		GatewayError: got.header.Get("Gateway-Error"),
		Atlas:        atlas.Counts().Requests - before,
	}
	if got.status >= 400 {
		o.Refusal = strings.TrimSpace(got.body)
	}
	id := got.header.Get("Gateway-Request-Id")
	waitFor(t, "the record of a request", func() bool {
		for line := range strings.Lines(r.logs.String()) {
			if strings.Contains(line, `"id":"`+id+`"`) {
				return json.Unmarshal([]byte(line), &o.Record) == nil
			}
		}
		return false
	})
	return o
}

// Every form in which a caller proves who it is, in every case: what is answered and
// recorded, and that Atlas hears of nobody who is not let in.
func TestAuthentication(t *testing.T) {
	for _, algorithm := range []string{digestauth.MD5, digestauth.SHA256} {
		t.Run(algorithm, func(t *testing.T) { testAuthentication(t, algorithm) })
	}
}

func testAuthentication(t *testing.T, algorithm string) {
	atlas := sim.Start(t, sim.Config{})
	nightly, other, stranger := issue(t, "nightly", everything), issue(t, "other", everything), issue(t, "stranger", everything)
	signing, previous, foreign := callers.NewSigningKey(), callers.NewSigningKey(), callers.NewSigningKey()
	keyFile := func(keys ...secret.Secret) string {
		file := filepath.Join(t.TempDir(), "signing.key")
		var content string
		for _, key := range keys {
			content += key.Reveal()
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}

	// The gateway knows nightly and, after it was taken out of the configuration, other alone.
	serve := func(caller issued) *running {
		g := startWith(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  list:\n"+caller.yaml,
			"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "ATLAS_GATEWAY_CALLERS_DIGEST_ALGORITHM="+algorithm,
			"ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE="+keyFile(signing, previous))
		// From now on the gateway needs no challenge of Atlas's for a request.
		if got := send(t, "GET", g.url+v2Buckets, map[string]string{"Accept": latest, "Authorization": "Bearer " + caller.token.Secret.Reveal()}, ""); got.status != 200 {
			t.Fatal(got)
		}
		return g
	}
	g, without := serve(nightly), serve(other)

	// Other processes sign nonces and tokens with a key, and by a clock that is behind.
	process := func(key secret.Secret, behind time.Duration) *callers.Authenticator {
		d := callers.Compile(callers.Config{
			Settings: callers.Settings{DigestAlgorithm: algorithm, SigningKeyFile: keyFile(key)},
			List:     []callers.Entry{nightly.entry, stranger.entry},
		}, false, func(path, format string, args ...any) { t.Fatalf(path+": "+format, args...) })
		return callers.New(d, callers.NewMemory(), callers.Options{Now: func() time.Time { return time.Now().Add(-behind) }})
	}
	challengeOf := func(a *callers.Authenticator) string {
		_, err := a.Authenticate(httptest.NewRequest("GET", "/", nil))
		var refused *callers.Refusal
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return refused.Challenge[0]
	}
	basic := func(id, secret string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(id, secret)
		return r.Header.Get("Authorization")
	}
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	tokenOf := func(a *callers.Authenticator, account callers.Issued) string {
		r := httptest.NewRequest("POST", "https://localhost/api/oauth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(account.ID, account.Secret.Reveal())
		w := httptest.NewRecorder()
		if _, err := a.ServeToken(w, r); err != nil {
			t.Fatal(err)
		}
		return accessToken(t, w.Body.String())
	}
	// forge makes another token of a good one.
	forge := func(token string, method jwt.SigningMethod, key any) string {
		good, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
		if err != nil {
			t.Fatal(err)
		}
		forged := jwt.NewWithClaims(method, good.Claims)
		forged.Header["kid"] = good.Header["kid"]
		text, err := forged.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}

	// How a credential is shown.
	call := func(g *running, authorization string) response {
		header := map[string]string{"Accept": latest}
		if authorization != "" {
			header["Authorization"] = authorization
		}
		return send(t, "GET", g.url+v2Buckets, header, "")
	}
	oauth := func(endpoint, content string) func(g *running, authorization string) response {
		return func(g *running, authorization string) response {
			header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
			if authorization != "" {
				header["Authorization"] = authorization
			}
			return send(t, "POST", g.url+"/api/oauth/"+endpoint, header, content)
		}
	}
	token := oauth("token", form)

	// How a credential is made.
	fresh := func() string { return call(g, "").header.Get("WWW-Authenticate") }
	mended := func(from, to string) func() string {
		return func() string {
			challenge := fresh()
			if !strings.Contains(challenge, from) {
				t.Fatalf("%s is not in %s", from, challenge)
			}
			return strings.Replace(challenge, from, to, 1)
		}
	}
	digest := func(challenge func() string, method, target, id string, key secret.Secret) func() string {
		return func() string {
			c, err := icholy.ParseChallenge(challenge())
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := icholy.Digest(c, icholy.Options{Method: method, URI: target, Username: id, Password: key.Reveal(), Count: 1})
			if err != nil {
				t.Fatal(err)
			}
			return credentials.String()
		}
	}
	of := func(a *callers.Authenticator) func() string { return func() string { return challengeOf(a) } }
	text := func(authorization string) func() string { return func() string { return authorization } }
	bearer := func(token string) func() string { return text("Bearer " + token) }
	right := func(challenge func() string) func() string {
		return digest(challenge, "GET", v2Buckets, nightly.pair.ID, nightly.pair.Secret)
	}
	access := tokenOf(process(signing, 0), nightly.account)
	wrong := secret.New("c4na7y-wrong-secret")
	another := map[string]string{digestauth.MD5: digestauth.SHA256, digestauth.SHA256: digestauth.MD5}[algorithm]

	// What comes of it. No answer but the challenge's scheme tells why.
	in := func(form callers.Form, key string) outcome {
		return outcome{Status: 200, Record: record{Status: 200, Caller: "nightly", Key: key, Form: string(form)}, Atlas: 1}
	}
	out := func(challenge string, reason callers.Reason) outcome {
		return outcome{
			Status: 401, Challenge: challenge, GatewayError: "unauthorized",
			Refusal: `{"error":401,"errorCode":"UNEXPECTED_ERROR","reason":"Unauthorized","detail":"You are not authorized for this resource."}`,
			Record:  record{Status: 401, Error: "unauthorized", Reason: string(reason)},
		}
	}
	challenged := func(reason callers.Reason) outcome {
		return out(`Digest realm="MMS Public API", domain="", nonce="N", algorithm=`+algorithm+`, qop="auth", stale=false`, reason)
	}
	refused := func(reason callers.Reason) outcome { return out(`Bearer error="invalid_token"`, reason) }
	noClient := func(reason callers.Reason) outcome {
		return outcome{
			Status: 401, Challenge: `Basic realm="MMS Public API"`,
			Refusal: `{"error":"invalid_client","error_description":"Invalid credentials provided."}`,
			Record:  record{Status: 401, Error: "oauth", Reason: string(reason)},
		}
	}
	byDigest, byBasic := in(callers.Digest, nightly.pair.ID), in(callers.Basic, nightly.pair.ID)
	byToken, byAccess := in(callers.StaticToken, nightly.token.Entry.Tokens[0].SHA256[:8]), in(callers.AccessToken, nightly.account.ID)
	bySecret := in(callers.ClientSecret, nightly.account.ID)
	bySecret.Atlas = 0 // the token endpoint is the gateway's own

	type cell struct {
		instead string // what the case is with a form that does not have it
		at      *running
		make    func() string
		want    outcome
	}
	const removed = "it does not expire, but ends with its entry in the configuration"
	forms := []struct {
		name                                                string
		show                                                func(g *running, authorization string) response
		allowed, wrongSecret, unknownCaller, expired, again cell
	}{
		{
			"Digest", call,
			cell{"", g, right(fresh), byDigest},
			cell{"", g, digest(fresh, "GET", v2Buckets, nightly.pair.ID, wrong), challenged(callers.WrongCredential)},
			cell{"", g, digest(fresh, "GET", v2Buckets, stranger.pair.ID, stranger.pair.Secret), challenged(callers.WrongCredential)},
			cell{"", g, right(of(process(signing, time.Hour))), challenged(callers.NonceExpired)},
			cell{"", g, right(fresh), challenged(callers.Replayed)},
		},
		{
			"Basic", call,
			cell{"", g, text(basic(nightly.pair.ID, nightly.pair.Secret.Reveal())), byBasic},
			cell{"", g, text(basic(nightly.pair.ID, wrong.Reveal())), challenged(callers.WrongCredential)},
			cell{"", g, text(basic(stranger.pair.ID, stranger.pair.Secret.Reveal())), challenged(callers.WrongCredential)},
			cell{removed, without, text(basic(nightly.pair.ID, nightly.pair.Secret.Reveal())), challenged(callers.WrongCredential)},
			cell{"it is the same with every request", g, text(basic(nightly.pair.ID, nightly.pair.Secret.Reveal())), byBasic},
		},
		{
			"static token", call,
			cell{"", g, bearer(nightly.token.Secret.Reveal()), byToken},
			cell{"", g, bearer(nightly.token.Secret.Reveal()[:27] + "AAAAAA"), refused(callers.WrongCredential)},
			cell{"", g, bearer(stranger.token.Secret.Reveal()), refused(callers.WrongCredential)},
			cell{removed, without, bearer(nightly.token.Secret.Reveal()), refused(callers.WrongCredential)},
			cell{"it is the same with every request", g, bearer(nightly.token.Secret.Reveal()), byToken},
		},
		{
			"service account, at the token endpoint", token,
			cell{"", g, text(basic(nightly.account.ID, nightly.account.Secret.Reveal())), bySecret},
			cell{"", g, text(basic(nightly.account.ID, wrong.Reveal())), noClient(callers.WrongCredential)},
			cell{"", g, text(basic(stranger.account.ID, stranger.account.Secret.Reveal())), noClient(callers.WrongCredential)},
			cell{removed, without, text(basic(nightly.account.ID, nightly.account.Secret.Reveal())), noClient(callers.WrongCredential)},
			cell{"each request is given a token of its own", g, text(basic(nightly.account.ID, nightly.account.Secret.Reveal())), bySecret},
		},
		{
			"service account, with its access token", call,
			cell{"", g, bearer(access), byAccess},
			cell{"", g, bearer(forge(access, jwt.SigningMethodHS256, []byte(wrong.Reveal()))), refused(callers.WrongCredential)},
			cell{"", g, bearer(tokenOf(process(signing, 0), stranger.account)), refused(callers.WrongCredential)},
			cell{"", g, bearer(tokenOf(process(signing, 2*time.Hour), nightly.account)), refused(callers.TokenExpired)},
			cell{"it is the same with every request, until it expires or is revoked", g, bearer(access), byAccess},
		},
	}
	check := func(name, instead string, got, want outcome) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s:\n%s", name, instead, diff)
		}
	}
	for _, form := range forms {
		for name, cell := range map[string]cell{"allowed": form.allowed, "wrong secret": form.wrongSecret, "unknown caller": form.unknownCaller, "expired": form.expired} {
			authorization := cell.make()
			check(form.name+", "+name, cell.instead, cell.at.try(t, atlas, func() response { return form.show(cell.at, authorization) }), cell.want)
		}
		authorization := form.again.make()
		show := func() response { return form.show(g, authorization) }
		check(form.name+", before it is replayed", "", g.try(t, atlas, show), form.allowed.want)
		check(form.name+", replayed", form.again.instead, g.try(t, atlas, show), form.again.want)
	}

	// What is left to go wrong, or right.
	revoked := accessToken(t, token(g, basic(nightly.account.ID, nightly.account.Secret.Reveal())).body)
	if got := oauth("revoke", url.Values{"token": {revoked}}.Encode())(g, basic(nightly.account.ID, nightly.account.Secret.Reveal())); got.status != 200 {
		t.Error(got)
	}
	for _, test := range []struct {
		name string
		show func(g *running, authorization string) response
		make func() string
		want outcome
	}{
		{"no credential", call, text(""), challenged(callers.NoCredential)},
		{"an unknown scheme", call, text("Negotiate " + nightly.token.Secret.Reveal()), challenged(callers.Malformed)},
		{"a nonce signed with the previous key", call, right(of(process(previous, 0))), byDigest},
		{"a nonce signed with a foreign key", call, right(of(process(foreign, 0))), challenged(callers.NonceUnknown)},
		{"an expired nonce signed with a foreign key", call, right(of(process(foreign, time.Hour))), challenged(callers.NonceUnknown)},
		{"Digest for another target", call, digest(fresh, "GET", v2Exports, nightly.pair.ID, nightly.pair.Secret), challenged(callers.Mismatched)},
		{"Digest for another query", call, digest(fresh, "GET", v2Buckets+"?pageNum=2", nightly.pair.ID, nightly.pair.Secret), challenged(callers.Mismatched)},
		{"Digest for another method", call, digest(fresh, "DELETE", v2Buckets, nightly.pair.ID, nightly.pair.Secret), challenged(callers.WrongCredential)},
		{"Digest for another realm", call, right(mended("MMS Public API", "Another API")), challenged(callers.Mismatched)},
		{"Digest of another algorithm", call, right(mended("algorithm="+algorithm, "algorithm="+another)), challenged(callers.Mismatched)},
		{"a service account as a key pair", call, text(basic(nightly.account.ID, nightly.account.Secret.Reveal())), challenged(callers.WrongCredential)},
		{"an access token signed with the previous key", call, bearer(tokenOf(process(previous, 0), nightly.account)), byAccess},
		{"an access token signed with a foreign key", call, bearer(tokenOf(process(foreign, 0), nightly.account)), refused(callers.WrongCredential)},
		{"an access token without a signature", call, bearer(forge(access, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)), refused(callers.WrongCredential)},
		{"an access token of another algorithm", call, bearer(forge(access, jwt.SigningMethodHS512, []byte(wrong.Reveal()))), refused(callers.WrongCredential)},
		{"a revoked access token", call, bearer(revoked), refused(callers.TokenRevoked)},
		{"a client secret as a token", call, bearer(nightly.account.Secret.Reveal()), refused(callers.WrongCredential)},
		{"no credential at the token endpoint", token, text(""), noClient(callers.NoCredential)},
		{"an access token at the token endpoint", token, bearer(access), noClient(callers.Malformed)},
		{"a key pair at the token endpoint", token, text(basic(nightly.pair.ID, nightly.pair.Secret.Reveal())), noClient(callers.WrongCredential)},
	} {
		authorization := test.make()
		check(test.name, "", g.try(t, atlas, func() response { return test.show(g, authorization) }), test.want)
	}
}

// accessToken returns the access token of an answer of the token endpoint.
func accessToken(t testing.TB, answer string) string {
	t.Helper()
	var content struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(answer), &content); err != nil || content.AccessToken == "" {
		t.Fatalf("no access token: %v", err)
	}
	return content.AccessToken
}

// policyRows are, for each operation of the contract, a valid request and which lists of a
// grant restrict it, besides operations and groups: those of gateway/policy's comment.
var policyRows = map[string]struct {
	restricted []string
	content    string // with BUCKET for the id of a bucket
	status     int    // of what is granted
}{
	"listBackupExports":        {[]string{"clusters"}, "", 200},
	"getBackupExport":          {[]string{"clusters"}, "", 200},
	"createBackupExport":       {[]string{"clusters", "export_buckets"}, `{"snapshotId":"` + snapshot + `","exportBucketId":"BUCKET"}`, 200},
	"listExportBuckets":        {nil, "", 200},
	"listClusters":             {nil, "", 200},
	"getBackupSchedule":        {[]string{"clusters"}, "", 200},
	"getExportBucket":          {[]string{"export_buckets"}, "", 200},
	"createExportBucket":       {[]string{"cloud_providers", "bucket_names"}, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + role + `"}`, 200},
	"updateBackupExportBucket": {[]string{"export_buckets"}, `{"requirePrivateNetworking":true}`, 200},
	"deleteExportBucket":       {[]string{"export_buckets"}, "", 204},
	"v1ListBackupExports":      {[]string{"clusters"}, "", 200},
	"v1GetBackupExport":        {[]string{"clusters"}, "", 200},
	"v1CreateBackupExport":     {[]string{"clusters", "export_buckets"}, `{"snapshotId":"` + snapshot + `","exportBucketId":"BUCKET"}`, 200},
	"v1ListExportBuckets":      {nil, "", 200},
	"v1GetExportBucket":        {[]string{"export_buckets"}, "", 200},
	"v1CreateExportBucket":     {[]string{"cloud_providers", "bucket_names"}, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + role + `"}`, 200},
	"v1DeleteExportBucket":     {[]string{"export_buckets"}, "", 204},
}

// policyLists are the lists of a grant, in the order in which a refusal names them.
var policyLists = []struct {
	key          string
	entry, other string // what the request has, with BUCKET as above, and what it does not have
	where        string // how a refusal words it, with PLACE for the group and, where there is one, the cluster
	operation    string // one that the list restricts
}{
	{"groups", group, "64f0c1a2b3d4e5f607182931", " in group " + group, ""},
	{"clusters", "orders", "events", " on cluster orders of group " + group, "listBackupExports"},
	{"export_buckets", "BUCKET", jobID, "PLACE with export bucket BUCKET", "getExportBucket"},
	{"cloud_providers", "AWS", "GCP", "PLACE with cloud provider AWS", "createExportBucket"},
	{"bucket_names", "acme-*", "other-*", "PLACE with bucket name acme-exports", "createExportBucket"},
}

// Every operation of the contract, for callers that are granted it, are not, or are granted
// it for something else: what is refused says which grant is missing, and Atlas does not hear
// of it. A list restricts the operations that have what it lists, and no other.
func TestPolicyOfEveryOperation(t *testing.T) {
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	type attempt struct {
		name, operation, content, bucket, token string
		want                                    outcome
	}
	var attempts []attempt
	seed := sim.DefaultSeed()
	entries := ""
	// add makes a caller with a bucket of its own that tries the operation.
	add := func(operation, does, content, grants, missing, detail string) {
		a := attempt{name: operation + "." + does, operation: operation, bucket: fmt.Sprintf("65a9d3e1f20b4c77%08x", len(attempts))}
		a.content = strings.ReplaceAll(content, "BUCKET", a.bucket)
		token := callers.NewToken(a.name)
		a.token = token.Secret.Reveal()
		keepSecret(t, "the token of "+a.name, a.token)
		grants = strings.ReplaceAll(grants, "BUCKET", a.bucket)
		entries += fmt.Sprintf("  - {name: %s, tokens: [{sha256: %s}], grants: %s}\n", a.name, token.Entry.Tokens[0].SHA256, grants)
		seed.Groups[0].Buckets = append(seed.Groups[0].Buckets, sim.Bucket{ID: a.bucket, CloudProvider: "AWS", BucketName: "acme-exports", IamRoleID: role})
		key := token.Entry.Tokens[0].SHA256[:8]
		if missing == "" {
			status := policyRows[operation].status
			a.want = outcome{Status: status, Record: record{Status: status, Caller: a.name, Key: key, Form: "static_token"}, Atlas: 1}
		} else {
			detail = strings.ReplaceAll("The caller may not do this: no grant of caller "+a.name+" allows "+operation+detail, "BUCKET", a.bucket)
			a.want = outcome{
				Status: 403, GatewayError: "forbidden",
				Refusal: `{"error":403,"errorCode":"USER_UNAUTHORIZED","reason":"Forbidden","detail":"` + detail + `."}`,
				Record:  record{Status: 403, Caller: a.name, Key: key, Form: "static_token", Error: "forbidden", Missing: missing},
			}
		}
		attempts = append(attempts, a)
	}

	paths, methods := map[string]string{}, map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			paths[operation.OperationID], methods[operation.OperationID] = path, method
		}
	}
	for _, id := range slices.Sorted(maps.Keys(paths)) {
		row, ok := policyRows[id]
		if !ok {
			t.Errorf("%s is not in the table", id)
			continue
		}
		another := "v1" + strings.ToUpper(id[:1]) + id[1:] // whose name is not that of v2
		if paths[another] == "" {
			another = "listExportBuckets"
		}
		if id == "v1ListExportBuckets" {
			another = "getExportBucket"
		}
		place := " in group " + group
		if strings.Contains(paths[id], "{clusterName}") {
			place = " on cluster orders of group " + group
		}
		// grant writes a grant of everything that the request needs, but for one list.
		grant := func(but, with string) string {
			text := "[{operations: [" + id + "]"
			for _, list := range policyLists {
				switch {
				case list.key == but:
					text += ", " + list.key + ": ['" + with + "']"
				case list.key == "groups" || slices.Contains(row.restricted, list.key):
					text += ", " + list.key + ": ['" + list.entry + "']"
				}
			}
			return text + "}]"
		}
		add(id, "granted", row.content, grant("", ""), "", "")
		add(id, "without-grants", row.content, "[]", "operations", "; it has no grants")
		add(id, "another-operation", row.content, "[{operations: ["+another+"], groups: ['*']}]", "operations", "; its grants allow operations "+another)
		for _, list := range policyLists {
			if list.key == "groups" || slices.Contains(row.restricted, list.key) {
				where := strings.Replace(list.where, "PLACE", place, 1)
				add(id, "other-"+list.key, row.content, grant(list.key, list.other), list.key, where+"; its grants allow "+strings.ReplaceAll(list.key, "_", " ")+" "+list.other)
			} else {
				add(id, "any-"+list.key, row.content, "[{operations: ["+id+", "+list.operation+"], groups: ["+group+"], "+list.key+": ['"+list.other+"']}]", "", "")
			}
		}
	}
	// A container of Azure goes by its URL, and no name of a bucket is one.
	const azure = `{"cloudProvider":"AZURE","roleId":"` + role + `","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`
	add("createExportBucket", "azure", azure, "[{operations: [createExportBucket], groups: ['*'], cloud_providers: [AZURE]}]", "", "")
	add("createExportBucket", "azure-by-name", azure, "[{operations: [createExportBucket], groups: ['*'], bucket_names: ['*']}]", "service_urls",
		" in group "+group+" with service url https://acmestore.blob.core.windows.net/snapshots; its grants allow no service urls")
	add("createExportBucket", "azure-by-url", azure, "[{operations: [createExportBucket], groups: ['*'], service_urls: ['https://acmestore.blob.core.windows.net/*']}]", "", "")
	add("createExportBucket", "azure-by-another-url", azure, "[{operations: [createExportBucket], groups: ['*'], service_urls: ['https://acme.blob.core.windows.net/*']}]", "service_urls",
		" in group "+group+" with service url https://acmestore.blob.core.windows.net/snapshots; its grants allow service urls https://acme.blob.core.windows.net/*")

	atlas := sim.Start(t, sim.Config{Seed: seed})
	admin := issue(t, "admin", everything)
	g := startFor(t, atlas, "", admin, issued{yaml: entries})
	header := func(id, token string) map[string]string {
		accept := latest
		if strings.HasPrefix(paths[id], "/api/atlas/v1.0/") {
			accept = plain
		}
		return map[string]string{"Accept": accept, "Content-Type": plain, "Authorization": "Bearer " + token}
	}
	var job struct{ ID string }
	created := send(t, "POST", g.url+v2Exports, header("", admin.token.Secret.Reveal()), strings.Replace(policyRows["createBackupExport"].content, "BUCKET", attempts[0].bucket, 1))
	if err := json.Unmarshal([]byte(created.body), &job); err != nil || created.status != 200 {
		t.Fatal(created, err)
	}
	for _, a := range attempts {
		atlas.Advance(time.Hour) // by which every export has ended
		target := strings.NewReplacer("{groupId}", group, "{clusterName}", "orders", "{exportBucketId}", a.bucket, "{exportId}", job.ID).Replace(paths[a.operation])
		got := g.try(t, atlas, func() response {
			return send(t, methods[a.operation], g.url+target, header(a.operation, a.token), a.content)
		})
		if diff := cmp.Diff(a.want, got); diff != "" {
			t.Errorf("%s:\n%s", a.name, diff)
		}
	}
}
