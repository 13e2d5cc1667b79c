package client

import (
	"os"

	"atlas-export-gateway/gen"
)

// Client calls one Atlas or gateway as one caller. It may be used from several goroutines;
// see [New].
type Client struct {
	caller *caller
	atlas  *gen.Client
	v1     *V1
}

// V1 calls the operations of v1.0; see [Client.V1]. They know AWS alone.
type V1 struct {
	caller *caller
	atlas  *gen.Client
}

// FromEnv reads a Config from the environment of the process; see [FromEnviron].
func FromEnv() (Config, error) { return FromEnviron(os.Environ()) }

// V1 returns the operations of v1.0, the deprecated generation.
func (c *Client) V1() *V1 { return c.v1 }

// CloseIdleConnections closes the connections that no request is using.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.caller.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
