package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atlas-export-gateway/internal/pages"
)

// notRun has the blocks that no test runs, and why. All others are named by the test that runs
// them, with a selector of package pages.
var notRun = map[string]string{
	"README.md#try-it sh 1": "it runs all tests, this one among them; .ci/run has both commands, and cmd/demo tests the demonstration",

	"CONTRIBUTING.md#contributing sh 1":        "it runs all tests, this one among them; .ci/run has each target",
	"CONTRIBUTING.md#release sh 1":             "it makes a tag; make rehearse does the same in a clone",
	"CONTRIBUTING.md#change-the-contract sh 1": "it writes gen/; .ci/run does so (make generated), and fails where that changes a file",

	"docs/callers.md#the-atlas-cli sh 1":        "the Atlas CLI comes as no module or package; gateway.TestConformance has what it sends",
	"docs/callers.md#terraforms-provider hcl 1": "the provider comes as no module or package; gateway.TestConformance has what it sends",
	"docs/callers.md#terraforms-provider sh 1":  "the provider comes as no module or package; gateway.TestConformance has what it sends",

	"docs/costs.md#what-a-request-costs sh 1":   "minutes of measuring; .ci/run has the second command, and compat/proxybench has tests of the first",
	"docs/costs.md#the-journal-of-creates sh 1": "minutes of measuring; compat/proxybench has tests of both commands",

	"docs/client.md#add-it-to-your-module sh 1":   "go mod tidy fetches modules; docs/example is such a module, which client.TestOutsideModule builds",
	"docs/client.md#from-curl-to-the-client sh 1": "a URL and a key to be filled in; client.TestGuideCurl sets the variables",

	"docs/operate.md#install sh 1":                         "it needs a release; TestFiles in tools/release checks the sums",
	"docs/operate.md#the-debian-packages sh 1":             "it needs root and a release; TestDebian in tools/release installs the packages",
	"docs/operate.md#the-images sh 1":                      "it needs a registry; TestImages in tools/release checks what is copied",
	"docs/operate.md#deploy sh 1":                          "it needs root; TestDeployment in cmd/atlas-gateway checks the files that it installs",
	"docs/operate.md#deploy sh 2":                          "it needs root and systemd; TestDeployment in cmd/atlas-gateway checks the same configuration",
	"docs/operate.md#deploy sh 3":                          "it needs root and Docker; TestImage checks what the build takes",
	"docs/operate.md#deploy sh 4":                          "it needs root and Docker; TestDeployment in cmd/atlas-gateway checks the same configuration",
	"docs/operate.md#kubernetes sh 1":                      "it needs a cluster; the tests in deploy/helm check what is installed",
	"docs/operate.md#restarts-without-a-lost-request sh 1": "it needs root and systemd; TestDeployment in cmd/atlas-gateway checks the socket, and TestRestartsBehindASocket passes one",

	"docs/threats.md#threats-and-what-stands-against-them sh 1": "tests of cmd/atlas-gateway, which make test runs",
	"docs/threats.md#memory sh 1":                               "tests of cmd/atlas-gateway, which make test runs",

	"docs/cli/buckets.md sh":                    "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/config.md sh":                     "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/nightly.md#a-kubernetes-cronjob sh 1": "it needs Docker and a cluster; TestImage checks what the build takes, and TestNightly runs what the job runs",

	"docs/cli/clusters.md sh":  "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/groups.md sh":    "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/roles.md sh":     "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/schedule.md sh":  "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/snapshots.md sh": "TestExamples in cmd/atlas-export holds the examples against the commands",
	"docs/cli/exports.md sh":   "TestExamples in cmd/atlas-export holds the examples against the commands",
}

// Every block with a language is run by a test, or is in notRun.
func TestBlocksAreKnown(t *testing.T) {
	selectors := selectorsOfTests(t)
	for text := range notRun {
		s, ok := pages.ParseSelector(text)
		if !ok || s.Number == 0 && !strings.HasPrefix(s.Page, "docs/cli/") {
			t.Errorf("notRun: %q does not name one block", text)
		}
		selectors[s] = append(selectors[s], "notRun")
	}
	blocks := 0
	used := map[pages.Selector]bool{}
	for _, p := range all(t) {
		for _, b := range p.Blocks {
			if b.Language == "" {
				continue // what a command prints
			}
			blocks++
			var by []string
			for s, tests := range selectors {
				if s.Selects(b) {
					used[s] = true
					by = append(by, tests...)
				}
			}
			switch {
			case len(by) == 0:
				t.Errorf("no test runs %q: name it in one, or in notRun with a reason", b.Name())
			case len(by) > 1 && slices.Contains(by, "notRun"):
				t.Errorf("%q is in notRun, and a test names it: %s", b.Name(), by)
			}
		}
	}
	for s, tests := range selectors {
		if !used[s] {
			t.Errorf("%s names %+v, which no page has", tests, s)
		}
	}
	if blocks < 40 {
		t.Errorf("the pages have %d blocks", blocks)
	}
}

// selectorsOfTests returns the selectors that stand in the project's tests, with the files.
func selectorsOfTests(t *testing.T) map[pages.Selector][]string {
	t.Helper()
	found := map[pages.Selector][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "pages"):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go") || entry.Name() == "blocks_test.go":
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(content), `"atlas-export-gateway/internal/pages"`) {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value)
				if s, ok := pages.ParseSelector(text); ok {
					found[s] = append(found[s], name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every target of make that a page names is in the Makefile.
func TestTargetsAreThere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)(?:^|\s)make +([a-z0-9-]+)`)
	for _, p := range all(t) {
		texts := p.Code
		for _, b := range p.Blocks {
			if b.Language == "sh" {
				texts = append(texts, b.Text)
			}
		}
		for _, text := range texts {
			for _, found := range named.FindAllStringSubmatch(text, -1) {
				if !strings.Contains(string(makefile), "\n"+found[1]+": ") {
					t.Errorf("%s names make %s, which the Makefile does not have", p.Path, found[1])
				}
			}
		}
	}
}

// The build of the image takes every folder that it compiles.
func TestImage(t *testing.T) {
	ignored, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile.dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/atlas-gateway", "./cmd/atlas-export")
	list.Dir = root
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(packages)) {
		folder, ours := strings.CutPrefix(name, "atlas-export-gateway/")
		if !ours {
			continue
		}
		folder, _, _ = strings.Cut(folder, "/")
		if !strings.Contains(string(ignored), "\n!"+folder+"\n") {
			t.Errorf("deploy/Dockerfile.dockerignore leaves out %s, which the build needs", folder)
		}
	}
}
