package clients_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

// pair and token return the credential of a caller as arguments of curl.
func pair(_ testing.TB, _ *running, c caller) []string {
	return []string{"--user", c.pair.ID + ":" + c.pair.Secret.Reveal()}
}

func token(_ testing.TB, _ *running, c caller) []string { return []string{c.token.Secret.Reveal()} }

// curlAccessToken lets curl exchange the secret of the caller's service account for a token.
func curlAccessToken(t testing.TB, r *running, c caller) []string {
	t.Helper()
	got := runCurl(t, r, "--user", c.account.ID+":"+c.account.Secret.Reveal(), "--data", "grant_type=client_credentials", r.url+"/api/oauth/token")
	var content struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(got.Body), &content); err != nil || got.Status != 200 || content.AccessToken == "" || content.ExpiresIn != 3600 || content.TokenType != "Bearer" {
		t.Fatalf("the token endpoint: %+v %v", got, err)
	}
	return []string{content.AccessToken}
}

// curl returns the open function of curl with an option that says how to authenticate.
func curl(option string, secret func(testing.TB, *running, caller) []string) func(testing.TB, *running, caller) client {
	return func(t testing.TB, r *running, c caller) client {
		t.Helper()
		authenticate := append([]string{option}, secret(t, r, c)...)
		return func(t testing.TB, calls ...call) []answer {
			t.Helper()
			answers := make([]answer, len(calls))
			for i, call := range calls {
				answers[i] = runCurl(t, r, append(slices.Clone(authenticate), curlArguments(call)...)...).answer
			}
			return answers
		}
	}
}

// curlArguments returns the arguments of curl for a call, as the examples in Atlas's documents
// have them.
func curlArguments(c call) []string {
	arguments := []string{"--request", c.Method, c.URL}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		arguments = append(arguments, "--header", name+": "+c.Header[name])
	}
	if c.Body != "" {
		arguments = append(arguments, "--data", c.Body)
	}
	return arguments
}

// curled is what curl prints with --include.
type curled struct {
	answer
	statuses []int // of all responses, the last one included
}

func runCurl(t testing.TB, r *running, arguments ...string) curled {
	t.Helper()
	_, err := exec.LookPath("curl")
	require(t, err == nil, "curl is not installed")
	// The user's settings of curl and proxies don't count.
	arguments = append([]string{"--disable", "--noproxy", "*", "--max-time", "30", "--silent", "--show-error", "--include"}, arguments...)
	if r.caFile != "" {
		arguments = append(arguments, "--cacert", r.caFile)
	}
	command := exec.CommandContext(t.Context(), "curl", arguments...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var got curled
	// Only the last response has content.
	reader := bufio.NewReader(bytes.NewReader(printed))
	for {
		start, err := reader.Peek(len("HTTP/"))
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if string(start) != "HTTP/" {
			break
		}
		text := textproto.NewReader(reader)
		line, err := text.ReadLine()
		if err != nil {
			t.Fatalf("%v in %s", err, printed)
		}
		header, err := text.ReadMIMEHeader()
		if err != nil {
			t.Fatalf("%v in %s", err, printed)
		}
		_, after, _ := strings.Cut(line, " ")
		digits, _, _ := strings.Cut(after, " ")
		if got.Status, err = strconv.Atoi(digits); err != nil {
			t.Fatalf("%v in %s", err, printed)
		}
		got.ContentType = header.Get("Content-Type")
		got.statuses = append(got.statuses, got.Status)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	got.Body = string(content)
	return got
}

// curl announces large content and waits before it sends it. The gateway asks only for content
// that it will accept.
func TestCurlExpect(t *testing.T) {
	const limit = 4 << 20
	job := func(bytes int) string {
		return `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"<B1>","customData":[{"key":"note","value":"` + strings.Repeat("x", bytes) + `"}]}`
	}
	for _, test := range []struct {
		name         string
		authenticate []string // after --user
		content      string
		want         []int
	}{
		{"digest", []string{"--digest"}, job(limit / 2), []int{401, 100, 200}},
		{"basic", []string{"--basic"}, job(limit / 2), []int{100, 200}},
		{"basic, a wrong key", []string{"--basic", "--user", "agwabcdefghijkl:wrong"}, job(limit / 2), []int{401}},
		{"digest, a wrong key", []string{"--digest", "--user", "agwabcdefghijkl:wrong"}, job(limit / 2), []int{401, 401}},
		{"basic, too large", []string{"--basic"}, job(limit), []int{413}},
		{"digest, too large", []string{"--digest"}, job(limit), []int{401, 413}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := start(t, options{requestBody: limit})
			user := pair(t, r, r.nightly)
			known := names{}
			bucket := runCurl(t, r, append(append(user, "--basic"), curlArguments(call{"POST", r.url + v1Buckets, v1, `{"iamRoleId":"` + sim.AWSRole + `","bucketName":"example-bucket","cloudProvider":"AWS"}`})...)...)
			known.learn("B1", parse(t, bucket.Body))
			_, before := r.forwards(t, 0)
			content := known.expand(test.content)
			file := filepath.Join(t.TempDir(), "content")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			arguments := append(append(user, test.authenticate...), curlArguments(call{"POST", r.url + v1Exports + "/", v1, "@" + file})...)
			got := runCurl(t, r, arguments...)
			if !slices.Equal(got.statuses, test.want) {
				t.Errorf("curl was answered %v, want %v: %s", got.statuses, test.want, got.Body)
			}
			var want []forwarded
			if got.Status == 200 {
				want = []forwarded{{"v1CreateBackupExport", "POST " + v1Exports + "/", plain, plain, content}}
			}
			if received, _ := r.forwards(t, before); !slices.Equal(received, want) {
				t.Errorf("Atlas received %.1000v", received)
			}
		})
	}
}

// curl gets and revokes a token.
func TestCurlTokenEndpoint(t *testing.T) {
	r := start(t, options{})
	account := r.nightly.account.ID + ":" + r.nightly.account.Secret.Reveal()
	wrong := runCurl(t, r, "--user", r.nightly.account.ID+":wrong", "--data", "grant_type=client_credentials", r.url+"/api/oauth/token")
	want := answer{401, plain, `{"error":"invalid_client","error_description":"Invalid credentials provided."}`}
	if wrong.Body = strings.TrimSpace(wrong.Body); wrong.answer != want {
		t.Errorf("a wrong secret: %+v", wrong.answer)
	}
	list := call{"GET", r.url + v2Buckets, v2, ""}
	access := curlAccessToken(t, r, r.nightly)[0]
	bearer := append([]string{"--oauth2-bearer", access}, curlArguments(list)...)
	if got := runCurl(t, r, bearer...); got.Status != 200 {
		t.Errorf("an access token: %+v", got)
	}
	if got := runCurl(t, r, "--user", account, "--data-urlencode", "token="+access, "--data", "token_type_hint=access_token", r.url+"/api/oauth/revoke"); got.Status != 200 {
		t.Errorf("the revoke endpoint: %+v", got)
	}
	if got := runCurl(t, r, bearer...); got.Status != 401 {
		t.Errorf("a revoked token: %+v", got)
	}
}
