package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A machine is a copy of this one, on which systemd runs.
type machine struct {
	t    *testing.T
	init int // the process id of its systemd, seen from here
}

// boot boots a machine, which ends with the test.
func boot(t *testing.T) machine {
	t.Helper()
	needsRoot(t, "nsenter", "dpkg", "deb-systemd-invoke", "systemd-sysusers", "/lib/systemd/systemd")
	folder, group := t.TempDir(), "atlas-rehearsal-"+strconv.Itoa(os.Getpid())
	var log bytes.Buffer
	command := exec.Command("unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "sh", must(filepath.Abs("testdata/boot.sh")), folder, group)
	command.Stdout, command.Stderr = &log, &log
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		command.Process.Kill() // and with it, by --kill-child, everything that runs in the machine
		<-ended
		removeGroups(t, group)
	})
	m := machine{t: t}
	deadline := time.Now().Add(time.Minute)
	for {
		select {
		case err := <-ended:
			ended <- nil
			if command.ProcessState.ExitCode() == 77 {
				t.Skipf("this machine can't boot systemd in namespaces: %s", &log)
			}
			t.Fatalf("%v: %s", err, &log)
		case <-time.After(100 * time.Millisecond):
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", command.Process.Pid))
		if m.init, _ = strconv.Atoi(strings.TrimSpace(string(children))); err == nil && m.init != 0 {
			if state, _ := m.command("systemctl", "is-active", "basic.target").Output(); string(state) == "active\n" {
				return m
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("basic.target is not active: %s", &log)
		}
	}
}

// removeGroups removes the control groups of a machine whose processes have ended.
func removeGroups(t *testing.T, group string) {
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		folder, deadline := filepath.Join(top, group), time.Now().Add(10*time.Second)
		for {
			shell("/", nil, `[ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} +`, folder)
			if _, err := os.Stat(folder); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s is still there", folder)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func (m machine) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root",
		"env", "-i", "--chdir=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

// run runs commands on the machine and returns what they print.
func (m machine) run(commands string) string {
	m.t.Helper()
	output, err := m.command("sh", "-euc", commands).CombinedOutput()
	if err != nil {
		journal, _ := m.command("journalctl", "--no-pager", "--lines=40").CombinedOutput()
		m.t.Fatalf("%s: %v\n%s\n%s", commands, err, output, journal)
	}
	return string(output)
}

// expect fails where commands print something else, whatever their exit status is.
func (m machine) expect(want, commands string) {
	m.t.Helper()
	if output, _ := m.command("sh", "-uc", commands).CombinedOutput(); string(output) != want {
		m.t.Errorf("%s: %q, want %q", commands, output, want)
	}
}

// send puts a file of this machine there.
func (m machine) send(from, to string) {
	m.t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	command := m.command("sh", "-euc", `umask 077; cat >"$1"`, "sh", to)
	command.Stdin = bytes.NewReader(content)
	if output, err := command.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v, %s", to, err, output)
	}
}

// free returns an address of loopback that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// upgraded returns the package of the gateway in a later version than the release's.
func upgraded(t *testing.T) (file string) {
	t.Helper()
	folder, err := clone("upgrade", final)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSource(t.Context(), folder, final, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	staged, programs := filepath.Join(work, "staged"), ""
	if err = s.stage(staged, nil); err == nil {
		programs, err = s.build(t.Context(), work, host, "atlas-gateway")
	}
	if err != nil {
		t.Fatal(err)
	}
	name, content, err := s.debian("atlas-gateway", staged, programs, host)
	if err == nil {
		err = os.WriteFile(filepath.Join(work, name), content, 0o644)
	}
	if err != nil || name != "atlas-gateway_0.0.1_"+host.arch+".deb" {
		t.Fatalf("%s: %v", name, err)
	}
	return filepath.Join(work, name)
}

// The packages are installed, configured as docs/operate.md says, started, upgraded, removed and
// purged, on a machine with systemd.
func TestDebian(t *testing.T) {
	t.Parallel()
	dist := filepath.Join(release(t), "dist")
	gateway, origin := programOf(t, "atlas-gateway"), simulation(t)
	next := upgraded(t)
	m := boot(t)
	for _, name := range packages {
		m.send(filepath.Join(dist, name+"_0.0.1~rehearsal.1_"+host.arch+".deb"), "/root/"+name+".deb")
	}
	m.send(next, "/root/next.deb")
	m.run("dpkg --install /root/atlas-gateway.deb /root/atlas-export.deb")

	// Nothing has been started, and nothing will be by itself.
	m.expect("disabled\ndisabled\n", "systemctl is-enabled atlas-gateway.service atlas-gateway.socket")
	m.expect("inactive\ninactive\n", "systemctl is-active atlas-gateway.service atlas-gateway.socket")
	m.expect("atlas-gateway "+candidate+"\n", "atlas-gateway version")
	m.expect("atlas-export "+candidate+"\n", "atlas-export version")
	user := m.run("getent passwd atlas-gateway")
	fields := regexp.MustCompile(`^atlas-gateway:[!x*]+:(\d{1,3}):\d{1,3}:[^:]*:/[^:]*:/usr/sbin/nologin\n$`).FindStringSubmatch(user)
	if fields == nil {
		t.Fatalf("the user is %q", user)
	}
	uid, _ := strconv.Atoi(fields[1])

	configuration := m.run("cat /etc/atlas-gateway/atlas-gateway.yaml")
	settings, address, management := filepath.Join(rehearsed, "packaged"), free(t), free(t)
	nightly := configure(t, gateway, settings, []byte(configuration))
	for _, name := range []string{"atlas-gateway.yaml", "signing.key", "nightly.ha1", "tls.crt", "tls.key", "atlas-public-key", "atlas-private-key"} {
		m.send(filepath.Join(settings, name), "/etc/atlas-gateway/"+name)
	}
	m.run("chmod 644 /etc/atlas-gateway/atlas-gateway.yaml; mkdir /etc/systemd/system/atlas-gateway.service.d; " +
		"printf '[Service]\\nEnvironment=ATLAS_GATEWAY_UPSTREAM_BASE_URL=" + origin + "\\nEnvironment=ATLAS_GATEWAY_LISTENER_ADDRESS=" + address +
		"\\nEnvironment=ATLAS_GATEWAY_MANAGEMENT_ADDRESS=" + management + "\\nEnvironment=ATLAS_GATEWAY_TIMEOUTS_DRAIN=1ms\\n' >/etc/systemd/system/atlas-gateway.service.d/rehearsal.conf; " +
		"systemctl daemon-reload; systemctl enable --now atlas-gateway.service")
	first := m.serves(uid, management)
	m.send(filepath.Join(settings, "tls.crt"), "/root/authority.crt")
	m.run("umask 077; printf %s " + nightly.private + " >/root/private-key")
	list := "atlas-export exports list --base-url https://" + address + " --ca-file /root/authority.crt --public-key " + nightly.public +
		" --private-key-file /root/private-key --group " + nightly.group + " --cluster orders"
	m.run(list)
	m.run("test -s /var/lib/atlas-gateway/creates.db")

	// An upgrade keeps the configuration and the journal, and what ran is the new version.
	m.run("dpkg --install /root/next.deb")
	if second := m.serves(uid, management); second == first {
		t.Error("the upgrade has not restarted the service")
	}
	m.expect("atlas-gateway "+final+"\n", "atlas-gateway version")
	m.expect("enabled\n", "systemctl is-enabled atlas-gateway.service")
	m.run(list)
	m.restarts(uid, address, management, filepath.Join(settings, "tls.crt"))
	m.run(list)

	m.run("dpkg --remove atlas-gateway")
	m.expect("inactive\ninactive\n", "systemctl is-active atlas-gateway.service atlas-gateway.socket")
	m.run("test -s /etc/atlas-gateway/atlas-gateway.yaml -a -s /var/lib/private/atlas-gateway/creates.db; test ! -e /etc/systemd/system/multi-user.target.wants/atlas-gateway.service")

	// A purge leaves what the package has not brought: the secrets.
	m.run("dpkg --purge atlas-gateway atlas-export")
	m.expect("atlas-private-key\natlas-public-key\nnightly.ha1\nsigning.key\ntls.crt\ntls.key\n", "ls /etc/atlas-gateway")
	m.run("for file in /usr/bin/atlas-gateway /usr/bin/atlas-export /var/lib/atlas-gateway /var/lib/private/atlas-gateway /usr/lib/systemd/system/atlas-gateway.service; do test ! -e $file; done; ! dpkg --status atlas-gateway")
}

// serves waits until the service is ready, as the package's user, and returns its process.
func (m machine) serves(uid int, management string) (pid string) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer, err := http.Get("http://" + management + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the service is not ready: %v\n%s", err, m.run("journalctl --no-pager --lines=40"))
		}
	}
	m.expect("active\n", "systemctl is-active atlas-gateway.service")
	pid = strings.TrimSpace(m.run("systemctl show --property MainPID --value atlas-gateway.service"))
	status := m.run("cat /proc/" + pid + "/status")
	if line := fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", uid); !strings.Contains(status, line) {
		m.t.Errorf("the service's status lacks %q:\n%s", line, status)
	}
	return pid
}
