// Package build returns the version of the program that is running. The programs print it.
package build

import "runtime/debug"

// version is set by the linker: -X atlas-export-gateway/internal/build.version=VERSION.
var version string

// Version returns the version that the linker has set, or else the commit that was built, or
// else the module's version.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return info.Main.Version
}
