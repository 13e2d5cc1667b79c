package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/threats.md has a test for each of its rows, every test that it names exists, and it
// names every test of the files that are about threats.
func TestThreatsAreTested(t *testing.T) {
	document := readFile(t, "../../docs/threats.md")
	const here = "cmd/atlas-gateway"
	row := regexp.MustCompile(`^\| ([0-9]+) \|`)
	name := regexp.MustCompile("`(?:([a-z/-]+)\\.)?((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([0-9]+))?`")
	rows, named := map[int]bool{}, map[string]bool{}
	tests := map[string]map[string][]string{} // by folder: the strings in each of its tests
	for line := range strings.Lines(document) {
		found := name.FindAllStringSubmatch(line, -1)
		if number := row.FindStringSubmatch(line); number != nil {
			n, _ := strconv.Atoi(number[1])
			rows[n] = true
			if len(found) == 0 {
				t.Errorf("row %d has no test", n)
			}
		}
		for _, match := range found {
			folder, test, subtest := match[1], match[2], match[3]
			if folder == "" {
				folder, named[test] = here, true
			}
			if tests[folder] == nil {
				tests[folder] = functions(t, "../../"+folder+"/*_test.go")
			}
			literals, ok := tests[folder][test]
			if !ok || subtest != "" && !slices.Contains(literals, subtest) {
				t.Errorf("there is no %s in %s", match[0], folder)
			}
		}
	}
	for n := range 49 {
		if !rows[n+1] {
			t.Errorf("row %d is not there", n+1)
		}
	}
	for _, file := range []string{"threats_test.go", "forbidden_test.go", "forwarded_test.go", "upstreams_test.go", "responses_test.go", "floods_test.go", "slow_test.go", "condemned_test.go", "suspended_test.go", "peers_test.go",
		"halfclosed_test.go", "frames_test.go", "statuses_test.go", "ranges_test.go", "setclock_linux_amd64_test.go", "setcreates_linux_amd64_test.go", "journal_linux_test.go", "audit_linux_test.go", "clientaddress_test.go", "haproxy_linux_test.go", "tracing_test.go", "notserved_test.go", "proxies_test.go", "reads_test.go", "keysafety_test.go", "tokens_test.go", "exchange_test.go"} {
		for test := range maps.Keys(functions(t, file)) {
			if strings.HasPrefix(test, "Test") && !named[test] {
				t.Errorf("the document does not name %s", test)
			}
		}
	}
}

// The page for operators names every metric of the gateway, and every exit status that the help
// lists.
func TestOperatorsAreTold(t *testing.T) {
	page := readFile(t, "../../docs/operate.md")
	statuses := regexp.MustCompile(`(?m)^  ([0-9]+)  `).FindAllStringSubmatch(help, -1)
	var metrics [][]string
	for _, source := range sources(t, "../../gateway") {
		metrics = append(metrics, regexp.MustCompile(`"(atlas_gateway_[a-z_]+)"`).FindAllStringSubmatch(source, -1)...)
	}
	if len(metrics) < 6 || len(statuses) < 5 {
		t.Fatalf("there are %d metrics, and %d exit statuses", len(metrics), len(statuses))
	}
	for _, named := range append(metrics, statuses...) {
		if !strings.Contains(page, "\n| `"+named[1]+"` |") && !strings.Contains(page, "\n| "+named[1]+" |") {
			t.Errorf("docs/operate.md has no row for %s", named[1])
		}
	}
}

// The kinds of refusals in DIVERGENCES.md are the gateway's, and so are those that docs/operate.md
// says to alert on.
func TestKindsAreListed(t *testing.T) {
	gateway := strings.Join(sources(t, "../../gateway"), "")
	_, alerts, _ := strings.Cut(readFile(t, "../../docs/operate.md"), "\n### Alerts\n")
	alerts, _, _ = strings.Cut(alerts, "\n### ")
	kinds := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:[0-9]{3}|as answered) \\|").FindAllStringSubmatch(readFile(t, "../../DIVERGENCES.md"), -1)
	rows := regexp.MustCompile("(?m)^\\| (`.+`) \\|").FindAllStringSubmatch(alerts, -1)
	if len(kinds) < 20 || len(rows) < 6 {
		t.Fatalf("there are %d kinds, and %d rows of alerts", len(kinds), len(rows))
	}
	listed := map[string]bool{}
	for _, kind := range kinds {
		listed[kind[1]] = true
		if !strings.Contains(gateway, `"`+kind[1]+`"`) {
			t.Errorf("DIVERGENCES.md has the kind %s, and the gateway does not", kind[1])
		}
	}
	for _, row := range rows {
		for name := range strings.SplitSeq(row[1], ", ") {
			if !listed[strings.Trim(name, "`")] {
				t.Errorf("docs/operate.md has an alert for %s, which is no kind", name)
			}
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// sources returns the content of the Go files below a folder that are no tests.
func sources(t *testing.T, folder string) (contents []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			contents = append(contents, readFile(t, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// functions returns the functions in files, each with the strings that it holds.
func functions(t *testing.T, pattern string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files are %s: %v", pattern, err)
	}
	found := map[string][]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv != nil {
				continue
			}
			found[function.Name.Name] = []string{}
			ast.Inspect(function, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					text, _ := strconv.Unquote(literal.Value)
					found[function.Name.Name] = append(found[function.Name.Name], text)
				}
				return true
			})
		}
	}
	return found
}
