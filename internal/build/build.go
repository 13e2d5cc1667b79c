// Package build says which build of the module a program is. The programs call it for their
// versions.
package build

import "runtime/debug"

// version is what the linker was told: -X atlas-export-gateway/internal/build.version=VERSION.
var version string

// Version is what the linker was told, or the commit that was built, or the module's version.
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
