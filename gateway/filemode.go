package gateway

import (
	"fmt"
	"os"
)

// Warnings name the settings whose files hold a secret that every user may read, as far as the
// file's mode goes. They are no reason to refuse the configuration: what a container is given is
// often 0444.
func (c Config) Warnings() []error {
	c.fill()
	var warnings []error
	secret := func(path, file string) {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&0o004 != 0 {
			warnings = append(warnings, c.errorf(path, "every user may read the file, which holds a secret: its mode is %04o", info.Mode().Perm()))
		}
	}
	secret("listener.tls_key_file", c.Listener.TLSKeyFile)
	for i, source := range c.Upstream.Credentials {
		if pair := source.pair(); !pair.env {
			secret(fmt.Sprintf("upstream.credentials[%d].%s", i, pair.secretKey), pair.secret)
		}
	}
	secret("callers.signing_key_file", c.Callers.SigningKeyFile)
	for i, caller := range c.Callers.List {
		for j, pair := range caller.KeyPairs {
			secret(fmt.Sprintf("callers.list[%d].key_pairs[%d].ha1_file", i, j), pair.HA1File)
		}
	}
	return warnings
}
