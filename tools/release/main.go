// Command release builds what others run: images, Debian packages, archives of the programs, and
// the Helm chart. The Makefile calls it, in the module of the tools.
//
//	release [-root FOLDER] [-version VERSION] image
//	release [-root FOLDER] -version v1.2.3 [-targets "linux/amd64 darwin/arm64"] all
//
// image writes the images as OCI layouts into dist/image/, each with its list of components. The
// version is by default the tag of the commit, or else the commit, with -dirty where the tree has
// changes.
//
// all writes everything that a release has into dist/. It refuses a version that is not semantic,
// that is not the tag of the commit, or that CHANGELOG.md has no section of, and a tree with
// changes.
//
// The same commit and version, built with the same Go, are the same bytes: every time is that of
// the commit, or SOURCE_DATE_EPOCH. It needs git and Go. It sends nothing anywhere.
//
// Exit status: 0 after success, 1 after an error, 2 for a wrong command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, env []string, _ io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", "..", "the top `folder` of the clone")
	version := flags.String("version", "", "the `version`, such as v1.2.3")
	list := flags.String("targets", "", "what all is for, as `OS/ARCH ...`; by default linux and darwin on amd64 and arm64")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	targets, err := parseTargets(*list)
	var work func(context.Context, *source, []target, io.Writer) error
	switch command := strings.Join(flags.Args(), " "); {
	case err != nil:
	case command == "image":
		work = makeImages
	case command == "all" && *version == "":
		err = errors.New("all needs -version")
	case command == "all":
		work = makeRelease
	default:
		err = fmt.Errorf("the command is %q; it is image or all", command)
	}
	if err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return exitUsage
	}
	s, err := newSource(ctx, *root, *version, env)
	if err == nil {
		err = work(ctx, s, targets, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return exitFailed
	}
	return exitOK
}
