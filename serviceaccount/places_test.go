package serviceaccount_test

import (
	"context"
	"errors"
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

// places is a transport with so many places. A request has its place until its response is closed.
type places struct{ free chan struct{} }

func (p places) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case p.free <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		<-p.free
		return nil, err
	}
	response.Body = &placed{ReadCloser: response.Body, leave: sync.OnceFunc(func() { <-p.free })}
	return response, nil
}

type placed struct {
	io.ReadCloser
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.ReadCloser.Close()
}

// Requests that are refused give back their connections before they wait for the token to be
// confirmed, which takes a connection, and those that are refused together share two confirmations.
func TestRefusedTogether(t *testing.T) {
	var confirmed, refused atomic.Int64
	const together = 40
	all := make(chan struct{}) // closed once all are refused
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"c4na7y-token","token_type":"Bearer","expires_in":3600}`)
		case r.URL.Path == "/confirm":
			confirmed.Add(1)
			time.Sleep(20 * time.Millisecond)
		default:
			w.Header().Set("X-Error-Code", "OTHER_CODE")
			w.WriteHeader(http.StatusUnauthorized)
			if refused.Add(1) == together {
				close(all)
			}
		}
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	confirm, err := http.NewRequest(http.MethodGet, server.URL+"/confirm", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := serviceaccount.NewTransport(serviceaccount.Config{
		Origin:  server.URL,
		Base:    places{make(chan struct{}, 1)},
		Confirm: confirm,
		Credential: func(context.Context) (serviceaccount.Credential, error) {
			return serviceaccount.Credential{ClientID: "id", ClientSecret: secret.New("c4na7y-secret")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var group sync.WaitGroup
	for range together {
		group.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/refused", nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = transport.RoundTrip(request)
			if _, ok := errors.AsType[*serviceaccount.RefusedError](err); !ok {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if took := time.Since(began); took > 10*time.Second { // FetchTimeout is 15 s
		t.Errorf("the requests took %s", took)
	}
	<-all
	if n := confirmed.Load(); n > together/2 {
		t.Errorf("%d confirmations for %d requests", n, together)
	}
	t.Logf("%d confirmations", confirmed.Load())
}
