//go:build unix

package docs_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/pages"

	"github.com/creack/pty"
)

// patience is how long a test waits for a text on a terminal.
const patience = 2 * time.Minute

// programs is where built puts the programs.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "docs-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(programs)
		return m.Run()
	}())
}

// built builds the programs, once for all tests.
var built = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", programs, "./cmd/atlas-gateway", "./cmd/atlas-sim", "./cmd/atlas-export")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
})

// checkout is a folder with what the pages' commands find in a clone, and with the programs built.
// Its programs listen on ports of their own.
type checkout struct {
	folder string
	ports  *strings.Replacer // from the addresses in the pages to those of this checkout
	env    []string
}

// newCheckout makes one. The environment is that of its terminals.
func newCheckout(t *testing.T, env ...string) *checkout {
	t.Helper()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if err := built(); err != nil {
		t.Fatal(err)
	}
	c := &checkout{folder: t.TempDir()}
	link := func(from, to string) {
		t.Helper()
		from, err := filepath.Abs(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(c.folder, to)); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"bin", "tools"} {
		if err := os.Mkdir(filepath.Join(c.folder, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link("../cmd", "cmd")
	for _, name := range []string{"atlas-gateway", "atlas-sim", "atlas-export"} {
		link(filepath.Join(programs, name), "bin/"+name)
	}
	// What make build builds is there.
	if err := os.WriteFile(filepath.Join(c.folder, "tools", "make"), []byte("#!/bin/sh\ntest \"$*\" = build\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, management, api, control := address(t), address(t), address(t), address(t)
	c.ports = strings.NewReplacer("127.0.0.1:8080", listener, "127.0.0.1:27090", management, "127.0.0.1:27080", api, "127.0.0.1:27081", control,
		"bin/atlas-sim", "bin/atlas-sim -listen "+api+" -control "+control)
	c.env = append([]string{
		"PATH=" + filepath.Join(c.folder, "tools") + ":" + os.Getenv("PATH"),
		"HOME=" + c.folder, "PS1=", "PS2=", "NO_PROXY=*",
		"ATLAS_GATEWAY_LISTENER_ADDRESS=" + listener,
		"ATLAS_GATEWAY_MANAGEMENT_ADDRESS=" + management,
		"ATLAS_GATEWAY_TIMEOUTS_DRAIN=1ms",
	}, env...)
	return c
}

// address returns one that nothing listens on. It is outside of the range that systems choose from
// for port 0, so that no other test gets it meanwhile.
func address(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(17000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// terminal is a shell on a terminal, into which a test pastes.
type terminal struct {
	*checkout
	t    *testing.T
	file *os.File

	mu     sync.Mutex
	output strings.Builder
	seen   int // of the output, by await
	ended  bool
}

// open opens a terminal, which is closed with the test.
func (c *checkout) open(t *testing.T) *terminal {
	t.Helper()
	shell := exec.Command("sh", "-i")
	shell.Dir, shell.Env = c.folder, c.env
	file, err := pty.StartWithSize(shell, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{checkout: c, t: t, file: file}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := file.Read(buffer)
			term.mu.Lock()
			term.output.WriteString(strings.ReplaceAll(string(buffer[:n]), "\r\n", "\n"))
			term.ended = err != nil
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		file.Close() // which hangs up
		shell.Process.Kill()
		shell.Wait()
		<-read
	})
	term.write("stty -echo; set -e")
	term.ends(0)
	return term
}

func (term *terminal) write(text string) {
	term.t.Helper()
	if _, err := term.file.WriteString(text + "\n"); err != nil {
		term.t.Fatal(err)
	}
}

// await waits until the output since the last text that was awaited has a match, and returns what
// was printed up to its end.
func (term *terminal) await(pattern string) string {
	term.t.Helper()
	expression := regexp.MustCompile("(?m)" + pattern)
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		term.mu.Lock()
		output, ended := term.output.String()[term.seen:], term.ended
		found := expression.FindStringIndex(output)
		if found != nil {
			term.seen += found[1]
		}
		term.mu.Unlock()
		switch {
		case found != nil:
			return output[:found[1]]
		case ended || time.Since(began) > patience:
			term.t.Fatalf("the terminal does not show %s:\n%s", pattern, output)
		}
	}
}

// paste pastes the block of a page.
func (term *terminal) paste(selector string) {
	term.t.Helper()
	for _, text := range pages.Blocks(term.t, root, selector) {
		term.write(strings.TrimSuffix(term.ports.Replace(text), "\n"))
	}
}

// answer waits for a prompt and answers it.
func (term *terminal) answer(prompt, text string) {
	term.t.Helper()
	term.await(prompt)
	term.write(text)
}

// ends waits until what was pasted has ended, with a status, and returns what it printed.
func (term *terminal) ends(status int) string {
	term.t.Helper()
	term.write("printf 'ended %s\\n' $?")
	printed := term.await(fmt.Sprintf("ended %d\n", status))
	return printed[:strings.LastIndex(printed, "ended ")]
}

// interrupt is Ctrl-C.
func (term *terminal) interrupt() {
	term.t.Helper()
	if _, err := term.file.WriteString("\x03"); err != nil {
		term.t.Fatal(err)
	}
}
