package gateway

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/nearest"
)

// Explain says, for each grant of a caller, whether it allows a request, or why not. It
// refuses a caller that the configuration does not have, an operation that the contract does
// not have, and ids and names that can't exist.
func Explain(parts *config.Parts, caller string, request policy.Request) ([]policy.Explanation, error) {
	p, ok := parts.Policies[caller]
	if !ok {
		return nil, fmt.Errorf("no caller of the configuration has the name %q%s", caller, nearest.Hint(caller, slices.Sorted(maps.Keys(parts.Policies))))
	}
	rules, err := contract.Load()
	if err != nil {
		return nil, err
	}
	if ids := rules.OperationIDs(); !slices.Contains(ids, request.Operation) {
		return nil, fmt.Errorf("the contract has no operation %q%s", request.Operation, nearest.Hint(request.Operation, ids))
	}
	for _, named := range []struct{ parameter, value string }{
		{"groupId", request.Group}, {"clusterName", request.Cluster}, {"exportBucketId", request.ExportBucket},
	} {
		if named.value == "" {
			continue
		}
		if err := rules.CheckParameter(named.parameter, named.value); err != nil {
			return nil, err
		}
	}
	request.Settle()
	return p.Explain(request), nil
}

// ExplainToken says which caller of a configuration a bearer token is, and for whom it is none,
// which check or which claims keep it out. The caller is empty where the token is nobody's. It
// fetches the keys of issuers. The lines do not hold the token, and hold of its claims only those
// that the configuration names.
func ExplainToken(ctx context.Context, parts *config.Parts, token string) (caller string, lines []string) {
	memory := callers.NewMemory()
	failed := make(chan string, len(parts.Config.Callers.Issuers))
	memory.TellIssuers(func(s issuers.State) {
		select {
		case failed <- fmt.Sprintf("the keys of %s can't be fetched: %v", s.Issuer, s.Err):
		default:
		}
	})
	authenticator := callers.New(parts.Callers, memory, callers.Options{})
	memory.Keep(authenticator)
	caller, lines = authenticator.ExplainToken(ctx, token)
	memory.Close()
	close(failed)
	for line := range failed {
		lines = append(lines, line)
	}
	return caller, lines
}

// ExplainCertificate says which caller of a configuration a client certificate is, or why it is
// none: line by line, the names of the certificate first. The text is PEM, with the certificate
// first and then those of the authorities between it and a trusted one. The name is empty for a
// certificate that is nobody's.
func ExplainCertificate(parts *config.Parts, text []byte) (caller string, lines []string, err error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // such as a key
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", nil, err
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return "", nil, errors.New("the file holds no PEM certificate")
	}
	who, lines := parts.Callers.ExplainCertificate(chain, parts.ClientCAs.Pool(), time.Now())
	return who.Name, lines, nil
}
