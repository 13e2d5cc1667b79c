//go:build unix

package bearertoken

import (
	"os/exec"
	"syscall"
)

// ofOwnGroup has a command run in a process group of its own, and has the group killed when the
// command's context ends. It returns what kills the group.
func ofOwnGroup(c *exec.Cmd) (kill func() error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	return c.Cancel
}
