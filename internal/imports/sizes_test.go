package imports_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// How long a file and a function may be, in lines. Whatever is longer holds several things.
const (
	maxFile     = 450
	maxFunction = 70
)

// longer names what may be longer, and why.
var longer = map[string]string{}

// Files and functions are short, except for generated files.
func TestSizes(t *testing.T) {
	root := filepath.Join("..", "..")
	measured := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.IsDir() && (name == "gen" || name == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || entry.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		measured++
		if lines := strings.Count(string(content), "\n"); lines > maxFile && longer[name] == "" {
			t.Errorf("%s has %d lines, more than %d", name, lines, maxFile)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			if lines > maxFunction && longer[name+" "+f.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines, more than %d", name, f.Name.Name, lines, maxFunction)
			}
		}
		return nil
	})
	if err != nil || measured < 200 {
		t.Errorf("%d files were measured: %v", measured, err)
	}
}
