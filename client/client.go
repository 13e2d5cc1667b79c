package client

// Client calls one Atlas or gateway as one caller. It may be used from several goroutines;
// see [New].
type Client struct {
	// Operations of v2.
}

// V1 calls the operations of v1.0; see [Client.V1]. They know AWS alone.
type V1 struct{}

// V1 returns the operations of v1.0, the deprecated generation.
func (c *Client) V1() *V1 { return nil }

// CloseIdleConnections closes connections that no request is using.
func (c *Client) CloseIdleConnections() {}
