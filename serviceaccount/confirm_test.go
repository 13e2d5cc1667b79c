package serviceaccount_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
)

// confirming is a server with a token endpoint. It refuses requests for /bad and those with a token
// that is not the last one it issued, and answers those for /confirm as the test says.
type confirming struct {
	*httptest.Server
	issued, requests, confirms atomic.Int64
	good                       atomic.Int64                     // the number of the token that is good
	confirm                    atomic.Pointer[http.HandlerFunc] // nil: as any other request
	clock                      *clock
}

func (s *confirming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/oauth/token" {
		n := s.issued.Add(1)
		s.good.Store(n)
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, n)
		return
	}
	s.requests.Add(1)
	if r.URL.Path == "/confirm" {
		s.confirms.Add(1)
		if answer := s.confirm.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
	}
	if r.URL.Path == "/bad" || r.Header.Get("Authorization") != fmt.Sprint("Bearer token-", s.good.Load()) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// revoke makes no token good.
func (s *confirming) revoke() { s.good.Store(-1) }

func (s *confirming) answer(f http.HandlerFunc) { s.confirm.Store(&f) }

func startConfirming(t *testing.T) (*confirming, *http.Client) {
	t.Helper()
	s := &confirming{clock: newClock()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	confirm, err := http.NewRequest(http.MethodGet, s.URL+"/confirm", nil)
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(base.CloseIdleConnections)
	transport, err := serviceaccount.NewTransport(serviceaccount.Config{
		Origin: s.URL,
		Credential: func(context.Context) (serviceaccount.Credential, error) {
			return serviceaccount.Credential{ClientID: "id", ClientSecret: secret.New("secret")}, nil
		},
		Base:          base,
		Authenticated: func(r *http.Response) bool { return r.Header.Get("X-Error-Code") == "NOT_IN_GROUP" },
		Confirm:       confirm,
		Now:           s.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func isRefused(err error) bool {
	var refused *serviceaccount.RefusedError
	return errors.As(err, &refused)
}

// A caller whose requests Atlas refuses costs no token, and none of the other callers is refused.
// When the token is revoked meanwhile, it is replaced once, and no call fails.
func TestOneCallerIsRefused(t *testing.T) {
	s, client := startConfirming(t)
	expect(t, client, s.URL, 200)
	stop := make(chan struct{})
	var group sync.WaitGroup
	var ended atomic.Int64
	for range 8 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := do(client, "GET", s.URL+"/bad", ""); !isRefused(err) {
					t.Errorf("the refused caller got %v", err)
					return
				}
				ended.Add(1)
			}
		})
	}
	var honest sync.WaitGroup
	for range 8 {
		honest.Go(func() {
			for range 100 {
				expect(t, client, s.URL, 200)
			}
		})
	}
	honest.Wait()
	if n := s.issued.Load(); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	for range 5 {
		s.revoke()
		for range 8 { // the first of all requests replaces the token
			honest.Go(func() { expect(t, client, s.URL, 200) })
		}
		honest.Wait()
	}
	close(stop)
	group.Wait()
	if n := s.issued.Load(); n != 6 {
		t.Errorf("%d tokens were fetched for 5 revocations", n)
	}
	if n := s.confirms.Load(); n > 2*ended.Load() {
		t.Errorf("%d refused calls were confirmed %d times", ended.Load(), n)
	}
}

// What the answer to Config.Confirm says about a token, of which each request is refused.
func TestConfirmAnswers(t *testing.T) {
	status := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		old    bool // the token is replaced once it is old
		bad    bool // the credential is held back
	}{
		"200":   {answer: status(200)},
		"403":   {answer: status(403)},
		"404":   {answer: status(404)},
		"429":   {answer: status(429), old: true},
		"503":   {answer: status(503), old: true},
		"reset": {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, old: true},
		"401 that is vouched for": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Error-Code", "NOT_IN_GROUP")
			w.WriteHeader(401)
		}},
		"401": {answer: status(401), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, client := startConfirming(t)
			s.answer(test.answer)
			for range 5 {
				status, _, err := do(client, "GET", s.URL+"/bad", "")
				var credential *serviceaccount.CredentialError
				if got := status == 401 || errors.As(err, &credential); got != test.bad || !test.bad && !isRefused(err) {
					t.Errorf("got %d %v", status, err)
				}
			}
			tokens := int64(1)
			if test.bad {
				tokens = 2
			}
			if n := s.issued.Load(); n != tokens {
				t.Errorf("%d tokens were fetched", n)
			}
			if test.bad {
				return
			}
			s.clock.advance(2 * time.Minute)
			if test.old {
				tokens++
			}
			for range 5 {
				if _, _, err := do(client, "GET", s.URL+"/bad", ""); !isRefused(err) {
					t.Errorf("later: %v", err)
				}
			}
			if n := s.issued.Load(); n != tokens {
				t.Errorf("later: %d tokens were fetched", n)
			}
			expect(t, client, s.URL, 200)
		})
	}
}

// A caller that leaves while a token is being confirmed takes no other caller with it, and an answer
// that does not come stops only refused requests.
func TestConfirmHangs(t *testing.T) {
	s, client := startConfirming(t)
	hang, reached := make(chan struct{}), make(chan struct{}, 64)
	proceed := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(proceed) // before the server's end, which waits for what hangs
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-hang
		io.WriteString(w, "{}")
	})
	refused := func(ctx context.Context) chan error {
		ended := make(chan error, 1)
		go func() {
			request, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/bad", nil)
			if err == nil {
				_, err = client.Do(request)
			}
			ended <- err
		}()
		return ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := refused(ctx)
	select {
	case <-reached:
	case err := <-first:
		t.Fatalf("the token was not confirmed: %v", err)
	}
	second := refused(t.Context())
	for range 50 {
		expect(t, client, s.URL, 200)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left got %v", err)
	}
	proceed()
	if err := <-second; !isRefused(err) {
		t.Errorf("the caller that stayed got %v", err)
	}
}

func TestConfirmIsChecked(t *testing.T) {
	const origin = "https://cloud.mongodb.com"
	for _, confirm := range []struct{ method, url, content string }{{"POST", origin, ""}, {"GET", origin, "x"}, {"GET", "https://other.example", ""}} {
		var content io.Reader
		if confirm.content != "" {
			content = strings.NewReader(confirm.content)
		}
		request, err := http.NewRequest(confirm.method, confirm.url, content)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := serviceaccount.NewTransport(serviceaccount.Config{Origin: origin, Base: http.DefaultTransport, Credential: (&account{}).read, Confirm: request}); err == nil {
			t.Errorf("%+v was accepted", confirm)
		}
	}
}
