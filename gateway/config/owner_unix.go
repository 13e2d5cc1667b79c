//go:build unix

package config

import (
	"os"
	"syscall"
)

// owner returns the user and group that a file belongs to.
func owner(info os.FileInfo) [2]uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint32{s.Uid, s.Gid}
	}
	return [2]uint32{}
}
