package main

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

const (
	getBuckets  = "GET " + buckets
	postBuckets = "POST " + buckets

	stray = ": stray-value"
)

// A forwarded request is answered with a status, and Atlas receives these requests.
type forwarded struct {
	name, bytes string
	status      int
	want        []received
}

// A forwarding is what the cases of TestForwarded are made of.
type forwarding struct {
	key    string   // a field with a token
	gets   received // what Atlas receives of a list of export buckets
	made   received // what Atlas receives of a create of an export bucket
	hidden string   // a request that deletes an export bucket
}

func newForwarding(atlas *sim.Server, token string) *forwarding {
	f := &forwarding{key: "Authorization: Bearer " + token}
	f.gets = received{getBuckets, map[string]string{
		"Host": strings.TrimPrefix(atlas.URL(), "http://"), "User-Agent": "atlas-export-gateway", "Accept": "application/vnd.atlas.2024-05-30+json",
	}, ""}
	f.made = f.posts(postBuckets, f.gets.fields["Accept"], bucket)
	f.hidden = "DELETE " + buckets + "/65a9d3e1f20b4c7788990011 HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + f.key + "\r\n\r\n"
	return f
}

// posts is what Atlas receives of a create.
func (f *forwarding) posts(line, version, body string) received {
	fields := maps.Clone(f.gets.fields)
	fields["Accept"], fields["Content-Type"], fields["Content-Length"] = version, version, fmt.Sprint(len(body))
	return received{line, fields, body}
}

// framed is a create with fields that frame its content.
func (f *forwarding) framed(fields, content string) string {
	return postBuckets + " HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + isJSON + "\r\n" + f.key + "\r\n" + fields + "\r\n\r\n" + content
}

// Atlas receives the path, the query and the content of a valid request, byte for byte, and
// nothing else of what a caller sends.
func TestForwarded(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}})
	token := callers.NewToken("nightly").Secret.Reveal()
	f := newForwarding(atlas, token)
	p := serveFor(t, atlas.URL(), forToken(token))
	for _, row := range []struct {
		row   string // of docs/threats.md
		cases []forwarded
	}{
		{"6", f.otherHosts()},
		{"8", f.methodOverrides()},
		{"9", f.hopByHop()},
		{"10", f.otherFields()},
		{"11", f.upgrades()},
		{"13", f.trailers()},
		{"14", f.framings()},
		{"18", f.contents()},
	} {
		t.Run(row.row, func(t *testing.T) {
			for _, test := range row.cases {
				before := int64(0)
				if all := atlas.Requests(0); len(all) > 0 {
					before = all[len(all)-1].Seq
				}
				got := p.send(t, test.bytes)
				if len(got) != 1 || got[0].Status != test.status {
					t.Errorf("%s: %.500v, want %d", test.name, got, test.status)
				}
				at := signedSince(t, atlas, before)
				if diff := cmp.Diff(test.want, at, cmp.AllowUnexported(received{})); diff != "" {
					t.Errorf("%s: Atlas received other than wanted:\n%s", test.name, diff)
				}
			}
		})
	}
	p.stop(t)
}

// otherHosts are requests with another Host, or without one.
func (f *forwarding) otherHosts() []forwarded {
	return []forwarded{
		{"another host", "GET " + buckets + " HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n" + accept + "\r\n" + f.key + "\r\n\r\n", 200, []received{f.gets}},
		{"another port", "GET " + buckets + " HTTP/1.1\r\nHost: 169.254.169.254:80\r\nConnection: close\r\n" + accept + "\r\n" + f.key + "\r\n\r\n", 200, []received{f.gets}},
		{"HTTP/1.0 without one", "GET " + buckets + " HTTP/1.0\r\n" + accept + "\r\n" + f.key + "\r\n\r\n", 200, []received{f.gets}},
		{"X-Forwarded-Host", request(getBuckets, "", accept, f.key, "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "X-Host: evil.example"), 200, []received{f.gets}},
	}
}

// methodOverrides are requests with fields that override the method.
func (f *forwarding) methodOverrides() []forwarded {
	return []forwarded{
		{"DELETE", request(getBuckets, "", accept, f.key, "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"), 200, []received{f.gets}},
		{"of a create", request(postBuckets, bucket, accept, f.key, isJSON, "X-HTTP-Method-Override: DELETE"), 200, []received{f.made}},
	}
}

// hopByHop are requests with fields that end at the next hop.
func (f *forwarding) hopByHop() []forwarded {
	return []forwarded{
		{"Authorization", request(getBuckets, "", accept, f.key, "Connection: Authorization, Host, Accept"), 200, []received{f.gets}},
		{"Content-Type", request(postBuckets, bucket, accept, f.key, isJSON, "Connection: Content-Type, Content-Length, User-Agent"), 200, []received{f.made}},
		{"fields of its own", request(getBuckets, "", accept, f.key, "Connection: Stray", "Stray"+stray, "Keep-Alive"+stray, "Proxy-Connection"+stray, "TE"+stray), 200, []received{f.gets}},
	}
}

// otherFields are requests with fields that Atlas has no use for.
func (f *forwarding) otherFields() []forwarded {
	return []forwarded{
		{"each of them", request(getBuckets, "", accept, f.key, "Cookie"+stray, "Proxy-Authorization"+stray, "X-Forwarded-For"+stray, "X-Forwarded-Proto"+stray, "X_Forwarded_For"+stray,
			"X-Real-IP"+stray, "Forwarded: for=stray", "Via"+stray, "Origin"+stray, "Referer"+stray, "User-Agent"+stray, "Accept-Encoding"+stray, "Accept-Language"+stray,
			"If-None-Match"+stray, "Range"+stray, "Traceparent"+stray, "X-Amz-Security-Token"+stray, "Authorization-Info"+stray, "X-Stray"+stray), 200, []received{f.gets}},
		{"on a create", request(postBuckets, bucket, accept, f.key, isJSON, "Cookie"+stray, "Proxy-Authorization"+stray, "X-Forwarded-For"+stray, "Content-Language"+stray, "Content-Disposition"+stray), 200, []received{f.made}},
	}
}

// upgrades are requests that ask for another protocol.
func (f *forwarding) upgrades() []forwarded {
	return []forwarded{
		{"websocket", request(getBuckets, "", accept, f.key, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: c3RyYXk=", "Sec-WebSocket-Version: 13") + "stray", 200, []received{f.gets}},
		{"h2c", request(getBuckets, "", accept, f.key, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), 200, []received{f.gets}},
		{"h2c of a create", request(postBuckets, bucket, accept, f.key, isJSON, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), 200, []received{f.made}},
		{"TLS", request(getBuckets, "", accept, f.key, "Upgrade: TLS/1.2", "Connection: Upgrade"), 200, []received{f.gets}},
	}
}

// trailers are requests with trailers.
func (f *forwarding) trailers() []forwarded {
	return []forwarded{
		{"announced", chunked(postBuckets, bucket, "Authorization"+stray+"\r\nX-Stray"+stray+"\r\n", accept, f.key, isJSON, "Trailer: Authorization, X-Stray"), 200, []received{f.made}},
		{"not announced", chunked(postBuckets, bucket, "Authorization"+stray+"\r\nHost"+stray+"\r\n", accept, f.key, isJSON), 200, []received{f.made}},
	}
}

// framings are requests whose framing servers may read in two ways.
func (f *forwarding) framings() []forwarded {
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(bucket), bucket)
	return []forwarded{
		{"length and chunks", f.framed("Content-Length: 500\r\nTransfer-Encoding: chunked", chunk+f.hidden), 200, []received{f.made}},
		{"chunks and length", f.framed("Transfer-Encoding: chunked\r\nContent-Length: 5", chunk+f.hidden), 200, []received{f.made}},
		{"chunks in another case", f.framed("transfer-encoding: CHUNKED", chunk+f.hidden), 200, []received{f.made}},
		{"chunks with an extension", f.framed("Transfer-Encoding: chunked", fmt.Sprintf("%x;stray=\"x\"\r\n%s\r\n0\r\n\r\n", len(bucket), bucket)+f.hidden), 200, []received{f.made}},
		{"chunks of HTTP/1.0", strings.Replace(f.framed("Transfer-Encoding: chunked", chunk+f.hidden), "HTTP/1.1", "HTTP/1.0", 1), 400, nil},
		{"bare LF", strings.ReplaceAll(request(postBuckets, bucket, accept, f.key, isJSON), "\r\n", "\n"), 200, []received{f.made}},
		{"bare LF in chunks", f.framed("Transfer-Encoding: chunked", strings.ReplaceAll(chunk, "\r\n", "\n")+f.hidden), 400, nil},
		{"the same length twice", request(postBuckets, bucket, accept, f.key, isJSON, fmt.Sprint("Content-Length: ", len(bucket))), 200, []received{f.made}},
		{"a length that is too short", request(postBuckets, "", accept, f.key, isJSON, "Content-Length: 5") + bucket, 400, nil},
		{"a request within a request", request("DELETE "+buckets+"/65a9d3e1f20b4c7788990011", f.hidden, accept, f.key), 400, nil},
		{"a request in the content", request(postBuckets, bucket+f.hidden, accept, f.key, isJSON), 400, nil},
	}
}

// contents are requests whose content and query are written in an unusual way.
func (f *forwarding) contents() []forwarded {
	spaced := " {\t\"iamRoleId\" : \"\\u0036" + "5a9d2f4f20b4c7788990001\" ,\r\n\"bucketName\":\"acme-\\u0065xports\",\"links\":[ ], \"cloudProvider\":\"AWS\"}\n\n"
	jobs := ` {"customData" : [{"value":"\ud83d\ude00 é\/\u0041","key":""}, {}],  "exportBucketId":"65a9d3e1f20b4c7788990011","snapshotId":"6a01e0b45be2d84417c09f10" }`
	return []forwarded{
		{"a job", request("POST "+exports, jobs, accept, f.key, isJSON), 404, []received{f.posts("POST "+exports, "application/vnd.atlas.2023-01-01+json", jobs)}},
		{"a bucket", request(postBuckets, spaced, accept, f.key, isJSON), 200, []received{f.posts(postBuckets, f.gets.fields["Accept"], spaced)}},
		{"a bucket in chunks", chunked(postBuckets, spaced, "", accept, f.key, isJSON), 200, []received{f.posts(postBuckets, f.gets.fields["Accept"], spaced)}},
		{"a query", request(getBuckets+"?itemsPerPage=3&pretty=true&pageNum=2", "", accept, f.key), 200, []received{{getBuckets + "?itemsPerPage=3&pretty=true&pageNum=2", f.gets.fields, ""}}},
		{"an empty query", request(getBuckets+"?", "", accept, f.key), 200, []received{f.gets}},
		{"no query", request(getBuckets, "", accept, f.key), 200, []received{f.gets}},
	}
}

// received is a request as Atlas received it, without its signature.
type received struct {
	line   string
	fields map[string]string
	body   string
}

// signedSince returns the signed requests that Atlas received after one of them.
func signedSince(t *testing.T, atlas *sim.Server, seq int64) (list []received) {
	t.Helper()
	for _, r := range atlas.Requests(seq) {
		got := received{line: r.Method + " " + r.Target, fields: map[string]string{}, body: r.Body}
		for _, field := range r.Header {
			if _, ok := got.fields[field.Name]; ok {
				t.Errorf("Atlas received %s twice", field.Name)
			}
			got.fields[field.Name] = field.Value
		}
		if !strings.HasPrefix(got.fields["Authorization"], `Digest username="`+sim.PublicKey+`", realm="MMS Public API", nonce="`) {
			if got.fields["Authorization"] != "" {
				t.Errorf("Atlas received Authorization: %s", got.fields["Authorization"])
			}
			continue
		}
		if r.Malformed || bytes.Contains(r.Raw, []byte("evil")) || bytes.Contains(bytes.ToLower(r.Raw), []byte("stray")) {
			t.Errorf("Atlas received %q", r.Raw)
		}
		delete(got.fields, "Authorization")
		list = append(list, got)
	}
	return list
}
