package testenv

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serve answers HTTP at an address of the host.
func serve(t *testing.T, h *Host, addr netip.AddrPort) {
	l := h.Listen(t, addr)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "balance") }))
	}()
}

func TestHostsReachEachOther(t *testing.T) {
	n := Bank(t)
	a, b := Pair(t)
	for _, tt := range []struct {
		name     string
		from, to *Host
		addr     netip.AddrPort
	}{
		{"customer to bank", n.Customer, n.Bank, n.Bank.Addr(80)},
		{"attacker to bank, IPv6", n.Attacker, n.Bank, n.Bank.Addr6(80)},
		{"pair", b, a, a.Addr(80)},
		{"pair, IPv6", b, a, a.Addr6(80)},
		{"loopback", n.Customer, n.Customer, netip.MustParseAddrPort("127.0.0.1:80")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, tt.to, tt.addr)
			got := Connects(t, tt.from, ConnectOptions{Target: tt.addr, N: 20, Concurrency: 4, Path: "/"})
			if got.OK != 20 || got.Failed != 0 || len(got.Latencies) != 20 {
				t.Error(got)
			}
		})
	}
}

func TestConnectsTellsFailures(t *testing.T) {
	a, b := Pair(t)
	got := Connects(t, b, ConnectOptions{Target: a.Addr(81), N: 3})
	if got.OK != 0 || got.Failed != 3 || len(got.Errors) != 1 || !strings.Contains(got.Errors[0], "refused") {
		t.Error(got)
	}
}

func TestDoComesBack(t *testing.T) {
	a, b := Pair(t)
	ns := func() string {
		link, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return link
	}
	before, inA, again, inB := ns(), "", "", ""
	a.Do(t, func() {
		inA = ns()
		b.Do(t, func() { inB = ns() })
		again = ns()
	})
	if inA == before || inB == before || inA == inB || again != inA || ns() != before {
		t.Error(before, inA, inB, again, ns())
	}
}

func TestCommandSeesTheMachinesFiles(t *testing.T) {
	a, _ := Pair(t)
	if out := a.Run(t, "ip", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(out, a.IPv4.String()) {
		t.Error(out)
	}
	dir := PinDir(t)
	a.Run(t, "test", "-d", dir)
}

func TestStopEndsChildrenToo(t *testing.T) {
	a, _ := Pair(t)
	p := a.Start(t, "sh", "-c", "trap '' TERM; sleep 1000 & echo child $!; wait")
	p.Await(t, "child ", 5*time.Second)
	child := strings.Fields(p.Output())[1]
	p.Kill()
	if _, err := os.Stat("/proc/" + child); err != nil {
		t.Fatal("Kill is for the process alone:", err)
	}
	p.Stop()
	Eventually(t, 5*time.Second, "end of the child", func() bool { return gone(child) })
}

// gone tells whether a process has ended; nobody may have waited for it yet.
func gone(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestNothingIsLeft(t *testing.T) {
	var netns, pins string
	var p *Process
	t.Run("test", func(t *testing.T) {
		n := Bank(t)
		netns, pins = n.Bank.path(), PinDir(t)
		// setsid: out of the process group, as a daemon is.
		p = n.Bank.Start(t, "setsid", "--fork", "sh", "-c", "echo daemon $$; exec sleep 1000")
		p.Await(t, "daemon ", 5*time.Second)
	})
	daemon := strings.Fields(p.Output())[1]
	for _, path := range []string{netns, pins} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	Eventually(t, 5*time.Second, "end of the daemon", func() bool { return gone(daemon) })
}

func TestReapRemovesWhatTheDeadLeft(t *testing.T) {
	was := exec.Command("true")
	if err := was.Run(); err != nil {
		t.Fatal(err)
	}
	Root(t)
	old := prefix + strconv.Itoa(was.Process.Pid) + "-1-bank"
	alive := prefix + strconv.Itoa(os.Getppid()) + "-1-bank" // go test
	run(t, "", "ip", "netns", "add", old)
	run(t, "", "ip", "netns", "add", alive)
	t.Cleanup(func() { run(t, "", "ip", "netns", "del", alive) })
	left := (&Host{Name: "old", netns: old}).Start(t, "sh", "-c", "echo started; exec sleep 1000")
	left.Await(t, "started", 5*time.Second)
	pins := filepath.Join(filepath.Dir(PinDir(t)), old)
	if err := os.Mkdir(pins, 0o700); err != nil {
		t.Fatal(err)
	}
	reap(dead)
	for path, want := range map[string]bool{filepath.Join(netnsDir, old): false, pins: false, filepath.Join(netnsDir, alive): true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %t, %v", path, err == nil, err)
		}
	}
	Eventually(t, 5*time.Second, "end of the process left behind", func() bool { return gone(strconv.Itoa(left.PID())) })
}

func TestLocalHost(t *testing.T) {
	Root(t)
	h := Local()
	l := h.Listen(t, netip.AddrPortFrom(h.IPv4, 0))
	conn, err := h.Dial(t.Context(), "tcp", l.Addr().(*net.TCPAddr).String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
