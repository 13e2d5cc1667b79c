package bearertoken_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/internal/outbound"
)

// server accepts one token, and notes what it receives.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	good     string
	received []string // token and content of each request
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+" "+string(content))
	if r.Header.Get("Authorization") != "Bearer "+s.good {
		w.Header().Set("Vouched", r.Header.Get("Vouched"))
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "refused")
	}
}

// accept sets the good token, and returns what was received since the last call.
func (s *server) accept(good string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	received := strings.Join(s.received, "|")
	s.good, s.received = good, nil
	return received
}

func start(t *testing.T, source *bearertoken.Source) (*server, *http.Client) {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	transport, err := bearertoken.NewTransport(bearertoken.Config{
		Origin:        s.URL,
		Source:        source,
		Base:          s.Client().Transport,
		Authenticated: func(r *http.Response) bool { return r.Header.Get("Vouched") != "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &http.Client{Transport: transport}
}

// post sends a create and returns status and content of the answer.
func post(t *testing.T, client *http.Client, url string, header ...string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range header {
		request.Header.Set(name, "1")
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", string(content)), err
}

// A token that is refused is read anew once. The request is sent once more where there is another.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	folder, clock := t.TempDir(), newClock()
	source := bearertoken.File(filepath.Join(folder, "token"))
	source.UseClock(clock.now)
	s, client := start(t, source)
	expect := func(what, want, received string, header ...string) {
		t.Helper()
		got, err := post(t, client, s.URL, header...)
		if err != nil || got != want {
			t.Errorf("%s: %s %v", what, got, err)
		}
		if got := s.accept(s.good); got != received {
			t.Errorf("%s: received %s, want %s", what, got, received)
		}
	}
	write(t, folder, "token", "c4na7y-a")
	s.accept("c4na7y-a")
	expect("the token is good", "200 ", "c4na7y-a content")
	write(t, folder, "token", "c4na7y-b")
	s.accept("c4na7y-b")
	expect("it is not about the token", "401 refused", "c4na7y-a content", "Vouched")
	expect("there is a new one", "200 ", "c4na7y-a content|c4na7y-b content")
	s.accept("c4na7y-c")
	expect("asked too early", "401 refused", "c4na7y-b content")
	clock.advance(5 * time.Second)
	expect("the same again", "401 refused", "c4na7y-b content")
	clock.advance(5 * time.Second)
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "token", "c4na7y-d")
	expect("the next one is refused, too", "401 refused", "c4na7y-b content|c4na7y-d content")

	clock.advance(4 * time.Second)
	write(t, folder, "token", "")
	clock.advance(time.Second)
	_, err := post(t, client, s.URL)
	var failed *bearertoken.SourceError
	if !errors.As(err, &failed) || !failed.Refused || !strings.HasSuffix(err.Error(), "token: holds no token") || strings.Contains(err.Error(), "c4na7y") {
		t.Errorf("refused, and the file is empty: %v", err)
	}
}

// Many requests that are refused together cost one question to the source.
func TestManyRefused(t *testing.T) {
	t.Parallel()
	folder, clock := t.TempDir(), newClock()
	source := shell(folder, `echo run >> "$0/runs"; echo '{"Version": 1, "Token": "c4na7y-'$(wc -l < "$0/runs" | tr -d ' ')'"}'`).Source()
	source.UseClock(clock.now)
	s, client := start(t, source)
	s.accept("c4na7y-1")
	if got, err := post(t, client, s.URL); err != nil || got != "200 " {
		t.Fatalf("%s %v", got, err)
	}
	s.accept("c4na7y-2")
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if got, err := post(t, client, s.URL); err != nil || got != "200 " {
				t.Errorf("%s %v", got, err)
			}
		})
	}
	all.Wait()
	clock.advance(5 * time.Second)
	s.accept("nobody's")
	for range 32 {
		all.Go(func() {
			if got, err := post(t, client, s.URL); err != nil || got != "401 refused" {
				t.Errorf("%s %v", got, err)
			}
		})
	}
	all.Wait()
	if got, err := post(t, client, s.URL); err != nil || got != "401 refused" {
		t.Errorf("%s %v", got, err)
	}
	if runs := lines(t, folder, "runs"); runs != 3 {
		t.Errorf("%d runs", runs)
	}
}

// A token never leaves its origin, and without a token nothing is sent.
func TestNothingElsewhere(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, client := start(t, bearertoken.File(filepath.Join(folder, "token")))
	_, err := post(t, client, s.URL)
	var failed *bearertoken.SourceError
	if !errors.As(err, &failed) || failed.Refused {
		t.Errorf("without a token: %v", err)
	}
	write(t, folder, "token", "c4na7y")
	for _, url := range []string{"http://localhost:1", strings.Replace(s.URL, "http://", "https://", 1)} {
		var origin *outbound.OriginError
		if _, err := post(t, client, url); !errors.As(err, &origin) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if received := s.accept(""); received != "" {
		t.Errorf("received %s", received)
	}
}
