package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Host is a network namespace: interfaces, addresses, ports and sysctls of its own. Files and processes it shares with
// the machine.
type Host struct {
	Name      string
	Interface string // of its only link
	MAC       net.HardwareAddr
	IPv4      netip.Addr
	IPv6      netip.Addr

	netns string // "" for the machine itself
	net   *Net
}

// Local is the machine itself, for what isn't to run in a namespace.
func Local() *Host {
	return &Host{
		Name: "machine", Interface: "lo",
		IPv4: netip.AddrFrom4([4]byte{127, 0, 0, 1}), IPv6: netip.IPv6Loopback(),
	}
}

func (h *Host) path() string { return filepath.Join(netnsDir, h.netns) }

// Addr is the host's IPv4 address with a port.
func (h *Host) Addr(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.IPv4, port) }

// Addr6 is the host's IPv6 address with a port.
func (h *Host) Addr6(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.IPv6, port) }

// Do runs fn in the host, on the calling goroutine: sockets that it opens are the host's for good. Goroutines that it
// starts are not in the host, and /proc/net isn't the host's either (/proc/thread-self/net is).
func (h *Host) Do(t testing.TB, fn func()) {
	t.Helper()
	if err := h.enter(fn); err != nil {
		t.Fatal(err)
	}
}

// enter puts the thread back afterwards. It must not let the thread die instead: children that it has started are told
// to die with it (see Command).
func (h *Host) enter(fn func()) error {
	if h.netns == "" {
		fn()
		return nil
	}
	there, err := os.Open(h.path())
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter host %s: %w", h.Name, err)
	}
	defer func() {
		if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else nobody may use this thread again
		}
	}()
	fn()
	return nil
}

// Command prepares a process in the host and in a process group of its own, which is killed when ctx ends. It dies with
// this process, and in any case when its host is removed. Not by `ip netns exec`, which hides /sys/fs/bpf.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if path, err := lookPath(name); err == nil {
		name = path
	}
	if h.netns != "" {
		args = append([]string{"--net=" + h.path(), "--", name}, args...)
		name = "nsenter"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = 2 * time.Second // for a daemon that has kept the output open
	return cmd
}

// Run runs a command in the host to its end, 30 s at most, and gives what it printed; the test ends if it errs.
func (h *Host) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s %s: %v\n%s", h.Name, name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Sysctl sets a setting of the host's network, as "net/ipv4/tcp_syncookies".
func (h *Host) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	var err error
	h.Do(t, func() { err = os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

// Dial connects from the host; the address must be a literal one.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var conn net.Conn
	var err error
	if e := h.enter(func() { conn, err = new(net.Dialer).DialContext(ctx, network, addr) }); e != nil {
		return nil, e
	}
	return conn, err
}

// Listen opens a plain TCP listener (not MPTCP, Go's default) in the host; it is closed when the test ends.
func (h *Host) Listen(t testing.TB, addr netip.AddrPort) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	h.Do(t, func() { l, err = cfg.Listen(context.Background(), "tcp", addr.String()) })
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ip gives commands to ip(8), one a line.
func (h *Host) ip(t testing.TB, lines ...string) {
	t.Helper()
	run(t, strings.Join(lines, "\n")+"\n", "ip", "-n", h.netns, "-batch", "-")
}
