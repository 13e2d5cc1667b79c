package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/canary"
	"atlas-export-gateway/internal/gatewaytest"
)

// signatureOf returns the part of an Authorization field that is as good as the field: Digest's
// signature, or what stands behind the name of another scheme.
func signatureOf(authorization string) string {
	if response := digestResponse.FindStringSubmatch(authorization); response != nil {
		return response[1]
	}
	_, rest, _ := strings.Cut(authorization, " ")
	return rest
}

// echoes returns answers that repeat an Authorization field, in each place where it can stand.
func echoes(authorization string) map[string]string {
	word := strings.ReplaceAll(authorization, " ", "_")
	quoted, err := json.Marshal(authorization)
	if err != nil {
		panic(err) // a string always encodes
	}
	withContent := func(head, content string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, len(content), content)
	}
	signature := signatureOf(authorization)
	const ok = "200 OK\r\nContent-Type: application/json"
	return map[string]string{
		"the reason":               withContent("500 "+authorization, ""),
		"the status":               "HTTP/1.1 " + word + "\r\n\r\n",
		"the version":              "HTTP/" + word + " 200 OK\r\n\r\n",
		"the status line":          authorization + "\r\n\r\n",
		"a line of the header":     "HTTP/1.1 200 OK\r\n" + word + "\r\n\r\n",
		"a line with spaces":       "HTTP/1.1 200 OK\r\n" + authorization + "\r\n\r\n",
		"a continued line":         "HTTP/1.1 200 OK\r\n " + authorization + "\r\n\r\n",
		"a field's name":           "HTTP/1.1 200 OK\r\n" + authorization + ": x\r\n\r\n",
		"Content-Length":           "HTTP/1.1 200 OK\r\nContent-Length: " + authorization + "\r\n\r\n",
		"two Content-Lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + authorization + "\r\n\r\n",
		"Transfer-Encoding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + authorization + "\r\n\r\n",
		"a chunk":                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + authorization + "\r\n\r\n",
		"a trailer":                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + authorization + "\r\n\r\n",
		"Content-Type":             withContent("200 OK\r\nContent-Type: "+authorization, "{}"),
		"a type's name":            withContent("503 Error\r\nContent-Type: text/"+signature, "x"),
		"a type's parameter":       withContent("503 Error\r\nContent-Type: text/html;charset="+signature, "x"),
		"an encoding":              withContent(ok+"\r\nContent-Encoding: "+signature, "{}"),
		"an encoding and more":     withContent(ok+"\r\nContent-Encoding: gzip, "+authorization, "{}"),
		"Content-Encoding":         withContent(ok+"\r\nContent-Encoding: "+authorization, "{}"),
		"fields that end here":     withContent(ok+"\r\nServer: "+authorization+"\r\nSet-Cookie: "+authorization+"\r\nX-Echo: "+authorization, "{}"),
		"HTML":                     withContent("503 Service Unavailable\r\nContent-Type: text/html", "<p>"+authorization),
		"broken JSON":              withContent(ok, `{"echo":`+string(quoted)),
		"half of the content":      "HTTP/1.1 " + ok + "\r\nContent-Length: 9999\r\n\r\n" + string(quoted),
		"a token with spaces":      withContent("200 OK\r\nContent-Type: text/plain", `{"access_token":`+string(quoted)+`,"token_type":"Bearer"}`),
		"an OAuth error":           withContent("400 Bad Request\r\nContent-Type: text/plain", `{"error":`+string(quoted)+`,"error_description":`+string(quoted)+`}`),
		"a redirect":               withContent("307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/?"+word, ""),
		"an errorCode":             withContent("401 Unauthorized\r\nX-Error-Code: "+authorization, ""),
		"a code":                   withContent("401 Unauthorized\r\nX-Error-Code: "+signature, ""),
		"a code in capitals":       withContent("401 Unauthorized\r\nX-Error-Code: A"+strings.ToUpper(signature), ""),
		"a challenge":              withContent("401 Unauthorized\r\nWWW-Authenticate: "+authorization, ""),
		"a realm":                  withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm="+string(quoted)+`, nonce="1", qop="auth"`, ""),
		"a scheme":                 withContent("401 Unauthorized\r\nWWW-Authenticate: "+signature+" realm=\"r\"", ""),
		"a realm's text":           withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\""+signature+`", nonce="1", qop="auth"`, ""),
		"an algorithm's name":      withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=\""+signature+`"`, ""),
		"an algorithm":             withContent("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm="+string(quoted), ""),
		"the content of a 401":     withContent("401 Unauthorized\r\nContent-Type: application/json", `{"error":401,"errorCode":`+string(quoted)+`}`),
		"the content of a 429":     withContent("429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: text/plain", authorization),
		"an interim response":      "HTTP/1.1 103 " + authorization + "\r\nLink: " + authorization + "\r\n\r\n" + withContent("500 Error", ""),
		"another protocol":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + word + "\r\nConnection: Upgrade\r\n\r\n" + authorization,
		"a header that is endless": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat(authorization+" ", 3000),
	}
}

// An echoing upstream repeats what it was sent. Each echo has three groups, whose credential is
// an API key, a service account, and a service account that gets no token.
type echoing struct {
	names   []string       // of the echoes
	echoed  sync.Map       // the groups whose credential was repeated
	secrets canary.Secrets // the Authorization fields that arrived
}

var groupOf = regexp.MustCompile(`groups/([0-9a-f]{23})([0-9])/`)

func echoGroup(echo, kind int) string { return fmt.Sprintf("%023x%d", echo, kind) }

// answer is the answer to a request.
func (e *echoing) answer(r *http.Request) string {
	authorization := r.Header.Get("Authorization")
	id, _, _ := r.BasicAuth()
	group := groupOf.FindStringSubmatch(r.URL.Path + "groups/" + id + "/")
	if authorization == "" {
		return gatewaytest.Refusing(`WWW-Authenticate: Digest realm="r", nonce="abcdefgh", algorithm=MD5, qop="auth"`, "Connection: close")
	}
	keepAuthorization(&e.secrets, "an Authorization field for Atlas", authorization)
	// A part of it, as a log that cuts texts off would hold, or in capitals.
	signature := signatureOf(authorization)
	e.secrets.Add("the beginning of a signature", signature[:min(len(signature), 16)])
	e.secrets.Add("a signature in capitals", strings.ToUpper(signature))
	if group == nil { // the gateway's own request, which is to confirm a credential
		return echoes(authorization)["the content of a 401"]
	}
	if r.URL.Path == "/api/oauth/token" && group[2] == "1" {
		return gatewaytest.LastJSON(http.StatusOK, `{"access_token":"`+atlasToken+`","token_type":"Bearer","expires_in":3600}`)
	}
	var echo int
	fmt.Sscanf(group[1], "%x", &echo)
	e.echoed.Store(group[1]+group[2], true)
	return echoes(authorization)[e.names[echo]]
}

// The gateway prints and answers nothing of what an upstream repeats, whether that is a
// signature, a token or a client secret. What stands in the JSON of Atlas's own answers is
// relayed: such echoes are left out.
func TestNoSecretShowsOfAnEcho(t *testing.T) {
	t.Parallel() // it waits most of the time
	e := &echoing{names: slices.Sorted(maps.Keys(echoes("")))}
	upstream := gatewaytest.Serve(t, func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.WriteString(conn, e.answer(r))
		}
	})
	config, environ := "upstream:\n  base_url: http://"+upstream.Addr().String()+"\n  realm: r\n  credentials:\n", []string{"PUBLIC=public", "PRIVATE=" + atlasPrivate, "SECRET=" + atlasSecret}
	for echo := range e.names {
		config += fmt.Sprintf("    - {groups: [%q], public_key_env: PUBLIC, private_key_env: PRIVATE}\n", echoGroup(echo, 0))
		for kind := 1; kind <= 2; kind++ {
			config += fmt.Sprintf("    - {groups: [%q], client_id_env: ID_%d_%d, client_secret_env: SECRET}\n", echoGroup(echo, kind), echo, kind)
			environ = append(environ, fmt.Sprintf("ID_%d_%d=%s", echo, kind, echoGroup(echo, kind)))
		}
	}
	o := serveObserved(t, config, nil, environ...)
	o.secrets.Add("Atlas's access token", atlasToken)
	for echo, name := range e.names {
		for kind := range 3 {
			got := o.ask(t, "GET", bucketsOf(echoGroup(echo, kind)), "", "", "")
			if _, ok := e.echoed.Load(echoGroup(echo, kind)); !ok || got.Status >= 300 && got.Header.Get("Gateway-Error") == "" {
				t.Errorf("%s, to credential %d: %d %s", name, kind, got.Status, got.Body)
			}
		}
	}
	o.quit(t)
	for where, text := range map[string]string{"standard error": o.stderr.String(), "an answer": o.answers.String()} {
		for _, found := range e.secrets.Find(text) {
			t.Errorf("in %s: %s", where, found)
		}
	}
}

// An upstream that does not speak TLS properly is sent no secret, and nothing that it sends shows.
func TestNoSecretShowsOfBrokenTLS(t *testing.T) {
	t.Parallel()
	unknown := gatewaytest.NewAuthority(t).Loopback(t)
	upstream := gatewaytest.Listen(t)
	defer upstream.Close()
	handshakes := []func(net.Conn) string{
		func(conn net.Conn) string { return "" },
		func(conn net.Conn) string {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			return ""
		},
		func(conn net.Conn) string {
			content, _ := io.ReadAll(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{unknown.Certificate}}))
			return string(content)
		},
	}
	told := make(chan string, 16)
	go func() {
		for i := 0; ; i++ {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			told <- handshakes[i%len(handshakes)](conn)
			conn.Close()
		}
	}()
	const other = "64f0c1a2b3d4e5f607182931"
	o := serveObserved(t, "upstream:\n  base_url: https://"+upstream.Addr().String()+"\n  credentials: [{groups: ["+other+"], client_id_env: ID, client_secret_env: SECRET}, {public_key_env: ID, private_key_env: PRIVATE}]\n",
		nil, "ID=public", "SECRET="+atlasSecret, "PRIVATE="+atlasPrivate)
	for i := range 4 {
		target := buckets
		if i == 3 {
			target = strings.Replace(buckets, "64f0c1a2b3d4e5f607182930", other, 1)
		}
		got := o.ask(t, "GET", target, "", "", "")
		select {
		case content := <-told:
			if got.Status != 502 || content != "" {
				t.Errorf("%d %s; the upstream was told %q", got.Status, got.Body, content)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%d %s; the upstream was not asked", got.Status, got.Body)
		}
	}
	o.quit(t)
}
