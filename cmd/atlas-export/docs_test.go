package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the reference pages and the picture")

const referenceDirectory = "../../docs/cli"

// The pages in docs/cli have the help of the commands. make docs writes them.
func TestReference(t *testing.T) {
	a := &app{stdin: bytes.NewReader(nil), stdout: &output{w: io.Discard}, stderr: io.Discard}
	pages := reference(a.root())
	if *update {
		if err := os.MkdirAll(referenceDirectory, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, page := range pages {
			if err := os.WriteFile(filepath.Join(referenceDirectory, name), []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(referenceDirectory)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, entry := range entries {
		page, err := os.ReadFile(filepath.Join(referenceDirectory, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		there[entry.Name()] = string(page)
	}
	if diff := cmp.Diff(pages, there); diff != "" {
		t.Errorf("docs/cli is not what make docs writes: -commands +pages:\n%s", diff)
	}
}

const generated = "<!-- Written by make docs. DO NOT EDIT. -->\n\n"

// reference returns the pages by file name: one for each group of commands, and an index.
func reference(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	var index strings.Builder
	fmt.Fprintf(&index, "%s# atlas-export\n\n%s.\n\n| command | does |\n|---|---|\n", generated, root.Short)
	for _, group := range root.Commands() {
		if !group.IsAvailableCommand() {
			continue
		}
		commands := []*cobra.Command{group}
		if group.HasSubCommands() && group.Name() != "completion" {
			commands = runnable(group)
			var page strings.Builder
			fmt.Fprintf(&page, "%s# %s\n\n%s.\n", generated, group.CommandPath(), group.Short)
			flags(&page, "For all of these commands", group.PersistentFlags().FlagUsages())
			for _, c := range commands {
				describe(&page, c)
			}
			page.WriteString("\nThe flags of every command are [on the first page](README.md#flags-of-every-command).\n")
			pages[group.Name()+".md"] = page.String()
		}
		for _, c := range commands {
			link := "`" + c.CommandPath() + "`"
			if pages[group.Name()+".md"] != "" {
				link = "[" + link + "](" + group.Name() + ".md#" + strings.ReplaceAll(c.CommandPath(), " ", "-") + ")"
			}
			fmt.Fprintf(&index, "| %s | %s |\n", link, c.Short)
		}
	}
	fmt.Fprintf(&index, "\n## Flags of every command\n\n```\n%s```\n", root.PersistentFlags().FlagUsages())
	for _, topic := range root.Commands() {
		if topic.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(&index, "\n## %s\n\n```\n%s\n```\n", topic.Short, topic.Long)
		}
	}
	pages["README.md"] = index.String()
	return pages
}

// runnable returns the commands below a group that are no groups.
func runnable(group *cobra.Command) (list []*cobra.Command) {
	for _, c := range group.Commands() {
		if c.HasSubCommands() {
			list = append(list, runnable(c)...)
		} else if c.IsAvailableCommand() {
			list = append(list, c)
		}
	}
	return list
}

func describe(w io.Writer, c *cobra.Command) {
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	if parent := c.Parent(); parent.Long != "" && c.Long == "" {
		about = c.Short + ". " + strings.TrimPrefix(parent.Long, parent.Short+". ")
	}
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), about, c.UseLine())
	flags(w, "Flags", c.LocalNonPersistentFlags().FlagUsages())
	if c.Example != "" {
		fmt.Fprintf(w, "\nFor example:\n\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimSpace(c.Example), "\n  ", "\n"))
	}
}

func flags(w io.Writer, title, usages string) {
	if usages != "" {
		fmt.Fprintf(w, "\n%s:\n\n```\n%s```\n", title, usages)
	}
}

// Each example is a command line that the program accepts. Each command that calls Atlas has
// one.
func TestExamples(t *testing.T) {
	a := &app{stdin: bytes.NewReader(nil), stdout: &output{w: io.Discard}, stderr: io.Discard}
	for _, c := range runnable(a.root()) {
		if c.Example == "" && c.Parent().HasParent() && c.Parent().Name() != "config" && c.Parent().Name() != "completion" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			found, rest, err := a.root().Find(strings.Fields(line)[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || found.CommandPath() != c.CommandPath() {
				t.Errorf("%s: example %q: of %s: %v", c.CommandPath(), line, found.CommandPath(), err)
			}
		}
	}
}

// No flag splits its value: a comma in free text would make several values of one, silently.
func TestNoFlagSplits(t *testing.T) {
	a := &app{stdin: bytes.NewReader(nil), stdout: &output{w: io.Discard}, stderr: io.Discard}
	for _, c := range runnable(a.root()) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "stringSlice", "stringToString", "intSlice":
				t.Errorf("%s: --%s is a %s", c.CommandPath(), f.Name, f.Value.Type())
			}
		})
	}
}

// The commands of the page for callers do what they are there for.
func TestPage(t *testing.T) {
	gatewaytest.NeedProcess(t)
	script := strings.Join(pages.Blocks(t, "../..", "docs/callers.md#use-the-command-line sh"), "")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/page",
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			w := direct(tb, sim.Config{Speed: 2400})
			text := script
			for _, replacement := range [][2]string{
				{"make build\n", ""},
				{"bin/atlas-sim -speed 20 &\n", ""},
				{"http://127.0.0.1:27080", w.url},
				{"http://127.0.0.1:8080", gatewaytest.StartFor(tb, w.atlas.URL(), "").URL},
				{"bin/atlas-export", "atlas-export"},
			} {
				if !strings.Contains(text, replacement[0]) {
					return fmt.Errorf("the section has no %q", replacement[0])
				}
				text = strings.ReplaceAll(text, replacement[0], replacement[1])
			}
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return errors.Join(os.Mkdir(home, 0o700), os.WriteFile(filepath.Join(env.WorkDir, "page.sh"), []byte(text), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"prints": prints},
	})
}
