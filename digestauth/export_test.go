package digestauth

// Sign returns the Authorization field for the nc-th use of c's nonce. An empty cnonce means a
// random one.
func Sign(cred Credential, c Challenge, nc uint32, cnonce, method, uri string) string {
	return SignerOf(cred, c)(nc, cnonce, method, uri)
}

// SignerOf is Sign for several uses of one nonce.
func SignerOf(cred Credential, c Challenge) func(nc uint32, cnonce, method, uri string) string {
	k, n := &key{Credential: cred}, newNonce(c)
	return func(nc uint32, cnonce, method, uri string) string {
		n.nc = nc
		if cnonce == "" {
			n.nc--
			return k.sign(n, method, uri)
		}
		return k.authorization(n, cnonce, method, uri)
	}
}
