package gatewaytest

import (
	"testing"
	"time"
)

// WaitFor waits for a condition, which must come true in 10 s.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// Receive receives a value, which must come in 20 s. It returns at once if the channel is closed.
// Where a goroutine of the test fails and sends nothing, the test ends and does not hang.
func Receive[T any](t testing.TB, what string, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
	return value
}
