package main

import (
	"bufio"
	"bytes"
	"cmp"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/store"
)

// smallDisk mounts a file system of 16 MiB, or skips the test where that may not be done.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// refusesStart fails the test unless the program does not start, and says all that is wanted.
func refusesStart(t *testing.T, file string, want ...string) {
	t.Helper()
	status, printed := runProgram(t, []string{"serve", file})
	for _, text := range append(want, "creates.file names another place") {
		if status != exitFailed || !strings.Contains(printed, text) {
			t.Errorf("%d %s, want %q", status, printed, text)
		}
	}
}

// A journal that can't be written, since its disk is read-only, ends the start.
func TestJournalOnAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	old := filepath.Join(dir, "old.db")
	s, err := store.OpenFile(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	// A program that another test starts has the file open until its exec.
	gatewaytest.WaitFor(t, "the disk to be read-only", func() bool {
		err = syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		if err != nil && err != syscall.EBUSY {
			t.Fatal(err)
		}
		return err == nil
	})
	for _, journal := range []string{old, filepath.Join(dir, "new.db"), filepath.Join(dir, "new", "creates.db")} {
		p := newProcessFor(t, "http://127.0.0.1:1", "creates: {file: "+journal+"}\n")
		refusesStart(t, p.file, dir, "journal", "read-only")
	}
}

// A disk that is full refuses creates before anything is sent, reads go on, and creates as well
// once there is room again.
func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	j := serveJournaled(t, "creates: {quarantine: 100ms, wait: 5s, file: "+filepath.Join(dir, "creates.db")+"}\n")
	full := filepath.Join(dir, "full")
	file, err := os.Create(full)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 64<<10))
	}
	file.Close()
	refused := 0
	for i := range 20 { // the write-ahead log may have some room left in the last block
		got := j.post(t, exports, j.export(fmt.Sprint("full", i)), nil)
		if got.Status == http.StatusServiceUnavailable && got.Header.Get("Gateway-Error") == "journal" && got.Header.Get("Gateway-Outcome") == "not_sent" {
			refused++
		} else if got.Status != http.StatusOK {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if jobs := len(j.atlas.Jobs()); refused == 0 || jobs+refused != 20 {
		t.Errorf("%d were refused, and Atlas made %d jobs", refused, jobs)
	}
	if status, body := get(t, j.Listener+exports); status != http.StatusOK {
		t.Errorf("a read: %d %s", status, body)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		gatewaytest.WaitFor(t, "room for a create", func() bool {
			return j.post(t, exports, j.export(fmt.Sprint("full", i)), nil).Status == http.StatusOK
		})
	}
	if jobs := len(j.atlas.Jobs()); jobs != 20 {
		t.Errorf("Atlas made %d jobs", jobs)
	}
}

// A disk that turns read-only, or no longer keeps what it is given, while the gateway runs:
// creates are refused before they are sent, reads go on, and everything goes on once the disk is
// right again.
func TestJournalOnADiskThatFails(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]string{
		"read-only": "pwrite64,write,ftruncate:error=EROFS",
		"no sync":   "fsync,fdatasync:error=EIO",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := serveJournaled(t, withJournal)
			before := idOf(t, j.post(t, exports, j.export("before"), nil))
			answer := j.sends(t, "on its way")
			recovered := j.breakDisk(t, inject)
			for i := range 3 {
				j.refused(t, fmt.Sprint("while it fails ", i))
			}
			onItsWay := idOf(t, answer())
			if again := j.post(t, exports, j.export("before"), nil); idOf(t, again) != before { // the journal can be read
				t.Errorf("%+v", again)
			}
			if jobs := len(j.atlas.Jobs()); jobs != 2 {
				t.Errorf("Atlas made %d jobs", jobs)
			}
			recovered()
			j.recovers(t, "after", map[string]string{"before": before, "on its way": onItsWay})
			j.stop(t)
		})
	}
}

// breakDisk has system calls on the journal's files fail until recovered is called.
func (j *journaled) breakDisk(t *testing.T, inject string) (recovered func()) {
	t.Helper()
	journal := filepath.Join(filepath.Dir(j.file), "creates.db")
	return j.breakFiles(t, inject, journal, journal+"-wal")
}

// breakFiles has system calls on files fail until recovered is called. strace does it.
func (j *journaled) breakFiles(t *testing.T, inject string, files ...string) (recovered func()) {
	t.Helper()
	tracer, err := exec.LookPath("strace")
	if err != nil {
		t.Skipf("strace is not installed (Debian's package strace has it): %v", err)
	}
	calls, _, _ := strings.Cut(inject, ":")
	command := exec.Command(tracer, "-f", "-p", fmt.Sprint(j.command.Process.Pid), "-o", os.DevNull, "-e", "trace="+calls, "-e", "inject="+inject)
	for _, file := range files {
		command.Args = append(command.Args, "-P", file)
	}
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	recovered = func() {
		command.Process.Signal(os.Interrupt)
		command.Wait()
	}
	t.Cleanup(func() { command.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "attached") {
			go func() {
				for lines.Scan() {
				}
			}()
			return recovered
		}
	}
	t.Skipf("strace may not trace here: %v", command.Wait())
	return nil
}

// A journal whose pages are overwritten while the gateway runs: each create is carried out once,
// or refused before it is sent. The log and the next start say what to do.
func TestDamagedJournal(t *testing.T) {
	gatewaytest.NeedProcess(t)
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "creates.db")
	s, err := store.OpenFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// More than stays in memory.
	if _, err := db.Exec(`WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
		INSERT INTO atlas_gateway_creates SELECT lower(hex(randomblob(32))), lower(hex(randomblob(16))), 'export', lower(hex(randomblob(32))),
			lower(hex(randomblob(32))), 'nightly', '', '', '', '', '', 'answered', '', ?1, ?1, ?1 + 86400000, lower(hex(randomblob(12))), 200, '', NULL, '', 0
		FROM number`, time.Now().UnixMilli()); err != nil {
		t.Fatal(err)
	}
	db.Close()
	j := serveJournaled(t, "creates: {quarantine: 100ms, wait: 5s, file: "+file+"}\n")
	for _, damaged := range []string{file, file + "-wal"} {
		overwrite(t, damaged)
	}
	sent, refused := 0, 0
	for i := 0; i < 20 || refused == 0 && i < 500; i++ { // until a damaged page is read
		switch got := j.post(t, exports, j.export(fmt.Sprint(i)), nil); {
		case got.Status == http.StatusOK:
			sent++
		case isRefused(got):
			refused++
		default:
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if status, body := get(t, j.Listener+exports); status != http.StatusOK {
		t.Errorf("a read: %d %s", status, body)
	}
	if jobs := len(j.atlas.Jobs()); jobs != sent || refused == 0 {
		t.Errorf("%d were sent and %d refused, and Atlas made %d jobs", sent, refused, jobs)
	}
	gatewaytest.WaitFor(t, "the log", func() bool {
		log := j.stderr.String()
		return strings.Contains(log, file+" is damaged") && strings.Contains(log, "move it away")
	})
	j.command.Process.Kill()
	j.command.Wait()
	refusesStart(t, j.file, file+" is damaged", "move it away")
}

// overwrite overwrites all pages of a file except the first.
func overwrite(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 4096 {
		if _, err := file.WriteAt(bytes.Repeat([]byte("\xa5"), int(info.Size())-4096), 4096); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that goes away for a while: creates are refused before they are sent, reads go on,
// and what was sent before is reconciled by itself once the database is there again. OUTAGE sets
// for how long it is away, such as 1m.
func TestJournalDatabaseGoesAway(t *testing.T) {
	gatewaytest.NeedProcess(t)
	t.Parallel()
	outage, err := time.ParseDuration(cmp.Or(os.Getenv("OUTAGE"), "1ms"))
	if err != nil {
		t.Fatal(err)
	}
	server := postgrestest.Start(t)
	j := serveJournaled(t, "creates: {journal: postgres, postgres_url_env: JOURNAL, quarantine: 100ms, wait: 5s}\n", "JOURNAL="+server.Database(t))
	before := idOf(t, j.post(t, exports, j.export("before"), nil))
	answer := j.sends(t, "on its way")
	server.Kill()
	onItsWay := idOf(t, answer())
	for until := time.Now().Add(outage); ; time.Sleep(time.Second) {
		j.refused(t, "while it is away")
		j.refused(t, "before")
		if time.Now().After(until) {
			break
		}
	}
	if _, metrics := get(t, j.Management+"/metrics"); !strings.Contains(metrics, "atlas_gateway_journal_up 0") {
		t.Error("the metric does not tell")
	}
	if jobs := len(j.atlas.Jobs()); jobs != 2 {
		t.Errorf("Atlas made %d jobs", jobs)
	}
	// Each gateway looks every few seconds. One that has not seen the outage does not tell of its
	// end.
	gatewaytest.WaitFor(t, "the log", func() bool { return strings.Contains(j.stderr.String(), "the journal can't be reached") })
	server.Restart(t)
	j.recovers(t, "after", map[string]string{"before": before, "on its way": onItsWay})
	gatewaytest.WaitFor(t, "the log", func() bool { return strings.Contains(j.stderr.String(), "the journal can be reached again") })
	j.stop(t)
}
