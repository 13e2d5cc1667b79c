//go:build !unix

package bearertoken

import "os/exec"

// ofOwnGroup has only the command itself killed: there are no process groups.
func ofOwnGroup(c *exec.Cmd) (kill func() error) { return c.Cancel }
