package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// tally is what callers were answered.
type tally struct{ answered, refused atomic.Int64 }

// repeat has n callers send the same request, each as fast as it is answered, until stop is closed.
func repeat(n int, stop <-chan struct{}, url string) (*tally, *sync.WaitGroup) {
	var counts tally
	var group sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}, Timeout: 10 * time.Second}
	for range n {
		group.Go(func() {
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				request, err := http.NewRequest("GET", url, nil)
				if err != nil {
					panic(err)
				}
				request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
				response, err := client.Do(request)
				if err != nil {
					counts.refused.Add(1)
					continue
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode == http.StatusOK {
					counts.answered.Add(1)
				} else {
					counts.refused.Add(1)
				}
			}
		})
	}
	return &counts, &group
}

// Row 44: Atlas answers one caller's requests with 401 and a new challenge, whatever it says of the
// reason. The credential that the callers share stays good for all others: each of their requests
// is answered.
func TestOneCallerIsRefused(t *testing.T) {
	t.Parallel()
	const answers, refusals, patience = 200, 100, 30 * time.Second
	for credential, yaml := range map[string]string{
		"API key":         "{public_key_env: PUBLIC, private_key_env: PRIVATE}",
		"service account": "{client_id_env: CLIENT, client_secret_env: SECRET}",
	} {
		for name, content := range map[string]string{
			"the code in the envelope": `{"status":401,"content":{"error":401,"reason":"Unauthorized","errorCode":"NOT_IN_GROUP"}}`,
			"a code that nobody knows": `{"status":401,"content":{"error":401,"reason":"Unauthorized","errorCode":"SOMETHING_NEW"}}`,
			"no code":                  `{"status":401}`,
		} {
			t.Run(credential+", "+name, func(t *testing.T) {
				var nonces, tokens, envelopes, confirms atomic.Int64
				upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
					switch {
					case r.URL.Path == "/api/oauth/token":
						tokens.Add(1)
						return gatewaytest.JSON(200, `{"access_token":"c4na7y-token","expires_in":3600,"token_type":"Bearer"}`)
					case strings.Contains(r.URL.RawQuery, "envelope=true"):
						envelopes.Add(1)
						return gatewaytest.JSON(401, content, "WWW-Authenticate: "+strings.Replace(gatewaytest.Challenge, "abcdefghijklmnopqrstuvwx", fmt.Sprintf("%024d", nonces.Add(1)), 1))
					case r.URL.Path == "/api/atlas/v2/groups":
						confirms.Add(1)
					}
					return gatewaytest.JSON(200, `{"results":[]}`)
				}))
				p := serveProcess(t, "upstream:\n  base_url: "+upstream.URL+"\n  credentials: ["+yaml+"]\n",
					"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "CLIENT="+sim.ClientID, "SECRET="+sim.ClientSecret)
				stop := make(chan struct{})
				bad, badGone := repeat(4, stop, p.Listener+buckets+"?envelope=true")
				others, othersGone := repeat(4, stop, p.Listener+buckets)
				began := time.Now()
				for (others.answered.Load() < answers || bad.refused.Load() < refusals) && time.Since(began) < patience {
					time.Sleep(10 * time.Millisecond)
				}
				close(stop)
				badGone.Wait()
				othersGone.Wait()
				t.Logf("in %v the others had %d answers and %d refusals, beside %d refusals of the one, which cost %d requests and %d to confirm",
					time.Since(began), others.answered.Load(), others.refused.Load(), bad.refused.Load(), envelopes.Load(), confirms.Load())
				if n := others.answered.Load(); n < answers || others.refused.Load() > 0 {
					t.Errorf("the others had %d answers and %d refusals", n, others.refused.Load())
				}
				if bad.answered.Load() > 0 || bad.refused.Load() < refusals {
					t.Errorf("the refused caller had %d answers and %d refusals", bad.answered.Load(), bad.refused.Load())
				}
				// A request may be sent with as many nonces as the signer tries, and no more.
				if n := bad.refused.Load(); envelopes.Load() > 9*n || confirms.Load() > n+4 || tokens.Load() > 1 {
					t.Errorf("%d refused requests cost %d, %d to confirm and %d tokens", n, envelopes.Load(), confirms.Load(), tokens.Load())
				}
				p.stop(t)
				if logs := p.stderr.String(); strings.Contains(logs, "c4na7y") {
					t.Error("the log holds the token")
				}
			})
		}
	}
}
