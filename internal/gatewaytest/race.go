package gatewaytest

import (
	"strings"
	"sync"
	"testing"
)

// concurrent has the names of the tests that have called Concurrent.
var concurrent sync.Map

// NeedProcess is called where a test starts a program as a process. With -short, which make race
// sets, it skips the test: make test has run it, a process costs ten times as much under the race
// detector, and what races inside of the program also races in the tests of its packages, which
// run it in their own process. A test that has called [Concurrent] is not skipped.
func NeedProcess(t testing.TB) {
	t.Helper()
	if _, ok := concurrent.Load(root(t)); testing.Short() && !ok {
		t.Skip("it starts processes, and is not about what they do at the same time")
	}
}

// Concurrent says that a test, or the test that it is a part of, is about what a process does at
// the same time, so that NeedProcess does not skip it.
func Concurrent(t testing.TB) { concurrent.Store(root(t), true) }

// Sequential says that a costly test does one thing after the other. With -short it is skipped, as
// by NeedProcess.
func Sequential(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it does nothing at the same time")
	}
}

// root returns the name of the test that a subtest is a part of.
func root(t testing.TB) string {
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}

// FindRaces fails the test if the race detector has found a data race in a process. Its report is
// in what the process has written to standard error. The status of a process that is killed does
// not tell.
func FindRaces(t testing.TB, stderr string) {
	t.Helper()
	if strings.Contains(stderr, "WARNING: DATA RACE") {
		t.Errorf("the process has a data race:\n%s", stderr)
	}
}
