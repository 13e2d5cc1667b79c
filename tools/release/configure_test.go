package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// A caller is who may call the gateway that configure has configured.
type caller struct{ public, private, group string }

// configure does what docs/operate.md says: it fills a folder with the configuration of deploy/
// and the files that it names, and checks it. The gateway will see the folder elsewhere, where its
// configuration names the files.
func configure(t *testing.T, gateway, folder string, configuration []byte) caller {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	printed := func(args ...string) []byte {
		output, err := exec.Command(gateway, args...).Output()
		if err != nil {
			t.Fatalf("atlas-gateway %q: %v", args, told(err))
		}
		return output
	}
	printed("keys", "signing-key", filepath.Join(folder, "signing.key"))
	keys := printed("keys", "new", "-caller", "nightly", "-ha1-file", filepath.Join(folder, "nightly.ha1"))
	public, private := regexp.MustCompile(`public key: (\S+)`).FindSubmatch(keys), regexp.MustCompile(`private key: (\S+)`).FindSubmatch(keys)
	group := regexp.MustCompile(`groups: \[([0-9a-f]{24})\]`).FindSubmatch(configuration)
	if public == nil || private == nil || group == nil {
		t.Fatalf("%s\n%s", keys, configuration)
	}
	configuration = regexp.MustCompile(`public_key: agw\w+`).ReplaceAll(configuration, append([]byte("public_key: "), public[1]...))
	configuration = bytes.ReplaceAll(configuration, []byte(`["analytics-*"]`), []byte("[orders]"))
	certificate, key := selfSigned(t)
	// The simulated Atlas has this key.
	for name, content := range map[string][]byte{
		"atlas-gateway.yaml": configuration, "tls.crt": certificate, "tls.key": key,
		"atlas-public-key": []byte("demopubl"), "atlas-private-key": []byte("51a1a7ed-a71a-5000-beef-51a1a7edda7a"),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return caller{string(public[1]), string(private[1]), string(group[1])}
}

// selfSigned returns a certificate for loopback, which is its own authority, and its key.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rehearsal"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	encoded, otherErr := x509.MarshalECPrivateKey(private)
	if errors.Join(err, otherErr) != nil {
		t.Fatal(err, otherErr)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
}
