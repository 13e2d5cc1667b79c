package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A clock is the clock of a process that a test has started. The test sets it while the process
// runs.
//
// Go reads the clock by a function that the kernel maps into each process, the vDSO's, and so
// nothing that a library or an environment does reaches it. The test replaces that function in the
// memory of the process, before the program's first instruction, with one that asks the kernel by
// a system call and adds seconds to the answer. The program is unchanged.
type clock struct {
	memory *os.File
	added  int64 // address of the seconds that are added: two numbers of 64 bits
	wall   time.Duration
	passed time.Duration
}

// clockCode is clock_gettime(edi, *rsi). Behind it are the seconds that are added to CLOCK_REALTIME,
// which is 0, and to CLOCK_MONOTONIC, which is 1.
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x83, 0xff, 1, // cmp edi, 1
	0x77, 16, // ja end
	0x89, 0xf9, // mov ecx, edi
	0x48, 0x8d, 0x15, 11, 0, 0, 0, // lea rdx, [added]
	0x48, 0x8b, 0x0c, 0xca, // mov rcx, [rdx+8*rcx]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,    // end: ret
	0, 0, 0, // added is at 32
}

// startWithClock starts a command whose clock the test can set. It returns errNoClock where the
// kernel does not allow that.
func startWithClock(command *exec.Cmd) (*clock, error) {
	// Only the thread that has started the command may let it go on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoClock, err)
	}
	c, err := takeClock(command.Process.Pid)
	if err != nil {
		command.Process.Kill()
		command.Wait()
		return nil, fmt.Errorf("%w: %w", errNoClock, err)
	}
	return c, nil
}

// takeClock waits for the first instruction of a process that this thread has started, replaces the
// clock and lets the process go on.
func takeClock(pid int) (*clock, error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return nil, fmt.Errorf("waiting for the start: %v, %x", err, status)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	at, err := findClock(pid, memory)
	c := &clock{memory: memory, added: at + int64(len(clockCode))}
	if err == nil {
		_, err = memory.WriteAt(slices.Concat(clockCode, make([]byte, 16)), at)
	}
	if err == nil {
		err = syscall.PtraceDetach(pid)
	}
	if err == nil {
		err = c.add(0, 0) // which a kernel may refuse for a process that is not traced
	}
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return c, nil
}

var errNoClock = errors.New("the clock of a process can't be set here")

// findClock returns the address of the vDSO's clock_gettime in a process.
func findClock(pid int, memory io.ReaderAt) (int64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$`).FindSubmatch(maps)
	if found == nil {
		return 0, errors.New("there is no vDSO")
	}
	from, _ := strconv.ParseInt(string(found[1]), 16, 64)
	to, _ := strconv.ParseInt(string(found[2]), 16, 64)
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return 0, err
	}
	vdso, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := vdso.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(clockCode)+16) && s.Value%8 == 0 {
			return from + int64(s.Value), nil
		}
	}
	return 0, errors.New("the vDSO has no clock_gettime that can be replaced")
}

// add adds to one of the kernel's clocks, by its number, from now on.
func (c *clock) add(number int64, d time.Duration) error {
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second)), c.added+8*number)
	return err
}

// set sets the time of day ahead, or back by less than nothing, as somebody at the machine does. The
// time that passes stays as it is. Parts of a second do not count.
func (c *clock) set(t *testing.T, by time.Duration) {
	t.Helper()
	c.wall += by
	if err := c.add(0, c.wall); err != nil {
		t.Fatal(err)
	}
}

// pass has time pass. Parts of a second do not count.
func (c *clock) pass(t *testing.T, d time.Duration) {
	t.Helper()
	c.passed += d
	if err := c.add(1, c.passed); err != nil {
		t.Fatal(err)
	}
	c.set(t, d)
}

// serveWithClock is serveProcess with a clock that the test can set. It skips the test where that
// can't be done.
func serveWithClock(t *testing.T, config string, environ ...string) (*process, *clock) {
	t.Helper()
	p := newProcess(t, config, environ...)
	var c *clock
	p.start(t, func() (err error) {
		c, err = startWithClock(p.command)
		if errors.Is(err, errNoClock) {
			t.Skip(err)
		}
		return err
	})
	t.Cleanup(func() { c.memory.Close() })
	return p, c
}
