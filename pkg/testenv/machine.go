package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Machine is a host with a Debian 12 of its own, on which systemd runs: a fresh one each time, whose changes are gone
// when it ends. It shares the kernel with this machine, and the network with its Host.
type Machine struct {
	*Host
	boot   *Process
	leader string // process number of its systemd
}

// BootOptions say what a Machine has besides Debian's base.
type BootOptions struct {
	Binds []string // files and folders of this machine that it sees, "HERE:THERE", or "HERE:THERE:ro"
}

// Boot boots a Machine in the network of a host. Root there has what root needs for BPF, and bpffs is mounted. It is slow the first
// time, when scripts/debian makes the file system.
func Boot(t testing.TB, h *Host, o BootOptions) *Machine {
	t.Helper()
	Root(t)
	Tool(t, "debootstrap", "systemd-nspawn", "slirp4netns", "nsenter")
	repo := repository(t)
	if out, err := exec.Command(filepath.Join(repo, "scripts/debian")).CombinedOutput(); err != nil {
		t.Fatalf("scripts/debian: %v\n%s", err, out)
	}
	debian := filepath.Join(repo, ".build/debian")
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver "+uplinkDNS+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	debs := filepath.Join(debian, "debs", strings.ReplaceAll(t.Name(), "/", "-"), h.Name) // apt locks it
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--quiet", "--boot", "--directory=" + debian + "/root", "--read-only", "--volatile=overlay",
		"--hostname=" + h.Name, "--machine=" + h.netns, "--kill-signal=SIGKILL", "--register=no", "--keep-unit", "--console=pipe",
		"--network-namespace-path=" + h.path(), "--resolv-conf=off", "--bind-ro=" + resolver + ":/etc/resolv.conf",
		"--bind=" + debs + ":/var/cache/apt/archives",
		"--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN", "--system-call-filter=bpf perf_event_open",
	}
	for _, b := range o.Binds {
		there, ro := strings.CutSuffix(b, ":ro")
		if ro {
			args = append(args, "--bind-ro="+there)
		} else {
			args = append(args, "--bind="+there)
		}
	}
	local := Local()
	cmd := local.Command(context.Background(), "systemd-nspawn", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM // which it hands on as SIGKILL: its systemd outlives one that is killed
	m := &Machine{Host: h, boot: local.StartCmd(t, cmd)}
	Eventually(t, time.Minute, "boot of "+h.Name, m.booted)
	// systemd does so, but not in containers, whose /sys has no place for it.
	m.enter(t, "sh", "-c", "mount -o remount,rw /sys && mkdir /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf && mount -o remount,ro /sys")
	return m
}

// booted tells whether systemd has done all that it had to do.
func (m *Machine) booted() bool {
	pid := m.boot.PID()
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	f := strings.Fields(string(children))
	if len(f) != 1 {
		return false
	}
	m.leader = f[0]
	out, _ := m.Host.Command(context.Background(), "nsenter", m.nsenter("systemctl", "is-system-running")...).Output()
	state := strings.TrimSpace(string(out))
	return state == "running" || state == "degraded"
}

// Path is where this machine sees a file or a socket of the Machine.
func (m *Machine) Path(path string) string { return "/proc/" + m.leader + "/root" + path }

// nsenter is for a command in the machine's namespaces, but with none of its limits.
func (m *Machine) nsenter(args ...string) []string {
	return append([]string{"--target=" + m.leader, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"}, args...)
}

func (m *Machine) enter(t testing.TB, args ...string) {
	t.Helper()
	run(t, "", "nsenter", m.nsenter(args...)...)
}

// Command prepares a command as root of the machine, with a surrounding as a service has, and the rights of the machine's
// root. What it started is ended with the machine, not with ctx.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	args = append([]string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec", "--", name}, args...)
	return Local().Command(ctx, "nsenter", m.nsenter(args...)...)
}

// Run runs a command as Command does, to its end, and gives what it printed; the test ends if it errs or takes longer.
func (m *Machine) Run(t testing.TB, timeout time.Duration, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	out, err := m.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s %s: %v\n%s", m.Name, name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start starts a command as Command does.
func (m *Machine) Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return m.StartCmd(t, m.Command(context.Background(), name, args...))
}

// repository is the folder of go.mod.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir
		}
		if dir == "/" {
			break
		}
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}
