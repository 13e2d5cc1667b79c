package main

import (
	"go/ast"
	"go/parser"
	"go/token"
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
	document, err := os.ReadFile("../../docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	const here = "cmd/atlas-gateway"
	row := regexp.MustCompile(`^\| ([0-9]+) \|`)
	name := regexp.MustCompile("`(?:([a-z/-]+)\\.)?((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([0-9]+))?`")
	rows, named := map[int]bool{}, map[string]bool{}
	tests := map[string]map[string][]string{} // by folder: the strings in each of its tests
	for line := range strings.Lines(string(document)) {
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
	for n := range 42 {
		if between := n+1 >= 34 && n+1 <= 36; rows[n+1] == between {
			t.Errorf("row %d: %v", n+1, rows[n+1])
		}
	}
	for _, file := range []string{"threats_test.go", "upstreams_test.go", "floods_test.go"} {
		for test := range maps.Keys(functions(t, file)) {
			if strings.HasPrefix(test, "Test") && !named[test] {
				t.Errorf("the document does not name %s", test)
			}
		}
	}
}

// The README names every metric of the gateway, and every exit status that the help lists.
func TestOperatorsAreTold(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	readme := read("../../README.md")
	metrics := regexp.MustCompile(`"(atlas_gateway_[a-z_]+)"`).FindAllStringSubmatch(read("../../gateway/observe/metrics.go"), -1)
	statuses := regexp.MustCompile(`(?m)^  ([0-9]+)  `).FindAllStringSubmatch(help, -1)
	if len(metrics) == 0 || len(statuses) == 0 {
		t.Fatal("there are no metrics, or no exit statuses")
	}
	for _, named := range append(metrics, statuses...) {
		if !strings.Contains(readme, "\n| `"+named[1]+"` |") && !strings.Contains(readme, "\n| "+named[1]+" |") {
			t.Errorf("the README has no row for %s", named[1])
		}
	}
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
