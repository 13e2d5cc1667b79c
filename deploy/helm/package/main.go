// Command package writes a chart as an archive, as helm package does. `make release` calls it.
//
//	package -version v1.2.3 CHART FOLDER
//
// The archive is FOLDER/atlas-gateway-1.2.3.tgz. The version of its chart is 1.2.3, and its
// appVersion, which is the tag of the image unless the values name another one, v1.2.3. Every
// time in it is SOURCE_DATE_EPOCH, so that the same chart and version are the same bytes.
//
// Exit status: 0 after success, 1 after an error, 2 for a wrong command line.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stderr))
}

func run(args []string, epoch string, stderr io.Writer) int {
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.String("version", "", "the `version`, such as v1.2.3")
	if err := flags.Parse(args); err != nil || flags.NArg() != 2 || *version == "" {
		fmt.Fprintln(stderr, "package: -version VERSION CHART FOLDER")
		return 2
	}
	if err := write(*version, epoch, flags.Arg(0), flags.Arg(1)); err != nil {
		fmt.Fprintln(stderr, "package:", err)
		return 1
	}
	return 0
}

// write writes the archive of a chart into a folder.
func write(version, epoch, folder, to string) error {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return err
	}
	chart.Metadata.Version = strings.TrimPrefix(version, "v")
	chart.Metadata.AppVersion = version
	chart.StampModTimes(time.Unix(seconds, 0))
	_, err = util.Save(chart, to) // refuses a version that is not semantic
	return err
}
