package callers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/internal/strictyaml"

	"github.com/google/go-cmp/cmp"
)

type claims = map[string]strictyaml.Texts

// identified returns a configuration whose callers a, b, c ... have one identity each at an issuer
// whose keys are in a file.
func identified(t testing.TB, key issuertest.Key, iss string, list ...claims) callers.Config {
	t.Helper()
	file := write(t, filepath.Join(t.TempDir(), "keys"), issuertest.JWKS(key))
	c := callers.Config{Issuers: []issuers.Config{{Name: "ci", Issuer: iss, Audiences: []string{"gateway"}, Algorithms: []string{"ES256"}, JWKSFile: file}}}
	for i, bound := range list {
		c.List = append(c.List, callers.Entry{Name: string(rune('a' + i)), Identities: []callers.Identity{{Issuer: "ci", Claims: bound}}})
	}
	return c
}

// signedToken signs claims in JSON, to which it adds an issuer, an audience and a time.
func signedToken(t testing.TB, key issuertest.Key, iss, members string) string {
	t.Helper()
	text := fmt.Sprintf(`{"iss":%q,"aud":["x","gateway"],"exp":%d`, iss, time.Now().Unix()+600)
	if members != "" {
		text += "," + members
	}
	return key.SignRaw(t, `{"alg":"ES256","kid":"k"}`, text+"}")
}

// Which claims match which values.
func TestClaims(t *testing.T) {
	key := issuertest.NewKey(t, "k", "ES256")
	for _, test := range []struct {
		name    string
		bound   claims
		members string
		want    bool
	}{
		{"exact", claims{"sub": {"a:b"}}, `"sub":"a:b"`, true},
		{"longer", claims{"sub": {"a:b"}}, `"sub":"a:bc"`, false},
		{"another case", claims{"sub": {"a:b"}}, `"sub":"A:b"`, false},
		{"missing", claims{"sub": {"a:b"}}, ``, false},
		{"null", claims{"sub": {"null"}}, `"sub":null`, false},
		{"one of several values", claims{"sub": {"x", "a:b"}}, `"sub":"a:b"`, true},
		{"all of several claims", claims{"sub": {"a"}, "ref": {"b"}}, `"sub":"a","ref":"b"`, true},
		{"one of several claims", claims{"sub": {"a"}, "ref": {"b"}}, `"sub":"a"`, false},
		{"a star", claims{"sub": {"a:*"}}, `"sub":"a:b:c"`, true},
		{"a star and a slash", claims{"sub": {"a:*"}}, `"sub":"a:b/c"`, false},
		{"two stars and a slash", claims{"sub": {"a:**"}}, `"sub":"a:b/c"`, true},
		{"a star beside another claim", claims{"sub": {"**"}, "id": {"7"}}, `"sub":"","id":7`, true},
		{"a star where there is none", claims{"sub": {"**"}, "id": {"7"}}, `"id":7`, false},
		{"an escape", claims{"sub": {"a"}}, `"sub":"\u0061"`, true},
		{"true", claims{"on": {"true"}}, `"on":true`, true},
		{"the text true", claims{"on": {"true"}}, `"on":"true"`, true},
		{"false", claims{"on": {"true"}}, `"on":false`, false},
		{"a number", claims{"id": {"42"}}, `"id":42`, true},
		{"a number of another form", claims{"id": {"42"}}, `"id":42.0`, false},
		{"a large number", claims{"id": {"9007199254740993"}}, `"id":9007199254740993`, true},
		{"a large number beside it", claims{"id": {"9007199254740993"}}, `"id":9007199254740992`, false},
		{"a list", claims{"groups": {"b", "x"}}, `"groups":["a","b"]`, true},
		{"a list without it", claims{"groups": {"b"}}, `"groups":["a","bb"]`, false},
		{"an empty list", claims{"groups": {"**"}, "id": {"7"}}, `"groups":[],"id":7`, false},
		{"a list in a list", claims{"groups": {"b"}}, `"groups":[["b"]]`, false},
		{"an object", claims{"groups": {"b"}}, `"groups":{"b":"b"}`, false},
		{"an issuer's list of audiences", claims{"aud": {"x"}}, ``, true},
		{"a pointer", claims{"/a/b": {"c"}}, `"a":{"b":"c"}`, true},
		{"a pointer into a list", claims{"/a/1/b": {"c"}}, `"a":[0,{"b":"c"}]`, true},
		{"a pointer beyond a list", claims{"/a/2": {"c"}}, `"a":["c","c"]`, false},
		{"a pointer with a zero in front", claims{"/a/01": {"c"}}, `"a":["c","c"]`, false},
		{"a pointer to a list", claims{"/a/b": {"c"}}, `"a":{"b":["c"]}`, true},
		{"a pointer through a text", claims{"/a/b": {"c"}}, `"a":"c"`, false},
		{"a pointer with escapes", claims{"/a~1b/c~0d": {"e"}}, `"a/b":{"c~d":"e"}`, true},
		{"a pointer with escapes that look like others", claims{"/a~01": {"e"}}, `"a~1":"e"`, true},
		{"a pointer to an empty name", claims{"/": {"e"}}, `"":"e"`, true},
		{"a name with dots", claims{"/kubernetes.io/namespace": {"e"}}, `"kubernetes.io":{"namespace":"e"}`, true},
		{"a name is no path", claims{"kubernetes.io.namespace": {"e"}}, `"kubernetes.io":{"namespace":"e"}`, false},
		{"a name that is a URL", claims{"https://a.example.com/role": {"e"}}, `"https://a.example.com/role":"e"`, true},
	} {
		a := build(t, identified(t, key, "i", test.bound), callers.Options{})
		reason := reason(a, field{"Bearer " + signedToken(t, key, "i", test.members)})
		if want := map[bool]callers.Reason{true: "", false: callers.NoCaller}[test.want]; reason != want {
			t.Errorf("%s: %q, want %q", test.name, reason, want)
		}
	}
}

// The first identity that matches, in the order of the list, is the caller.
func TestFirstIdentity(t *testing.T) {
	key := issuertest.NewKey(t, "k", "ES256")
	config := identified(t, key, "i", claims{"sub": {"x*"}}, claims{"sub": {"*y"}}, claims{"sub": {"*"}, "on": {"true"}})
	config.List[2].Name = "anonymous"
	a := build(t, config, callers.Options{})
	for sub, want := range map[string]string{"xy": "a", "y": "b", "z": "anonymous"} {
		got, err := a.Authenticate(newRequest(field{"Bearer " + signedToken(t, key, "i", `"on":true,"sub":"`+sub+`"`)}), netip.Addr{})
		if err != nil || got.Name != want || got.Form != callers.JWT || got.Key != "ci:"+sub || got.IsAnonymous() || got == callers.Anonymous() {
			t.Errorf("%s: %+v, %v", sub, got, err)
		}
	}
}

// Tokens of the forms that their issuers document, and what the examples of docs/callers.md bind.
// The documents are those of Kubernetes (service accounts, bound tokens), GitHub (OpenID Connect
// reference), GitLab (ID token authentication), Microsoft (access token claims) and Okta (access
// tokens).
func TestDocumentedTokens(t *testing.T) {
	key := issuertest.NewKey(t, "k", "ES256")
	for issuer, test := range map[string]struct {
		members string
		yes, no claims
	}{
		"https://kubernetes.default.svc.cluster.local": {
			`"iat":1729601640,"jti":"aed34954-b33a-4142-b1ec-389d6bbb4936","kubernetes.io":{"namespace":"my-namespace","node":{"name":"my-node","uid":"646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},"pod":{"name":"my-pod","uid":"5e0bd49b-f040-43b0-99b7-22765a53f7f3"},"serviceaccount":{"name":"my-serviceaccount","uid":"14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"}},"nbf":1729601640,"sub":"system:serviceaccount:my-namespace:my-serviceaccount"`,
			claims{"/kubernetes.io/namespace": {"my-namespace"}, "/kubernetes.io/serviceaccount/name": {"my-*"}, "/kubernetes.io/serviceaccount/uid": {"14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"}},
			claims{"/kubernetes.io/namespace": {"default"}, "sub": {"system:serviceaccount:my-namespace:*"}},
		},
		"https://token.actions.githubusercontent.com": {
			`"jti":"example-id","sub":"repo:octo-org/octo-repo:environment:prod","environment":"prod","ref":"refs/heads/main","sha":"example-sha","repository":"octo-org/octo-repo","repository_owner":"octo-org","actor_id":"12","repository_visibility":"private","repository_id":"74","repository_owner_id":"65","run_id":"example-run-id","run_number":"10","run_attempt":"2","runner_environment":"github-hosted","actor":"octocat","workflow":"example-workflow","head_ref":"","base_ref":"","event_name":"workflow_dispatch","ref_type":"branch","job_workflow_ref":"octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main","nbf":1632492967,"iat":1632493567`,
			claims{"repository_id": {"74"}, "ref": {"refs/heads/main"}, "event_name": {"push", "workflow_dispatch"}, "job_workflow_ref": {"octo-org/octo-automation/.github/workflows/*@refs/heads/main"}},
			claims{"repository_id": {"7"}, "sub": {"repo:octo-org/octo-repo:*"}},
		},
		"https://gitlab.example.com": {
			`"namespace_id":"72","namespace_path":"my-group","project_id":"20","project_path":"my-group/my-project","user_id":"1","user_login":"sample-user","user_email":"sample-user@example.com","user_identities":[{"provider":"github","extern_uid":"2435223452345"}],"pipeline_id":"574","pipeline_source":"push","job_id":"302","ref":"feature-branch-1","ref_type":"branch","ref_path":"refs/heads/feature-branch-1","ref_protected":"false","groups_direct":["mygroup/mysubgroup","myothergroup"],"environment_protected":"false","jti":"235b3a54-b797-45c7-ae9a-f72d7bc6ef5b","iat":1651603964,"nbf":1651603959,"sub":"project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1"`,
			claims{"project_id": {"20"}, "ref_type": {"branch"}, "ref": {"feature-*"}, "groups_direct": {"myothergroup"}},
			claims{"project_id": {"20"}, "ref_protected": {"true"}},
		},
		"https://login.microsoftonline.com/5f0c1a2b-3d4e-4f60-8182-930000000001/v2.0": {
			`"iat":1537231048,"nbf":1537231048,"aio":"E2BgYGj...","azp":"6e74172b-be56-4843-9ff4-e66a39bb12e3","azpacr":"1","oid":"690222be-ff1a-4d56-abd1-7e4f7d38e474","rh":"I","roles":["Exports.Create"],"sub":"690222be-ff1a-4d56-abd1-7e4f7d38e474","tid":"5f0c1a2b-3d4e-4f60-8182-930000000001","uti":"dS...","ver":"2.0"`,
			claims{"oid": {"690222be-ff1a-4d56-abd1-7e4f7d38e474"}, "roles": {"Exports.Create"}},
			claims{"roles": {"Exports.Delete"}},
		},
		"https://acme.okta.com/oauth2/default": {
			`"ver":1,"jti":"AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE","iat":1467145094,"cid":"nmdP1fcyvdVO11AL7ECm","uid":"00ugrenMeqvYla4HW0g3","scp":["openid","exports"],"sub":"nmdP1fcyvdVO11AL7ECm"`,
			claims{"cid": {"nmdP1fcyvdVO11AL7ECm"}, "scp": {"exports"}, "ver": {"1"}},
			claims{"cid": {"nmdP1fcyvdVO11AL7ECm"}, "scp": {"exports.delete"}},
		},
	} {
		config := identified(t, key, issuer, test.no, test.yes)
		config.Issuers[0].MaxLifetime = 720 * time.Hour
		// The documents have times of their own.
		members := test.members
		for _, name := range []string{"iat", "nbf"} {
			if before, behind, ok := strings.Cut(members, `"`+name+`":`); ok {
				end := strings.IndexByte(behind+",", ',')
				members = before + `"` + name + `":` + fmt.Sprint(time.Now().Unix()) + behind[end:]
			}
		}
		got, err := build(t, config, callers.Options{}).Authenticate(newRequest(field{"Bearer " + signedToken(t, key, issuer, members)}), netip.Addr{})
		if err != nil || got.Name != "b" {
			t.Errorf("%s: %+v, %v", issuer, got, err)
		}
	}
}

// Identities that let everyone in, or nobody, are refused, each by its setting.
func TestIdentitiesRefused(t *testing.T) {
	key := issuertest.NewKey(t, "k", "ES256")
	const everyone = "list[0].identities[0].claims: would let everyone of the issuer in: expected a claim, such as sub, whose values do not consist of stars only"
	for name, test := range map[string]struct {
		bound claims
		want  []string
	}{
		"no claims":               {nil, []string{everyone}},
		"a star":                  {claims{"sub": {"*"}}, []string{everyone}},
		"two stars":               {claims{"sub": {"**"}, "iss": {"*"}}, []string{everyone}},
		"a star among others":     {claims{"sub": {"a", "**"}}, []string{everyone}},
		"a star beside another":   {claims{"sub": {"**"}, "id": {"7"}}, nil},
		"no value":                {claims{"sub": {}}, []string{"list[0].identities[0].claims.sub: has no value; expected a text or a list of texts"}},
		"an empty value":          {claims{"sub": {""}}, []string{"list[0].identities[0].claims.sub: a value is empty"}},
		"three stars":             {claims{"sub": {"a***"}}, []string{"list[0].identities[0].claims.sub: a value has three stars in a row; expected * or **"}},
		"a pointer that is none":  {claims{"/a~b": {"a"}}, []string{"list[0].identities[0].claims./a~b: the name is no JSON pointer: a tilde is ~0, and a slash within a name ~1"}},
		"a claim without a name":  {claims{"": {"a"}}, []string{"list[0].identities[0].claims.: the name of a claim has 1 to 1024 bytes"}},
		"a value beyond any size": {claims{"sub": {strings.Repeat("a", 2000)}}, []string{"list[0].identities[0].claims.sub: a value has 2000 bytes; expected up to 1024"}},
	} {
		if d := cmp.Diff(test.want, reports(t, identified(t, key, "i", test.bound), true)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	config := identified(t, key, "i", claims{"sub": {"a"}}, claims{"sub": {"a"}})
	config.List[0].Identities[0].Issuer, config.List[1].Identities[0].Issuer = "", "cj"
	config.Issuers[0].Issuer = "atlas-export-gateway"
	if d := cmp.Diff([]string{
		"issuers[0].issuer: is the gateway's own",
		"list[0].identities[0].issuer: is required: the name of one of callers.issuers",
		`list[1].identities[0].issuer: is "cj", which no issuer is called`,
	}, reports(t, config, true)); d != "" {
		t.Error(d)
	}
}

// What the operator is told of a token, and that the token is not in it.
func TestExplainToken(t *testing.T) {
	key := issuertest.NewKey(t, "k", "ES256")
	k, config := issue(t)
	two := identified(t, key, "i", claims{"sub": {"a/*", "b"}}, claims{"sub": {"**"}, "/x/y": {"1"}})
	config.Issuers = two.Issuers
	config.List = append(config.List, two.List...)
	a := build(t, config, callers.Options{})
	good := signedToken(t, key, "i", `"sub":"a/b"`)
	for name, test := range map[string]struct{ token, caller, lines string }{
		"the first":       {good, "a", "it is a good token of the issuer ci until TIME|callers.list[1].identities[0] (a): matches"},
		"the second":      {signedToken(t, key, "i", `"sub":"c","x":{"y":1}`), "b", `it is a good token of the issuer ci until TIME|callers.list[1].identities[0] (a): sub is "c"; expected a/* or b|callers.list[2].identities[0] (b): matches`},
		"nobody":          {signedToken(t, key, "i", `"sub":["c"]`), "", `it is a good token of the issuer ci until TIME|callers.list[1].identities[0] (a): sub is ["c"]; expected a/* or b|callers.list[2].identities[0] (b): /x/y is missing; expected 1`},
		"another issuer":  {signedToken(t, key, "j", ``), "", `wrong_issuer: no issuer of the configuration has the token's iss; the token has "j"`},
		"cut off":         {good[:len(good)-2], "", "issuer ci: wrong_signature: the signature is not that of the key"},
		"a static token":  {k.token.Secret.Reveal(), "reporting", "it is the static token " + k.token.Entry.Tokens[0].SHA256[:8]},
		"an access token": {accessToken(t, serve(t, a), k.account), "reporting", "it is an access token of the service account " + k.account.ID},
		"no token":        {"c4na7y", "", "malformed: the token is not three parts of 16384 bytes in all at most"},
	} {
		caller, lines := a.ExplainToken(context.Background(), test.token)
		got := regexp.MustCompile(`until [0-9TZ:-]+`).ReplaceAllString(strings.Join(lines, "|"), "until TIME")
		if caller != test.caller || got != test.lines {
			t.Errorf("%s: %q, %s\nwant %q, %s", name, caller, got, test.caller, test.lines)
		}
		if strings.Contains(got, test.token) {
			t.Errorf("%s: the token is shown", name)
		}
	}
}

// Whatever claims a signed token has, and whatever is bound: what matches is what the claim itself
// says, for names without pointers.
func FuzzClaims(f *testing.F) {
	f.Add("sub", "a*", `{"sub":"ab"}`)
	f.Add("/a/0", "true", `{"a":[true]}`)
	f.Add("a", "1e3", `{"a":[1e3,{}]}`)
	key := issuertest.NewKey(f, "k", "ES256")
	file := filepath.Join(f.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(issuertest.JWKS(key)), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value, members string) {
		config := callers.Config{
			Issuers: []issuers.Config{{Name: "ci", Issuer: "i", Audiences: []string{"gateway"}, Algorithms: []string{"ES256"}, JWKSFile: file}},
			List:    []callers.Entry{{Name: "a", Identities: []callers.Identity{{Issuer: "ci", Claims: claims{name: {value}}}}}},
		}
		d := callers.Compile(config, true, func(string, string, ...any) {})
		var read map[string]any
		if d == nil || json.Unmarshal([]byte(members), &read) != nil || read == nil {
			return
		}
		members = strings.TrimSpace(members)
		token := signedToken(t, key, "i", members[1:len(members)-1])
		got := reason(callers.New(d, callers.NewMemory(), callers.Options{}), field{"Bearer " + token})
		if text, ok := read[name].(string); ok && !strings.HasPrefix(name, "/") && !strings.Contains(value, "*") && got != callers.Malformed && name != "iss" && name != "aud" && name != "exp" {
			if (text == value) != (got == "") && (got == "" || got == callers.NoCaller) {
				t.Errorf("%q of %q, bound to %q: %q", name, members, value, got)
			}
		}
	})
}
