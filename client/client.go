package client

import "atlas-export-gateway/gen"

// Client calls Atlas or one gateway, with one credential. [New] builds one. It may be used
// from several goroutines.
type Client struct {
	caller *caller
	atlas  *gen.Client
	v1     *V1
}

// V1 calls the operations of v1.0; see [Client.V1]. They know only buckets of AWS.
type V1 struct {
	caller *caller
	atlas  *gen.Client
}

// V1 returns the operations of v1.0, the deprecated generation.
func (c *Client) V1() *V1 { return c.v1 }

// CloseIdleConnections closes the connections that no request is using.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.caller.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
