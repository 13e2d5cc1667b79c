//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// The program asks for a secret that is nowhere else, and does not show it.
func TestSecretPrompt(t *testing.T) {
	w := direct(t, sim.Config{})
	s := openTerminal(t, 80)
	env := []string{"ATLAS_EXPORT_CONFIG=" + os.DevNull, "ATLAS_EXPORT_BASE_URL=" + w.url, "ATLAS_EXPORT_GROUP=" + sim.GroupID, "ATLAS_EXPORT_PUBLIC_KEY=" + w.owner.public}
	before := s.mode(t)
	s.run(t, env, time.Now, "buckets", "list", "-o", "json")
	s.expectText(t, "private key of "+w.owner.public+": ")
	s.awaitMode(t, before)
	s.send(t, w.owner.private+"\n")
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	s.expectText(t, `"totalCount": 0`)
	if strings.Contains(s.text(), w.owner.private) {
		t.Errorf("the secret is on the screen: %q", s.text())
	}
}

// After Ctrl-C at the prompt for a secret, the terminal shows input again.
func TestInterruptedPrompt(t *testing.T) {
	s := openTerminal(t, 80)
	before := s.mode(t)
	s.start(t, []string{"ATLAS_EXPORT_CONFIG=" + os.DevNull, "ATLAS_EXPORT_GROUP=" + sim.GroupID, "ATLAS_EXPORT_PUBLIC_KEY=a"}, "buckets", "list")
	s.expectText(t, "private key of a: ")
	s.awaitMode(t, before)
	s.send(t, "\x03")
	if status := s.wait(t); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	s.send(t, "typed")
	s.expectText(t, "typed")
}

// The program asks before it deletes a bucket, and says which one. Only y and yes mean yes.
func TestConfirmDelete(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		for _, test := range []struct {
			answer string
			status int
		}{{"\n", exitFailed}, {"no\n", exitFailed}, {"yess\n", exitFailed}, {"\x04", exitFailed}, {"y\n", exitOK}, {"YES\n", exitOK}} {
			id := strings.TrimPrefix(w.must(t, "buckets", "create", "gcp", "--name", "acme-archive", "--role", sim.AWSRole, "-o", "name"), "bucket/")
			s := openTerminal(t, 80)
			s.run(t, w.environ(w.owner), time.Now, "buckets", "delete", id)
			s.expectText(t, "Delete GCP bucket acme-archive ("+id+") of group "+sim.GroupID+"? [y/N] ")
			s.send(t, test.answer)
			if status := s.wait(t); status != test.status {
				t.Errorf("%q: exit status %d, want %d: %q", test.answer, status, test.status, s.text())
			}
			want := "bucket/" + id + " deleted\r\n"
			if test.status != exitOK {
				want = "atlas-export: not deleted\r\n"
				w.must(t, "buckets", "delete", id, "--yes") // fails if the bucket is gone
			}
			s.expectText(t, want)
		}
	})
}
