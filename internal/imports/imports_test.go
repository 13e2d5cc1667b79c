// Package imports_test holds the rules about which package may import which, directly or through
// other packages. Paths are below the module's; a/... is a and all packages below it.
package imports_test

import (
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "atlas-export-gateway/"

// never says which packages must not import which others.
var never = []struct {
	packages []string
	imports  []string // what they do not import; each must exist
	why      string
}{
	{[]string{"client", "sim", "cmd/atlas-export"}, []string{"gateway/..."},
		"a program that calls Atlas or simulates it does not link the gateway"},
	{[]string{"gateway/...", "contract", "client"}, []string{"sim"},
		"the simulation is written from Atlas's documents, so that each checks the other's reading"},
	{[]string{"gateway/atlas"}, []string{"gateway", "gateway/callers", "gateway/config", "gateway/observe", "gateway/policy"},
		"whoever may ask Atlas is outside: a caller, or the gateway itself"},
	{[]string{"gateway/tracing"}, []string{"gateway", "gateway/atlas", "gateway/callers", "gateway/config", "gateway/observe"},
		"what is traced tells it"},
	{[]string{"gateway/reads"}, []string{"gateway", "gateway/callers", "gateway/config", "gateway/observe", "gateway/policy"},
		"whoever hands it a read has decided that the caller may make it"},
	{[]string{"gateway/budget"}, []string{"gateway", "gateway/callers", "gateway/config", "gateway/observe", "gateway/policy", "gateway/idempotency"},
		"it knows callers only by name, and Atlas only by its answers"},
	{[]string{"gateway/callers", "gateway/clientaddress", "gateway/policy", "gateway/observe"}, []string{"gateway", "gateway/atlas", "gateway/config"},
		"each says one thing, and the gateway brings them together"},
	{[]string{"cmd/...", "client", "sim", "gateway/...", "internal/outbound"}, []string{"internal/gatewaytest", "internal/issuertest"},
		"only tests start gateways and issuers with it"},
	{[]string{"serviceaccount", "bearertoken"}, []string{"digestauth"},
		"the signing transports do not need each other"},
	{[]string{"bearertoken"}, []string{"serviceaccount"},
		"the signing transports do not need each other"},
	{[]string{"secret", "internal/outbound", "internal/objectid"}, []string{"bearertoken", "client", "contract", "digestauth", "serviceaccount", "gateway/..."},
		"what others share is below them"},
}

// only says all that a package imports, itself included and the standard library left out.
var only = []struct {
	of      string
	imports []string
	why     string
}{
	{"client", []string{
		"bearertoken", "client", "digestauth", "gen", "internal/hosts", "internal/objectid", "internal/outbound", "internal/printable", "internal/smallfile", "secret", "serviceaccount",
		"github.com/icholy/digest/...", "github.com/oapi-codegen/runtime/...", "github.com/apapsch/go-jsonmerge/...", "github.com/google/uuid",
	}, "a program that imports the client links nothing that reads the contract"},
	{"secret", []string{"secret"}, "it is below everything"},
	{"internal/objectid", []string{"internal/objectid"}, "the client imports it"},
}

// dependencies are, by import path, what each package of the module imports, directly or through
// others.
var dependencies = sync.OnceValues(func() (map[string][]string, error) {
	output, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`, module+"...").Output()
	found := map[string][]string{}
	for line := range strings.Lines(string(output)) {
		if paths := strings.Fields(line); len(paths) > 0 {
			found[paths[0]] = paths[1:]
		}
	}
	return found, err
})

// list returns the packages of the module that a pattern names, and what they import. There must
// be one.
func list(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := dependencies()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var paths []string
	for path, imports := range found {
		if matches(path, pattern) {
			paths = append(append(paths, path), imports...)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("there is no package %s", pattern)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// full returns the import path or pattern of a package of this module, or of another one.
func full(path string) string {
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		return path
	}
	return module + path
}

// matches reports whether an import path is one of the pattern's.
func matches(path, pattern string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == tree || strings.HasPrefix(path, tree+"/")
	}
	return path == pattern
}

func TestNever(t *testing.T) {
	for _, rule := range never {
		for _, pattern := range rule.imports {
			list(t, full(pattern)) // fails where there is no such package
		}
		for _, importer := range rule.packages {
			for _, path := range list(t, full(importer)) {
				if matches(path, full(importer)) {
					continue
				}
				for _, pattern := range rule.imports {
					if matches(path, full(pattern)) {
						t.Errorf("%s imports %s: %s", importer, path, rule.why)
					}
				}
			}
		}
	}
}

func TestOnly(t *testing.T) {
	for _, rule := range only {
		paths := slices.DeleteFunc(list(t, full(rule.of)), func(path string) bool {
			first, _, _ := strings.Cut(path, "/")
			return first+"/" != module && !strings.Contains(first, ".") // of the standard library
		})
		for _, path := range paths {
			if !slices.ContainsFunc(rule.imports, func(pattern string) bool { return matches(path, full(pattern)) }) {
				t.Errorf("%s imports %s: %s", rule.of, path, rule.why)
			}
		}
		for _, pattern := range rule.imports {
			if !slices.ContainsFunc(paths, func(path string) bool { return matches(path, full(pattern)) }) {
				t.Errorf("%s does not import %s", rule.of, pattern)
			}
		}
	}
}

// The other tests would see an import.
func TestSeesImports(t *testing.T) {
	if paths := list(t, full("cmd/atlas-gateway")); !slices.Contains(paths, full("gateway")) {
		t.Errorf("%q", paths)
	}
}
