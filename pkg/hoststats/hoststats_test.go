package hoststats

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func TestThisMachine(t *testing.T) {
	h := New()
	for range 2 {
		if x, err := h.CPU(); err != nil || x < 0 || x > 100 {
			t.Errorf("CPU %v, %v", x, err)
		}
	}
	if x, err := h.RAM(); err != nil || x <= 0 || x >= 100 {
		t.Errorf("RAM %v, %v", x, err)
	}
	if x, err := h.TCP(); err != nil || x.Established < 0 {
		t.Errorf("TCP %+v, %v", x, err)
	}
	iface, err := DefaultInterface()
	if err != nil && !strings.Contains(err.Error(), "--interface") {
		t.Errorf("the error has no mend: %v", err)
	}
	if err == nil {
		if _, err := net.InterfaceByName(iface); err != nil {
			t.Errorf("interface %q: %v", iface, err)
		}
	}
}

const inside = "WEIR_TEST_INSIDE_NAMESPACE"

// TestOwnNamespace runs itself in a network namespace of its own, where every number is known.
func TestOwnNamespace(t *testing.T) {
	if os.Getenv(inside) != "" {
		t.Run("TCP", testTCP)
		t.Run("DefaultInterface", testDefaultInterface)
		return
	}
	te.Root(t)
	te.Tool(t, "ip")
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestOwnNamespace$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestOwnNamespace/DefaultInterface") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	cmd := exec.Command("ip", strings.Fields(args)...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if cmd.Err != nil {
		cmd.Path, cmd.Err = "/sbin/ip", nil
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

func testTCP(t *testing.T) {
	h := New()
	expect := func(name string, want TCP) {
		t.Helper()
		if got, err := h.TCP(); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	expect("a new namespace", TCP{})

	ip(t, "link set lo up")
	const backlog, more = 2, 3
	address := listen(t, backlog)
	var conns []net.Conn
	for range backlog + 1 { // Linux lets one more in than the backlog says
		c, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	expect("both ends of each connection", TCP{Established: 2 * len(conns)})

	for range more {
		connectAndForget(t, address)
	}
	got, err := h.TCP()
	if err != nil || got.ListenOverflows < more || got.ListenDrops < got.ListenOverflows {
		t.Errorf("SYNs to a full queue: %+v, %v", got, err)
	}
	for _, c := range conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	if got, err := h.TCP(); err != nil || got.Established != 0 {
		t.Errorf("after reset: %+v, %v", got, err)
	}
}

// listen opens a listener that never accepts, with a backlog that package net doesn't let choose.
func listen(t *testing.T, backlog int) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	address := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 4711}
	if err := syscall.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:4711"
}

// connectAndForget sends a SYN and doesn't wait.
func connectAndForget(t *testing.T, address string) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: [4]byte(a.IP.To4()), Port: a.Port})
	if err != nil && err != syscall.EINPROGRESS {
		t.Fatal(err)
	}
}

func testDefaultInterface(t *testing.T) {
	expect := func(name, want string) {
		t.Helper()
		got, err := DefaultInterface()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "--interface") {
			t.Errorf("%s: the error has no mend: %v", name, err)
		}
	}
	expect("no route", "")
	ip(t, "link add six type veth peer name four")
	ip(t, "link set six up")
	ip(t, "link set four up")
	ip(t, "-6 route add default dev six metric 10")
	expect("IPv6 alone", "six")
	ip(t, "-4 route add default dev four metric 4294967295")
	expect("IPv4 first", "four")
	ip(t, "-4 route add default dev six metric 10")
	expect("the lower metric", "six")
	ip(t, "-4 route add blackhole default metric 1")
	expect("a black hole has no interface", "six")
}

func BenchmarkTCP(b *testing.B) {
	h := New()
	for b.Loop() {
		if _, err := h.TCP(); err != nil {
			b.Fatal(err)
		}
	}
}
