package contract_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
)

// All readers of URLs read a target that matches in the same way: nothing in its path is
// unescaped, cleaned or cut. What is forwarded differs from it at most in a trailing slash.
func FuzzMatch(f *testing.F) {
	c := compiled(f)
	for _, target := range []string{
		exports, exports + "/", exports + "?pageNum=1", exports + "/" + job, buckets + "/" + bucket, strings.Replace(exports, "v2", "v1.0", 1) + "/",
		exports + "//", exports + "%2f", exports + "/..", "http://evil" + exports, "//evil", exports + "#x", exports + "?#", "*", "",
	} {
		f.Add("GET", target)
	}
	for _, cluster := range []string{"a;b", `a\b`, "a b", "a\xffb", "a%62", "a\x01b", ".a", "a~b"} {
		f.Add("GET", strings.Replace(exports, "orders", cluster, 1))
	}
	for _, name := range []string{"a%20b", "%c3%a9", "a(b)", "a%2fb", "%2e%2e", "%25", "a%252f", "..", "%"} {
		f.Add("GET", byName+name)
		f.Add("GET", strings.Replace(byName, "v2", "v1.0", 1)+name+"/")
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		m, err := c.Match(method, target)
		if err != nil {
			var targetError *contract.TargetError
			var methodError *contract.MethodError
			if !errors.As(err, &targetError) && !errors.As(err, &methodError) && !errors.Is(err, contract.ErrNotFound) {
				t.Fatalf("%q: %T", target, err)
			}
			return
		}
		sent, query, _ := strings.Cut(target, "?")
		if strings.TrimSuffix(m.Path, "/") != strings.TrimSuffix(sent, "/") || m.Query != query {
			t.Errorf("%q is forwarded as %q and %q", target, m.Path, m.Query)
		}
		if strings.HasPrefix(m.Path, byName) || strings.HasPrefix(m.Path, strings.Replace(byName, "v2", "v1.0", 1)) {
			checkName(t, &m)
			return
		}
		if strange := strings.Trim(m.Path, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"); strange != "" {
			t.Errorf("%q passed, with %q", target, strange)
		}
		parsed, err := url.ParseRequestURI(m.Path)
		if err != nil || parsed.Path != m.Path || parsed.Host != "" || parsed.EscapedPath() != m.Path || path.Clean(m.Path) != strings.TrimSuffix(m.Path, "/") {
			t.Errorf("%q: net/url reads %+v (%v)", m.Path, parsed, err)
		}
	})
}

// checkName checks a path that ends in the name of a group, which may have percent escapes. All
// readers of URLs agree on where the name is. A name that passes Check stays one segment however
// often it is unescaped.
func checkName(t *testing.T, m *contract.Match) {
	parsed, err := url.ParseRequestURI(m.Path)
	if err != nil || parsed.EscapedPath() != m.Path || parsed.Host != "" || path.Clean(m.Path) != m.Path {
		t.Errorf("%q: net/url reads %+v (%v)", m.Path, parsed, err)
	}
	if _, err := m.Check(m.Operation.Versions[0], nil, nil, 10); err != nil {
		return
	}
	name := m.Parameter("groupName")
	if again, err := url.PathUnescape(name); err != nil || again != name {
		t.Errorf("%q is unescaped to %q (%v)", name, again, err)
	}
	if path.Base(parsed.Path) != name || path.Clean(parsed.Path) != parsed.Path || !utf8.ValidString(name) || strings.ContainsAny(name, "\\?#;%\"<>") || strings.ContainsFunc(name, unicode.IsControl) {
		t.Errorf("%q passed as the name %q", m.Path, name)
	}
}

// A query that passes has only known parameters, each once, and in the form in which net/url would
// write them.
func FuzzQuery(f *testing.F) {
	c := compiled(f)
	for _, query := range []string{"", "pageNum=1", "pageNum=1&itemsPerPage=500&includeCount=true&envelope=false&pretty=true", "pageNum=010", "pretty=True", "%70retty=true", "pretty=true&pretty=true", "a=b;c=d", "&", "=", "+", "pretty=true#"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		m, err := c.Match("GET", exports+"?"+query)
		if err != nil {
			return
		}
		v, err := m.Operation.Resolve([]string{latest})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Check(v, nil, nil, 10); err != nil {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q passed; net/url says %v", query, err)
		}
		for name, list := range values {
			if len(list) != 1 {
				t.Errorf("%q passed with %d of %s", query, len(list), name)
			}
		}
		if values.Encode() != sorted(query) {
			t.Errorf("%q passed; it is read as %q", query, values.Encode())
		}
	})
}

func sorted(query string) string {
	values, _ := url.ParseQuery(query)
	var names []string
	for name := range values {
		names = append(names, name)
	}
	pairs := strings.Split(query, "&")
	if query == "" {
		return ""
	}
	ordered := url.Values{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		ordered.Add(name, value)
	}
	if len(names) != len(ordered) {
		return "different names"
	}
	return ordered.Encode()
}

// encoding/json reads a body that passes as the same value, to the last byte, and kin-openapi
// accepts it. The violations of a body that is refused are short and valid UTF-8.
func FuzzBody(f *testing.F) {
	c := compiled(f)
	doc, err := api.Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{validExport, aws, azure, `{}`, `null`, `[]`, `{"snapshotId":1e999}`, `{"a":{"a":{"a":[]}}}`, `{"a":1,"a":2}`, "\ufeff{}", `{"snapshotId":"\ud800"}`, validExport + " \n", validExport + "{}", `{"customData":[{"key":null}]}`, strings.TrimSuffix(validExport, "}") + `,` + validExport[1:]} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, exporting bool) {
		target, path := buckets, "/api/atlas/v2/groups/{groupId}/backup/exportBuckets"
		mediaType := "application/vnd.atlas.2024-05-30+json"
		if exporting {
			target, path, mediaType = exports, "/api/atlas/v2/groups/{groupId}/clusters/{clusterName}/backup/exports", "application/vnd.atlas.2023-01-01+json"
		}
		m, err := c.Match("POST", target)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Operation.Resolve([]string{latest})
		if err != nil {
			t.Fatal(err)
		}
		checked, err := m.Check(v, nil, []byte(body), 1000)
		if err != nil {
			var invalid *contract.ValidationError
			if !errors.As(err, &invalid) || invalid.Total < 1 || len(invalid.Violations) < 1 || len(invalid.Violations) > contract.MaxViolations {
				t.Fatalf("%q: %#v", body, err)
			}
			for _, violation := range invalid.Violations {
				if len(violation.Description) > 1000 || len(violation.Field) > 4000 || !utf8.ValidString(violation.Description) || violation.Code == "" {
					t.Errorf("%q: %+v", body, violation)
				}
			}
			return
		}
		decoder := json.NewDecoder(bytes.NewReader([]byte(body)))
		var value any
		if err := decoder.Decode(&value); err != nil || !json.Valid([]byte(body)) || !utf8.ValidString(body) {
			t.Fatalf("%q passed; encoding/json says %v", body, err)
		}
		if !jsontext.Value(body).IsValid() { // encoding/json accepts repeated members
			t.Fatalf("%q passed; jsontext does not let it", body)
		}
		checkValue(t, body, checked)
		schema := doc.Paths.Value(path).Post.RequestBody.Value.Content[mediaType].Schema.Value
		if err := schema.VisitJSON(value, openapi3.MultiErrors()); err != nil {
			t.Fatalf("%q passed; kin-openapi says %v", body, err)
		}
	})
}

// The fields of a response's violations are names of the contract, whatever the response holds, so
// that no text of a response gets into a log.
func FuzzResponse(f *testing.F) {
	c := compiled(f)
	doc, err := api.Load()
	if err != nil {
		f.Fatal(err)
	}
	names := map[string]bool{}
	var collect func(schema *openapi3.Schema)
	collect = func(schema *openapi3.Schema) {
		for name, property := range schema.Properties {
			names[name] = true
			collect(property.Value)
		}
		for _, refs := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf} {
			for _, ref := range refs {
				collect(ref.Value)
			}
		}
		if schema.Items != nil {
			collect(schema.Items.Value)
		}
	}
	for _, schema := range doc.Components.Schemas {
		collect(schema.Value)
	}
	for _, body := range []string{`{"results":[{"id":"6a01f3c95be2d84417c0aa01","state":7}],"links":[{"href":1}]}`, `{"status":404,"content":{"error":"404"}}`, `{"error":404,"errorCode":"A"}`, `{"results":{}}`, `[]`, `{"a":1e999}`, `{"a":1,"a":2}`, `{"results":[` + strings.Repeat("[", 40)} {
		f.Add(body, 200, true)
		f.Add(body, 404, false)
	}
	var versions []*contract.Version
	for _, operation := range c.Operations() {
		versions = append(versions, operation.Versions...)
	}
	f.Fuzz(func(t *testing.T, body string, status int, enveloped bool) {
		for _, v := range versions {
			err := v.CheckResponse(status, []byte(body), enveloped)
			if err == nil {
				continue
			}
			var broken *contract.ValidationError
			if !errors.As(err, &broken) || len(broken.Violations) == 0 || broken.Error() != fmt.Sprintf("%d violations of the contract", broken.Total) {
				t.Fatalf("%q: %#v", body, err)
			}
			for _, violation := range broken.Violations {
				for _, token := range strings.Split(violation.Field, "/")[1:] {
					if _, err := strconv.ParseUint(token, 10, 32); err != nil && !names[token] {
						t.Errorf("%q: the contract has no %q in %s", body, token, violation.Field)
					}
				}
			}
		}
	})
}

// Accept resolves to a version that the operation has, and only if it names one of Atlas's media
// types.
func FuzzAccept(f *testing.F) {
	c := compiled(f)
	m, err := c.Match("POST", buckets)
	if err != nil {
		f.Fatal(err)
	}
	for _, accept := range []string{latest, "application/vnd.atlas.2023-01-01+json", "*/*", "application/vnd.atlas.preview+json", latest + ";q=0", "a, " + latest, "APPLICATION/VND.ATLAS.2024-05-30+JSON;charset=utf-8"} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		v, err := m.Operation.Resolve([]string{accept})
		var refused *contract.VersionError
		switch {
		case err != nil:
			if !errors.As(err, &refused) || len(refused.Detail) > 500 || !utf8.ValidString(refused.Detail) {
				t.Errorf("%q: %v", accept, err)
			}
		case !strings.Contains(strings.ToLower(accept), "application/vnd.atlas.") || v.Date != "2023-01-01" && v.Date != "2024-05-30":
			t.Errorf("%q resolved to %s", accept, v.Date)
		}
	})
}
