package callers

// Remembered returns how many nonces and revoked tokens a knows.
func (a *Authenticator) Remembered() (nonces, revoked int) {
	return a.memory.counts.known, len(a.memory.revoked.ids.values)
}

// Bound bounds how many nonces and revoked tokens a remembers. Call it before a is used.
func (a *Authenticator) Bound(nonces, revoked int) {
	a.memory.counts.max, a.memory.revoked.max = nonces, revoked
}

// MaxForm bounds the forms of the token endpoint.
const MaxForm = maxForm
