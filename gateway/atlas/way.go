package atlas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
)

// A way is the connections to one Atlas, and how signers use them.
type way struct {
	origin    string
	realm     string
	base      *url.URL
	transport *transport
}

// signings counts the signings that were made.
var signings atomic.Uint64

// signing returns a pair with a signer of its own: Digest for an API key, a bearer token for a
// service account.
func (w *way) signing(p pair) (*signing, error) {
	s := &signing{pair: p, identity: signings.Add(1), since: time.Now()}
	var err error
	if p.account {
		s.signer, err = serviceaccount.NewTransport(serviceaccount.Config{
			Origin: w.origin,
			Base:   w.transport,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				return serviceaccount.Credential{ClientID: p.id, ClientSecret: p.secret}, nil
			},
			Authenticated: outbound.Authenticated,
			Confirm:       w.confirm(),
		})
		return s, err
	}
	s.signer, err = digestauth.NewTransport(digestauth.Config{
		Origin: w.origin,
		Realm:  w.realm,
		Base:   w.transport,
		Credential: func(context.Context) (digestauth.Credential, error) {
			return digestauth.Credential{Username: p.id, Password: p.secret}, nil
		},
		Authenticated: outbound.Authenticated,
		Confirm:       w.confirm(),
		MaxChallenges: maxChallenges,
	})
	return s, err
}

// maxChallenges is how many requests for a nonce may be under way. Those for one group may hang, and
// others must not wait for them.
const maxChallenges = 16

// confirm returns the request that decides whether Atlas refuses a credential or only the requests
// of one caller: a list of the groups that the credential may read. Atlas answers it to a
// credential with any role.
func (w *way) confirm() *http.Request {
	return &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: w.base.Scheme, Host: w.base.Host, Path: "/api/atlas/v2/groups", RawQuery: "itemsPerPage=1"},
		Header: http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "User-Agent": userAgent},
	}
}

// Verdict is what Atlas makes of a credential.
type Verdict int

// The verdicts.
const (
	// Undecided: Atlas did not answer, or its answer does not tell.
	Undecided Verdict = iota
	// Accepted: Atlas accepts the credential.
	Accepted
	// Refused: Atlas refuses the credential, or the address that it is used from.
	Refused
)

// An Answer is Atlas's answer to one harmless read that was signed with a credential.
type Answer struct {
	// Name is the name of the credential, such as "upstream.credentials[0]", and ID its public key or
	// client id as [secret.ShowID] shows it.
	Name, ID string
	Verdict  Verdict
	// Err is why the verdict is not Accepted. Its text holds nothing that the gateway sent.
	Err error
	// RetryAfter is how long Atlas asks to wait, 0 where it does not ask.
	RetryAfter time.Duration
}

// askTimeout bounds one read of ask, with all that it takes to sign it.
const askTimeout = 10 * time.Second

// ask sends one harmless read with a signer. It does not say whose credential it was.
func (w *way) ask(ctx context.Context, s signer) Answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	signed := false
	through := outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		signed = r.Header["Authorization"] != nil
		return w.transport.RoundTrip(r)
	})
	response, err := s.RoundTripThrough(through, w.confirm().WithContext(ctx))
	if err != nil {
		return unasked(err)
	}
	defer outbound.Discard(response)
	code := answeredCode(response)
	answered := fmt.Errorf("Atlas answered %d %s", response.StatusCode, code) //lint:ignore ST1005 Atlas is a name
	after := outbound.RetryAfter(response.Header, time.Now())
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized:
		if err := s.Explain(response); err != nil {
			return unasked(err)
		}
	case !signed:
		return Answer{Err: fmt.Errorf("%w, and asked for no credential", answered)}
	case addressCodes[code]:
		return Answer{Verdict: Refused, Err: fmt.Errorf("%w: the gateway's address is not on the access list of the credential", answered)}
	case status < 200, status >= 300 && status < 400, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		// It may come from a proxy that does not look at the credential.
		return Answer{Err: answered, RetryAfter: after}
	}
	return Answer{Verdict: Accepted}
}

// unasked returns what an error of a signer says about the credential.
func unasked(err error) Answer {
	a := Answer{Err: unquoted{err}}
	if isRefusal(err) {
		a.Verdict = Refused
	}
	if token, ok := errors.AsType[*serviceaccount.TokenError](err); ok {
		a.RetryAfter = token.RetryAfter
	}
	return a
}

// isRefusal reports whether an error of a signer says that Atlas refuses the credential, and not
// only one request.
func isRefusal(err error) bool {
	_, key := errors.AsType[*digestauth.CredentialError](err)
	_, account := errors.AsType[*serviceaccount.CredentialError](err)
	return key || account
}

// addressCodes are the errorCodes of Atlas's for an address that the credential may not be used
// from.
var addressCodes = map[string]bool{
	"IP_ADDRESS_NOT_ON_ACCESS_LIST": true, "IP_ADDRESS_NOT_ON_WHITELIST": true, "ORG_REQUIRES_ACCESS_LIST": true, "RESOURCE_REQUIRES_ACCESS_LIST": true,
}

// answeredCode returns the errorCode of a response, as errorCode does, also where it is in the
// content only.
func answeredCode(response *http.Response) string {
	if response.StatusCode >= 400 && response.Header.Get("X-Error-Code") == "" {
		content, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if err == nil {
			response.Header.Set("X-Error-Code", outbound.Code(content))
		}
	}
	return errorCode(response.Header)
}

// Try sends one harmless read with each credential, all at a time, and returns Atlas's answers in
// the order of the configuration.
func (u *Upstream) Try(ctx context.Context) []Answer {
	answers := make([]Answer, len(u.credentials))
	var group sync.WaitGroup
	for i := range u.credentials {
		c := &u.credentials[i]
		group.Go(func() {
			current := c.current.Load()
			answers[i] = u.ask(ctx, current.signer)
			answers[i].Name, answers[i].ID = c.Name, secret.ShowID(current.id)
		})
	}
	group.Wait()
	return answers
}
