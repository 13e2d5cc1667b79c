package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

const (
	getExports    = "GET " + exports
	postExports   = "POST " + exports
	postV1Exports = "POST /api/atlas/v1.0/groups/64f0c1a2b3d4e5f607182930/clusters/orders/backup/exports"
)

// A forbidden request is refused with a status.
type forbidden struct {
	name, bytes string
	status      int
}

// forbiddenRow are the requests of a row of docs/threats.md.
type forbiddenRow struct {
	row   string
	cases []forbidden
}

// What the contract forbids is refused, by the gateway in Atlas's form or by net/http. Atlas does
// not even see a connection.
func TestForbidden(t *testing.T) {
	t.Parallel()
	rows := []forbiddenRow{
		{"1", percentEscapes()},
		{"2", dotSegments()},
		{"3", strangeCharacters()},
		{"4", otherPaths()},
		{"5", otherForms()},
		{"7", otherMethods()},
		{"13", badTrailers()},
		{"14", badFraming()},
		{"15", repeatedMembers()},
		{"16", otherNames()},
		{"17", trailingContent()},
		{"19", otherContent()},
		{"20", costlyRequests()},
		{"21", compressedContent()},
		{"22", badParameters()},
		{"55", scheduleChanges()},
	}
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "")
	for _, row := range rows {
		t.Run(row.row, func(t *testing.T) {
			for _, test := range row.cases {
				p.refuses(t, atlas, test)
			}
		})
	}
	if got := p.send(t, request(getExports, "", accept)); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("what is allowed: %v", got)
	}
	p.stop(t)
	t.Run("80", func(t *testing.T) { forbiddenInReportMode(t, rows) })
}

// refuses fails the test unless a request is refused with its status, and before Atlas sees a
// connection.
func (p *process) refuses(t *testing.T, atlas *sim.Server, test forbidden) {
	t.Helper()
	got := p.send(t, test.bytes)
	if len(got) != 1 || got[0].Status != test.status {
		t.Errorf("%s: %.500v, want %d", test.name, got, test.status)
		return
	}
	var e struct{ Error int }
	if json.Unmarshal([]byte(got[0].Body), &e); got[0].Header.Get("Gateway-Error") != "" && e.Error != test.status {
		t.Errorf("%s: not an error of Atlas's form: %s", test.name, got[0].Body)
	}
	if location, ok := got[0].Header["Location"]; ok {
		t.Errorf("%s: redirected to %s", test.name, location)
	}
	if allow := got[0].Header.Get("Allow"); (test.status == 405) != (allow != "") {
		t.Errorf("%s: Allow: %s", test.name, allow)
	}
	if n := atlas.Counts(); n.Connections > 0 {
		t.Fatalf("%s: Atlas was reached: %+v", test.name, n)
	}
}

// atPath is a request without content for the path of the jobs, changed in one place.
func atPath(method, old, with string) string {
	return request(method+" "+strings.Replace(exports, old, with, 1), "", accept)
}

// byName is a request for the group of a name.
func byName(name string) string {
	return request("GET /api/atlas/v2/groups/byName/"+name, "", accept)
}

// createOf is a create with a body.
func createOf(body string) string { return request(postExports, body, accept, isJSON) }

// createWith is a create of a job with more members.
func createWith(members string) string { return createOf(export[:len(export)-1] + "," + members + "}") }

// createTyped is a create of a job with a Content-Type.
func createTyped(contentType string) string {
	return request(postExports, export, accept, "Content-Type: "+contentType)
}

// createFramed is a create with fields that frame its content.
func createFramed(fields, content string) string {
	return "POST " + exports + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + accept + "\r\n" + isJSON + "\r\n" + fields + "\r\n\r\n" + content
}

// listWith is a list of jobs with a query.
func listWith(query string) string { return request(getExports+"?"+query, "", accept) }

// percentEscapes are requests with a percent escape in the path.
func percentEscapes() []forbidden {
	return []forbidden{
		{"a slash in a name", atPath("GET", "orders", "C0%2f..%2fOther"), 400},
		{"in upper case", atPath("GET", "orders", "C0%2F..%2FOther"), 400},
		{"of a create", request(strings.Replace(postExports, "orders", "C0%2f..%2fOther", 1), export, accept, isJSON), 400},
		{"of a delete", request("DELETE "+buckets+"%2f65a9d3e1f20b4c7788990011", "", accept), 400},
		{"a letter of a name", atPath("GET", "orders", "orde%72s"), 400},
		{"a letter of the path", atPath("GET", "backup", "%62ackup"), 400},
		{"in v1.0", request(strings.Replace(postV1Exports, "orders", "C0%2f..%2fOther", 1), export, isJSON), 400},
		{"a slash in the name of a group", byName("a%2fb"), 400},
		{"a slash and dots in the name of a group", byName("a%2F..%2f..%2fclusters"), 400},
		{"a letter of the name of a group", byName("%61"), 400},
		{"behind the name of a group", byName("a/%2e%2e"), 400},
		{"in front of the name of a group", request("GET /api/atlas/v2/%67roups/byName/a", "", accept), 400},
	}
}

// dotSegments are requests with dot segments or empty segments.
func dotSegments() []forbidden {
	return []forbidden{
		{"escaped dots", atPath("GET", "orders", "%2e%2e"), 400},
		{"a dot and an escaped one", atPath("GET", "orders", ".%2E"), 400},
		{"dots", atPath("GET", "orders", ".."), 400},
		{"dots at the end", request(getExports+"/..", "", accept), 400},
		{"dots at the start", request("GET /.."+exports, "", accept), 400},
		{"one dot", atPath("GET", "/v2/", "/./v2/"), 400},
		{"one dot at the end", request(getExports+"/.", "", accept), 400},
		{"two slashes", atPath("GET", "/v2/", "//v2/"), 400},
		{"two slashes at the end", request(getExports+"//", "", accept), 400},
		{"an empty name", atPath("GET", "orders", ""), 400},
		{"dots for the name of a group", byName(".."), 400},
		{"escaped dots for the name of a group", byName("%2e%2e"), 400},
		{"a dot and an escaped one for the name of a group", byName(".%2E"), 400},
		{"a create with two slashes", request(strings.Replace(postExports, "/v2/", "/v2//", 1), export, accept, isJSON), 400},
	}
}

// strangeCharacters are requests with characters that no path of the API has.
func strangeCharacters() []forbidden {
	return []forbidden{
		{"a semicolon", request(getExports+";x", "", accept), 400},
		{"a semicolon in a name", atPath("GET", "orders", "orders;x=y"), 400},
		{"a backslash", request(getExports+`\`, "", accept), 400},
		{"a backslash for a slash", atPath("GET", "/backup", `\backup`), 400},
		{"an escaped NUL", atPath("GET", "orders", "orders%00"), 400},
		{"an escaped line end", atPath("GET", "orders", "orders%0d%0aX:y"), 400},
		{"a double escape", atPath("GET", "orders", "a%252fb"), 400},
		{"an overlong escape", atPath("GET", "orders", "%c0%ae%c0%ae"), 400},
		{"an escaped letter", atPath("GET", "exports", "%65xports"), 400},
		{"an escaped NUL in the name of a group", byName("a%00"), 400},
		{"an escaped line end in the name of a group", byName("a%0d%0aX:%20y"), 400},
		{"a double escape in the name of a group", byName("a%252fb"), 400},
		{"an overlong escape in the name of a group", byName("%c0%ae%c0%ae"), 400},
		{"an escaped question mark in the name of a group", byName("a%3Fpretty=true"), 400},
		{"a semicolon in the name of a group", byName("a;b"), 400},
		{"an escaped semicolon in the name of a group", byName("a%3Bb"), 400},
		{"an escaped backslash in the name of a group", byName("a%5Cb"), 400},
		{"letters that turn the text around in the name of a group", byName("a%E2%80%AEb"), 400},
		{"letters as they are in the name of a group", byName("\xc3\xa9"), 400},
		{"a broken escape", atPath("GET", "orders", "%zz"), 400},
		{"half an escape", request(getExports+"%2", "", accept), 400},
		{"a fragment", request(getExports+"#x", "", accept), 400},
		{"bytes that are not ASCII", atPath("GET", "orders", "\xc3\xa9"), 400},
		{"bytes that are not UTF-8", atPath("GET", "orders", "\xff"), 400},
		{"a tab", atPath("GET", "orders", "a\tb"), 400},
		{"a control character", atPath("GET", "orders", "a\x01b"), 400},
		{"a space", atPath("GET", "orders", "a b"), 400},
		{"a plus", atPath("GET", "orders", "a+b"), 400},
		{"a colon", atPath("GET", "orders", "a:b"), 400},
	}
}

// otherPaths are requests for paths and methods that the contract does not have.
func otherPaths() []forbidden {
	return []forbidden{
		{"in upper case", request("GET "+strings.Replace(exports, "exports", "EXPORTS", 1), "", accept), 403},
		{"all of it in upper case", request("GET "+strings.ToUpper(exports), "", accept), 403},
		{"another path", request("GET /api/atlas/v2/orgs", "", accept), 403},
		{"another version", atPath("GET", "v2", "v3"), 403},
		{"below a path", request(getExports+"/65a9d3e1f20b4c7788990011/x", "", accept), 403},
		{"the root", request("GET /", "", accept), 403},
		{"the token endpoint without callers", request("POST /api/oauth/token", "grant_type=client_credentials", "Content-Type: application/x-www-form-urlencoded"), 403},
		{"PUT", request("PUT "+exports, export, accept, isJSON), 405},
		{"DELETE of a list", request("DELETE "+exports, "", accept), 405},
		{"PATCH in v1.0", request("PATCH "+strings.Replace(buckets, "v2", "v1.0", 1)+"/65a9d3e1f20b4c7788990011", "{}", isJSON), 405},
	}
}

// otherForms are requests with a target in another form than a path.
func otherForms() []forbidden {
	return []forbidden{
		{"absolute form", request("POST http://evil.example"+exports, export, accept, isJSON), 400},
		{"absolute form over TLS", request("GET https://evil.example"+exports, "", accept), 400},
		{"absolute form with this host", request("GET http://localhost"+exports, "", accept), 400},
		{"another scheme", request("GET file:///etc/passwd", "", accept), 400},
		{"a network path", request("GET //evil.example"+exports, "", accept), 400},
		{"a network path of a create", request("POST //evil.example"+exports, export, accept, isJSON), 400},
		{"no slash", request("GET "+exports[1:], "", accept), 400},
	}
}

// otherMethods are requests with methods and protocols that the API does not use.
func otherMethods() []forbidden {
	return []forbidden{
		{"TRACE", request("TRACE "+exports, "", accept), 405},
		{"TRACE of the root", request("TRACE /", "", accept), 403},
		{"CONNECT", request("CONNECT evil.example:443", ""), 400},
		{"CONNECT with a path", request("CONNECT "+exports, ""), 405},
		{"lower case", request("get "+exports, "", accept), 405},
		{"mixed case", request("Post "+exports, export, accept, isJSON), 405},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400},
		{"PRI", request("PRI *", ""), 400},
		{"OPTIONS", request("OPTIONS *", ""), 400},
		{"OPTIONS of a path", request("OPTIONS "+exports, "", "Origin: http://localhost"), 405},
		{"a method that is no token", request("GE(T "+exports, "", accept), 400},
		{"no method", request(" "+exports, "", accept), 400},
		{"HTTP/0.9", "GET " + exports + "\r\n\r\n", 400},
		{"another protocol", "GET " + exports + " ICY/1.1\r\nHost: localhost\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
	}
}

// badTrailers are requests with trailers that frame the message or are broken.
func badTrailers() []forbidden {
	return []forbidden{
		{"a trailer that frames", chunked(postExports, export, "Content-Length: 3\r\n", accept, isJSON, "Trailer: Content-Length"), 400},
		{"a trailer without a colon", chunked(postExports, export, "x\r\n", accept, isJSON), 400},
	}
}

// badFraming are requests whose framing servers may read in two ways.
func badFraming() []forbidden {
	return []forbidden{
		{"two lengths", createFramed("Content-Length: 1\r\nContent-Length: 2", "{}"), 400},
		{"a list of lengths", createFramed("Content-Length: 2, 3", "{}"), 400},
		{"a length with a sign", createFramed("Content-Length: +2", "{}"), 400},
		{"a negative length", createFramed("Content-Length: -2", "{}"), 400},
		{"a length in words", createFramed("Content-Length: 0x2", "{}"), 400},
		{"a length beyond bounds", createFramed("Content-Length: 99999999999999999999", "{}"), 400},
		{"a space before the colon", createFramed("Content-Length : 2", "{}"), 400},
		{"a continued line", createFramed("Content-Length:\r\n 2", "{}"), 400},
		{"a bare CR", createFramed("X: y\rContent-Length: 2", "{}"), 400},
		{"a NUL", createFramed("X: y\x00", ""), 400},
		{"another transfer coding", createFramed("Transfer-Encoding: gzip, chunked", ""), 501},
		{"a transfer coding in disguise", createFramed("Transfer-Encoding: \x0bchunked", ""), 400},
		{"two transfer codings", createFramed("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", ""), 501},
		{"a chunk without a length", createFramed("Transfer-Encoding: chunked", "x\r\n"+export+"\r\n0\r\n\r\n"), 400},
		{"a chunk that is longer", createFramed("Transfer-Encoding: chunked", "2\r\n"+export+"\r\n0\r\n\r\n"), 400},
		{"a length beyond the limit", createFramed("Content-Length: 999999999", ""), 413},
		{"two hosts", "GET " + exports + " HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400},
		{"no host", "GET " + exports + " HTTP/1.1\r\n" + accept + "\r\n\r\n", 400},
	}
}

// repeatedMembers are requests with a member twice.
func repeatedMembers() []forbidden {
	return []forbidden{
		{"twice", createWith(`"snapshotId":"6a01e0b45be2d84417c09f11"`), 400},
		{"the same value twice", createWith(`"snapshotId":"6a01e0b45be2d84417c09f10"`), 400},
		{"in an escape", createWith(`"snapshot\u0049d":"6a01e0b45be2d84417c09f11"`), 400},
		{"within a list", createWith(`"customData":[{"key":"a","key":"b"}]`), 400},
		{"within a list, in an escape", createWith(`"customData":[{"key":"a","\u006bey":"b"}]`), 400},
	}
}

// otherNames are requests with members and values by almost the right name.
func otherNames() []forbidden {
	return []forbidden{
		{"in another case", createOf(strings.Replace(export, "snapshotId", "SnapshotID", 1)), 400},
		{"in letters that fold", createOf(strings.Replace(export, "snapshotId", `\u017fnap\u017fhotId`, 1)), 400},
		{"in letters that fold, as they are", createOf(strings.Replace(export, "snapshotId", "ſnapſhotId", 1)), 400},
		{"beside the right one", createWith(`"SnapshotId":"6a01e0b45be2d84417c09f11"`), 400},
		{"with a space", createWith(`"snapshotId ":"6a01e0b45be2d84417c09f11"`), 400},
		{"an unknown one", createWith(`"force":true`), 400},
		{"one of JavaScript", createWith(`"__proto__":{}`), 400},
		{"another case of a value", request("POST "+buckets, strings.Replace(bucket, "AWS", "aws", 1), accept, isJSON), 400},
	}
}

// trailingContent are requests with something behind the JSON value, or with a body where none
// belongs.
func trailingContent() []forbidden {
	return []forbidden{
		{"a second object", createOf(export + export), 400},
		{"a second object on a line of its own", createOf(export + "\n" + export), 400},
		{"letters", createOf(export + "}xx"), 400},
		{"a NUL", createOf(export + "\x00"), 400},
		{"a comma", createOf(export + ","), 400},
		{"a comment", createOf(export + "//"), 400},
		{"a record separator", createOf("\x1e" + export), 400},
		{"nothing", request(postExports, "", accept, isJSON, "Authorization: Bearer x"), 400},
		{"a body where none belongs", request(getExports, export, accept, isJSON), 400},
		{"a chunked body where none belongs", chunked("DELETE "+buckets+"/65a9d3e1f20b4c7788990011", "{}", "", accept, isJSON), 400},
	}
}

// otherContent are requests whose content is not JSON in UTF-8 of the right kind.
func otherContent() []forbidden {
	return []forbidden{
		{"UTF-16", createTyped("application/json; charset=utf-16"), 415},
		{"UTF-7", createTyped("application/json;charset=UTF-7"), 415},
		{"UTF-8 and another", createTyped("application/json;charset=utf-8;charset=utf-7"), 415},
		{"Latin 1, quoted", createTyped(`application/json; charset="iso-8859-1"`), 415},
		{"a text", createTyped("text/plain"), 415},
		{"a form", createTyped("application/x-www-form-urlencoded"), 415},
		{"XML", createTyped("application/xml"), 415},
		{"two types", request(postExports, export, accept, isJSON, "Content-Type: text/plain"), 415},
		{"no type", request(postExports, export, accept), 415},
		{"a byte order mark", createOf("\ufeff" + export), 400},
		{"UTF-16 without saying so", createOf("{\x00}\x00"), 400},
		{"bad UTF-8", createWith("\"customData\":[{\"key\":\"\xff\"}]"), 400},
		{"overlong UTF-8", createWith("\"customData\":[{\"key\":\"\xc0\xaf\"}]"), 400},
		{"a surrogate in UTF-8", createWith("\"customData\":[{\"key\":\"\xed\xa0\x80\"}]"), 400},
		{"a lone surrogate", createWith(`"customData":[{"key":"\ud800"}]`), 400},
		{"a lone low surrogate", createWith(`"customData":[{"key":"\udc00\ud800"}]`), 400},
		{"null", createOf("null"), 400},
		{"null for a member", createWith(`"customData":null`), 400},
		{"a list", createOf("[]"), 400},
		{"NaN", createOf(strings.Replace(export, `"6a01e0b45be2d84417c09f10"`, "NaN", 1)), 400},
	}
}

// costlyRequests are requests that would be costly to check.
func costlyRequests() []forbidden {
	return []forbidden{
		{"100,000 deep", createOf(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), 400},
		{"objects 40,000 deep", createOf(strings.Repeat(`{"a":`, 40_000) + "1" + strings.Repeat("}", 40_000)), 400},
		{"33 deep", createWith(`"customData":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), 400},
		{"a number of 1 MiB", createOf(`{"snapshotId":` + strings.Repeat("1", 1<<20) + "}"), 413},
		{"a number of 200 KB", createOf(`{"snapshotId":` + strings.Repeat("1", 200_000) + "}"), 400},
		{"a number beyond bounds", createOf(`{"snapshotId":1e999999}`), 400},
		{"chunks beyond the limit", chunked(postExports, strings.Repeat(" ", 300<<10)+export, "", accept, isJSON), 413},
		{"1,000 fields", request(getExports, "", append(slices.Repeat([]string{"X-Of-A-Thousand: fields"}, 1000), accept)...), 431},
		{"one field of 1 MiB", request(getExports, "", accept, "X: "+strings.Repeat("x", 1<<20)), 431},
		{"a target of 1 MiB", request(getExports+"?"+strings.Repeat("x", 1<<20), "", accept), 431},
		{"10,000 parameters", listWith(strings.Repeat("&a=1", 10_000)[1:]), 431},
		{"4,000 parameters", listWith(strings.Repeat("&a=1", 4000)[1:]), 400},
		{"50,000 customData", createWith(`"customData":[` + strings.Repeat("{},", 49_999) + "{}]"), 400},
		{"50,000 in v1.0", request(postV1Exports, export[:len(export)-1]+`,"customData":[`+strings.Repeat("{},", 49_999)+"{}]}", isJSON), 400},
		{"a member of 200 KB", createOf(`{"` + strings.Repeat("\u2028", 66_000) + `":1}`), 400},
	}
}

// compressedContent are requests with compressed content.
func compressedContent() []forbidden {
	return []forbidden{
		{"gzip", request(postExports, export, accept, isJSON, "Content-Encoding: gzip"), 415},
		{"br", request(postExports, export, accept, isJSON, "Content-Encoding: br"), 415},
		{"several", request(postExports, export, accept, isJSON, "Content-Encoding: identity", "Content-Encoding: gzip"), 415},
		{"chunked and gzip", chunked(postExports, "\x1f\x8b\x08", "", accept, isJSON, "Content-Encoding: gzip"), 415},
		{"as a transfer coding", createFramed("Transfer-Encoding: gzip", ""), 501},
	}
}

// badParameters are requests with parameters that the operation does not have, or in another form.
func badParameters() []forbidden {
	return []forbidden{
		{"twice", listWith("pageNum=1&pageNum=2"), 400},
		{"the same twice", listWith("pretty=true&pretty=true"), 400},
		{"another case", listWith("PAGENUM=1"), 400},
		{"a broken escape", listWith("%zz"), 400},
		{"a broken escape in a value", listWith("pageNum=%zz"), 400},
		{"a semicolon", listWith("pageNum=3;x"), 400},
		{"a semicolon between two", listWith("pageNum=3;pretty=true"), 400},
		{"an unknown one", listWith("pageSize=1"), 400},
		{"an escaped one", listWith("page%4eum=1"), 400},
		{"an escaped value", listWith("pageNum=%31"), 400},
		{"a leading zero", listWith("pageNum=010"), 400},
		{"a sign", listWith("pageNum=+1"), 400},
		{"0", listWith("pageNum=0"), 400},
		{"more than a page", listWith("itemsPerPage=501"), 400},
		{"beyond 64 bits", listWith("pageNum=18446744073709551617"), 400},
		{"True", listWith("pretty=True"), 400},
		{"no value", listWith("pretty"), 400},
		{"no name", listWith("=1"), 400},
		{"no pair", listWith("pageNum=1&&pretty=true"), 400},
		{"a list", listWith("pageNum[]=1"), 400},
		{"a fragment", listWith("pretty=true#"), 400},
		{"of another operation", request("GET "+buckets+"/65a9d3e1f20b4c7788990011?pageNum=1", "", accept), 400},
		{"on a create", request(postExports+"?force=true", export, accept, isJSON), 400},
	}
}
