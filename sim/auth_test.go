package sim_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// plainly sends a request as it is, without a client that authenticates.
func plainly(t testing.TB, method, target, body string, header ...string) answer {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Add(name, value)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

var recordedChallenge = regexp.MustCompile(`^Digest realm="MMS Public API", domain="", nonce="([0-9a-zA-Z]{32})", algorithm=MD5, qop="auth", stale=false$`)

// sign computes a credential by hand, as RFC 7616, section 3.4, has it.
func sign(password, method, uri, nonce string, nc int) string {
	return signAs(sim.PublicKey, password, method, uri, nonce, nc)
}

func signAs(user, password, method, uri, nonce string, nc int) string {
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	response := hash(fmt.Sprintf("%s:%s:%08x:cnonce:auth:%s",
		hash(user+":MMS Public API:"+password), nonce, nc, hash(method+":"+uri)))
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="MMS Public API", nonce="%s", uri="%s", cnonce="cnonce", nc=%08x, qop=auth, response="%s", algorithm="MD5"`,
		user, nonce, uri, nc, response)
}

// signing is a transport that asks for a nonce before each request, and leaves all other
// 401s to its caller.
type signing struct {
	t    testing.TB
	user string
}

func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	nonce := nonceOf(s.t, plainly(s.t, "GET", "http://"+r.URL.Host+"/", ""))
	r = r.Clone(r.Context())
	_, credential, _ := strings.Cut(signAs(s.user, sim.PrivateKey, r.Method, r.URL.RequestURI(), nonce, 1), ": ")
	r.Header.Set("Authorization", credential)
	r.Close = true
	return http.DefaultTransport.RoundTrip(r)
}

func nonceOf(t testing.TB, a answer) string {
	t.Helper()
	match := recordedChallenge.FindStringSubmatch(a.header.Get("WWW-Authenticate"))
	if match == nil || len(a.header.Values("WWW-Authenticate")) != 1 {
		t.Fatalf("challenge %q", a.header.Values("WWW-Authenticate"))
	}
	return match[1]
}

// Authentication is checked before anything else about a request. The challenge is the
// recorded one, to the letter.
func TestChallenge(t *testing.T) {
	atlas := start(t, sim.Config{})
	for name, request := range map[string][]string{
		"a good request":     {"GET", v2 + buckets, "", "Accept: " + latest},
		"no version":         {"GET", v2 + buckets + "?envelope=true&pretty=true&pageNum=0", ""},
		"no JSON":            {"POST", v2 + orders, "{", "Content-Type: text/plain"},
		"an empty first leg": {"POST", v1 + orders + "/", "", "Content-Type: application/json"},
		"no group":           {"GET", "/api/atlas/v2/groups/x" + buckets, ""},
		"no path":            {"GET", "/nowhere", ""},
		"no method":          {"PUT", v2 + buckets, ""},
		"no scheme":          {"GET", v2 + buckets, "", "Authorization: demopubl"},
		"Basic":              {"GET", v2 + buckets, "", "Authorization: Basic ZGVtb3B1Ymw6eA=="},
		"no token":           {"GET", v2 + buckets, "", "Authorization: Bearer x.y.z"},
	} {
		t.Run(name, func(t *testing.T) {
			a := plainly(t, request[0], atlas.URL()+request[1], request[2], request[3:]...)
			check(t, "status", a.status, 401)
			check(t, "body", a.body, `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource.","errorCode":"UNEXPECTED_ERROR"}`)
			check(t, "type", a.header.Get("Content-Type"), "application/json")
			check(t, "X-Error-Code", a.header.Get("X-Error-Code"), "UNEXPECTED_ERROR")
			nonceOf(t, a)
		})
	}
	check(t, "challenges", atlas.Counts().Challenges, int64(10))
}

func TestDigest(t *testing.T) {
	atlas := start(t, sim.Config{})
	target := v2 + buckets
	call := func(header string) answer {
		t.Helper()
		return plainly(t, "GET", atlas.URL()+target, "", "Accept: "+latest, header)
	}
	nonce := nonceOf(t, call("X: y"))
	check(t, "good", call(sign(sim.PrivateKey, "GET", target, nonce, 1)).status, 200)
	check(t, "the same count again", call(sign(sim.PrivateKey, "GET", target, nonce, 1)).status, 401)
	check(t, "a count left out", call(sign(sim.PrivateKey, "GET", target, nonce, 3)).status, 200)
	check(t, "a count come late", call(sign(sim.PrivateKey, "GET", target, nonce, 2)).status, 200)
	check(t, "another password", call(sign("wrong", "GET", target, nonce, 4)).status, 401)
	check(t, "another method", call(sign(sim.PrivateKey, "POST", target, nonce, 4)).status, 401)
	check(t, "another target", call(sign(sim.PrivateKey, "GET", target+"/", nonce, 4)).status, 401)
	check(t, "another nonce", call(sign(sim.PrivateKey, "GET", target, strings.Repeat("0", 32), 1)).status, 401)
	fresh := nonceOf(t, call("X: y"))
	check(t, "a fresh nonce beginning at 3", call(sign(sim.PrivateKey, "GET", target, fresh, 3)).status, 200)
	atlas.Advance(1000 * time.Hour)
	check(t, "a nonce of long ago", call(sign(sim.PrivateKey, "GET", target, nonce, 5)).status, 200)
	atlas.ForgetNonces()
	check(t, "a nonce from before a restart", call(sign(sim.PrivateKey, "GET", target, nonce, 6)).status, 401)
}

func TestNonceSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		nonces sim.Nonces
		counts []int
		want   []int
	}{
		{"as at Atlas", sim.Nonces{}, []int{1, 2, 5, 3, 3}, []int{200, 200, 200, 200, 401}},
		{"rising", sim.Nonces{Rising: true}, []int{1, 2, 5, 3, 6}, []int{200, 200, 200, 401, 200}},
		{"single-use", sim.Nonces{Uses: 1}, []int{1, 2}, []int{200, 401}},
		{"three uses", sim.Nonces{Uses: 3}, []int{1, 2, 3, 4}, []int{200, 200, 200, 401}},
		{"all refused", sim.Nonces{Refuse: 1}, []int{1, 2}, []int{401, 401}},
		{"an hour", sim.Nonces{Lifetime: sim.Duration(time.Hour)}, []int{1, 2, 3}, []int{200, 200, 200}},
		{"expired", sim.Nonces{Lifetime: sim.Duration(time.Minute)}, []int{1, 2, 3}, []int{200, 200, 401}}, // one request each half minute
	} {
		t.Run(test.name, func(t *testing.T) {
			atlas := start(t, sim.Config{Settings: sim.Settings{Nonces: test.nonces}})
			nonce := nonceOf(t, plainly(t, "GET", atlas.URL()+v1+buckets, ""))
			var got []int
			for _, nc := range test.counts {
				got = append(got, plainly(t, "GET", atlas.URL()+v1+buckets, "", sign(sim.PrivateKey, "GET", v1+buckets, nonce, nc)).status)
				atlas.Advance(30 * time.Second)
			}
			check(t, "statuses", got, test.want)
		})
	}
}

func TestChallengeSettings(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{
		Nonces:    sim.Nonces{Uses: 1},
		Challenge: sim.Challenge{Realm: "elsewhere", Algorithms: []string{"MD5", "SHA-256"}, Opaque: "o", Stale: true, Extra: "charset=UTF-8"},
	}})
	a := plainly(t, "GET", atlas.URL()+v1+buckets, "")
	got := a.header.Values("WWW-Authenticate")
	if len(got) != 2 {
		t.Fatalf("challenges: %q", got)
	}
	nonce := regexp.MustCompile(`nonce="(.*?)"`).FindStringSubmatch(got[0])[1]
	check(t, "challenges", got, []string{
		`Digest realm="elsewhere", domain="", nonce="` + nonce + `", opaque="o", algorithm=MD5, qop="auth", stale=false, charset=UTF-8`,
		`Digest realm="elsewhere", domain="", nonce="` + nonce + `", opaque="o", algorithm=SHA-256, qop="auth", stale=false, charset=UTF-8`,
	})
	// A client may choose the strongest algorithm.
	challenge, err := digestauth.ChooseChallenge(a.header, "elsewhere")
	if err != nil || challenge.Algorithm != digestauth.SHA256 {
		t.Fatalf("%+v, %v", challenge, err)
	}
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	check(t, "with the first", c.do("GET", v1+buckets, "").status, 200)
	if err := atlas.SetSettings(sim.Settings{Challenge: sim.Challenge{QOP: "auth,auth-int"}}); err != nil {
		t.Fatal(err)
	}
	other := plainly(t, "GET", atlas.URL()+v1+buckets, "").header.Get("WWW-Authenticate")
	if !strings.HasSuffix(other, `", algorithm=MD5, qop="auth,auth-int", stale=false`) {
		t.Errorf("challenge %s", other)
	}
}

func TestAccess(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.ReadOnlyPublicKey)
	for _, path := range []string{buckets, clusters, schedule, snapshots, shardedList, "", "/cloudProviderAccess", "/clusters/orders", "/clusters/orders/status"} {
		check(t, "reading "+path, c.do("GET", v2+path, "").status, 200)
	}
	// The digest client would take a 401 for a challenge and close its body.
	c.http.Transport = signing{t, sim.ReadOnlyPublicKey}
	sentences := map[string]string{
		"USER_UNAUTHORIZED": `"detail":"Current user is not authorized to perform this action.","error":401,`,
		"NOT_IN_GROUP":      `"detail":"The current user is not in the group, or the group does not exist.","error":401,`,
	}
	for _, test := range []struct{ method, path, body, code string }{
		{"POST", v2 + buckets, `{}`, "USER_UNAUTHORIZED"},
		{"POST", v1 + orders, `{}`, "USER_UNAUTHORIZED"},
		{"DELETE", v2 + buckets + "/" + unknown, "", "USER_UNAUTHORIZED"},
		{"PATCH", v2 + buckets + "/" + unknown, `{}`, "USER_UNAUTHORIZED"},
		{"POST", v2 + snapshots, `{}`, "USER_UNAUTHORIZED"},
		{"POST", v1 + snapshots, `{}`, "USER_UNAUTHORIZED"},
		{"PATCH", v2 + schedule, `{}`, "USER_UNAUTHORIZED"},
		{"DELETE", v2 + schedule, "", "USER_UNAUTHORIZED"},
		{"GET", "/api/atlas/v2/groups/" + sim.EmptyGroupID + buckets, "", "NOT_IN_GROUP"},
	} {
		a := c.do(test.method, test.path, test.body)
		check(t, test.method+" "+test.path, a.status, 401)
		check(t, test.method+" "+test.path, a.header.Get("X-Error-Code"), test.code)
		check(t, test.method+" challenge", a.header.Get("WWW-Authenticate"), "")
		if !strings.Contains(a.body, sentences[test.code]) {
			t.Errorf("%s %s: %s", test.method, test.path, a.body)
		}
	}
	check(t, "a wrong key", newCaller(t, atlas.URL(), "nobody").do("GET", v2+buckets, "").status, 401)
}

// seedWith returns the default seed with one more key, which has a role.
func seedWith(role string) *sim.Seed {
	seed := sim.DefaultSeed()
	seed.Keys = append(seed.Keys, sim.Key{PublicKey: "extra", PrivateKey: secret.New(sim.PrivateKey), Roles: []string{role}})
	return seed
}

func TestRoles(t *testing.T) {
	for role, want := range map[string][3]int{ // read, export, manage
		"Project Owner":                  {404, 404, 404},
		"Project Atlas Admin":            {404, 404, 401},
		"Project Backup Export Operator": {404, 404, 401},
		"Project Backup Manager":         {404, 401, 404},
		"Project Read Only":              {404, 401, 401},
	} {
		c := newCaller(t, start(t, sim.Config{Seed: seedWith(role)}).URL(), "extra")
		c.http.Transport = signing{t, "extra"}
		got := [3]int{
			c.do("GET", v2+buckets+"/"+unknown, "").status,
			c.do("POST", v2+orders, exportOf(unknown, unknown)).status,
			c.do("DELETE", v2+buckets+"/"+unknown, "").status,
		}
		check(t, role, got, want)
	}
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func basic(t testing.TB, atlas *sim.Server, path, id, secret, body string, header ...string) answer {
	t.Helper()
	request, _ := http.NewRequest("POST", "/", nil)
	request.SetBasicAuth(id, secret)
	return plainly(t, "POST", atlas.URL()+path, body, append(header, "Authorization: "+request.Header.Get("Authorization"))...)
}

func TestTokens(t *testing.T) {
	atlas := start(t, sim.Config{})
	issue := func() string {
		t.Helper()
		a := basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, "grant_type=client_credentials", formType)
		check(t, "status", a.status, 200)
		check(t, "type", a.header.Get("Content-Type"), "application/json")
		var token struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int    `json:"expires_in"`
			TokenType   string `json:"token_type"`
		}
		if err := json.Unmarshal([]byte(a.body), &token); err != nil {
			t.Fatal(err)
		}
		check(t, "expires_in", token.ExpiresIn, 3600)
		check(t, "token_type", token.TokenType, "Bearer")
		return token.AccessToken
	}
	call := func(token string) answer {
		t.Helper()
		return plainly(t, "GET", atlas.URL()+v2+buckets, "", "Accept: "+latest, "Authorization: Bearer "+token)
	}
	token := issue()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the token is no JWT: %s", token)
	}
	check(t, "with a token", call(token).status, 200)
	check(t, "with a token twice", call(token).status, 200)
	check(t, "with another signature", call(parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2]))).status, 401)
	// {"alg":"none"}: RFC 8725, section 3.1.
	check(t, "without a signature", call("eyJhbGciOiJub25lIn0."+parts[1]+".").status, 401)

	other := issue()
	revoke := func(token string) answer {
		t.Helper()
		return basic(t, atlas, "/api/oauth/revoke", sim.ClientID, sim.ClientSecret, url.Values{"token": {token}}.Encode(), formType)
	}
	check(t, "revoke", revoke(token).status, 200)
	check(t, "revoke again", revoke(token).status, 200)
	check(t, "revoke nonsense", revoke("nonsense").status, 200)
	check(t, "revoke nothing", revoke("").status, 400)
	check(t, "revoked", call(token).status, 401)
	check(t, "another's", call(other).status, 200)
	atlas.Advance(time.Hour - time.Second)
	check(t, "in its last second", call(other).status, 200)
	atlas.Advance(time.Second)
	expired := call(other)
	check(t, "expired", expired.status, 401)
	nonceOf(t, expired)

	requests := atlas.Requests(0)
	check(t, "the operation", requests[0].Operation, "token")
	check(t, "the caller", requests[1].Caller, sim.ClientID)
}

func TestTokenErrors(t *testing.T) {
	atlas := start(t, sim.Config{})
	invalid := `{"error":"invalid_client","error_description":"Invalid credentials provided."}`
	grant := "grant_type=client_credentials"
	for name, test := range map[string]struct {
		answer answer
		status int
		body   string
	}{
		"wrong secret":   {basic(t, atlas, "/api/oauth/token", sim.ClientID, "wrong", grant, formType), 401, invalid},
		"wrong client":   {basic(t, atlas, "/api/oauth/token", "nobody", sim.ClientSecret, grant, formType), 401, invalid},
		"an API key":     {basic(t, atlas, "/api/oauth/token", sim.PublicKey, sim.PrivateKey, grant, formType), 401, invalid},
		"no Basic":       {plainly(t, "POST", atlas.URL()+"/api/oauth/token", grant, formType), 401, invalid},
		"another grant":  {basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, "grant_type=password", formType), 400, `{"error":"unsupported_grant_type","error_description":"The grant type is not supported."}`},
		"no form":        {basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, grant), 400, `{"error":"invalid_request","error_description":"The request is not a form."}`},
		"a wrong revoke": {basic(t, atlas, "/api/oauth/revoke", sim.ClientID, "wrong", "token=x", formType), 401, invalid},
	} {
		check(t, name, test.answer.status, test.status)
		check(t, name, test.answer.body, test.body)
	}
}

func TestTokenLimit(t *testing.T) {
	atlas := start(t, sim.Config{})
	issue := func(id string) answer {
		return basic(t, atlas, "/api/oauth/token", id, sim.ClientSecret, "grant_type=client_credentials", formType)
	}
	for range 10 {
		check(t, "allowed", issue(sim.ClientID).status, 200)
	}
	a := issue(sim.ClientID)
	check(t, "the eleventh", a.status, 429)
	check(t, "its body", a.body, `{"detail":"Resource /api/oauth/token is limited to 10 requests every 1 minutes.","error":429,"errorCode":"RATE_LIMITED","parameters":["/api/oauth/token",10,1],"reason":"Too Many Requests"}`)
	for _, field := range []string{"Retry-After", "RateLimit-Limit", "RateLimit-Remaining"} {
		check(t, field, a.header.Get(field), "")
	}
	check(t, "a stranger", issue("stranger").status, 401)
	atlas.Advance(6 * time.Second)
	check(t, "six seconds later", issue(sim.ClientID).status, 200)
	settings := atlas.Settings()
	settings.TokensPerMinute = -1
	if err := atlas.SetSettings(settings); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		check(t, "without a limit", issue(sim.ClientID).status, 200)
	}
}

// Each address has a limit of its own.
func TestTokenLimitOfAnAddress(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{TokensPerMinute: 1}})
	issue := func(address string) int {
		t.Helper()
		transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
		t.Cleanup(transport.CloseIdleConnections)
		request, _ := http.NewRequest("POST", atlas.URL()+"/api/oauth/token", strings.NewReader("grant_type=client_credentials"))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(sim.ClientID, sim.ClientSecret)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Skipf("no second address of loopback: %v", err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	check(t, "the first address", []int{issue("127.0.0.1"), issue("127.0.0.1")}, []int{200, 429})
	check(t, "the second", []int{issue("127.0.0.2"), issue("127.0.0.2")}, []int{200, 429})
}

// curl sends the first leg of a POST without its content.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	atlas := start(t, sim.Config{})
	out, err := exec.CommandContext(t.Context(), curl, "--silent", "--show-error", "--max-time", "10",
		"--user", sim.PublicKey+":"+sim.PrivateKey, "--digest", "--header", "Accept: application/json", "--header", "Content-Type: application/json",
		"--request", "POST", atlas.URL()+v1+buckets+"/?pretty=true",
		"--data", `{"iamRoleId":"12345678f901a234dbdb00ca","bucketName":"example-bucket","cloudProvider":"AWS"}`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var bucket map[string]string
	if err := json.Unmarshal(out, &bucket); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check(t, "bucket", bucket, map[string]string{"_id": bucket["_id"], "projectId": sim.GroupID, "bucketName": "example-bucket",
		"cloudProvider": "AWS", "iamRoleId": "12345678f901a234dbdb00ca"})
	requests := atlas.Requests(0)
	if len(requests) != 2 || requests[0].Body != "" || !requests[0].Challenged || requests[1].Status != 200 {
		t.Errorf("the two legs: %+v", requests)
	}
}
