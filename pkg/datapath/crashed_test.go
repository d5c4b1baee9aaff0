package datapath

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// vanish ends a connection as a crash does: the other end learns nothing.
func vanish(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	}))
	must(t, err)
	must(t, c.Close())
}

// A client that has crashed comes back from the same port while its connection is still open in the bank. The kernel would
// answer its SYN by a challenge ACK (RFC 5961 section 4.2).
func TestCrashedClientsComeBack(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeAlways)
	for _, row := range []struct {
		from net.TCPAddr
		to   netip.AddrPort
	}{
		{net.TCPAddr{Port: 33333}, b.Bank.Addr(bankPort)},
		{net.TCPAddr{Port: 33334}, b.Bank.Addr6(bankPort)},
	} {
		before := b.cookies()
		for i := range 5 {
			start := time.Now()
			var c net.Conn
			var err error
			b.Customer.Do(t, func() {
				d := net.Dialer{LocalAddr: &row.from, Timeout: te.ConnectTimeout}
				d.SetMultipathTCP(false)
				c, err = d.Dial("tcp", row.to.String())
			})
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(te.ConnectTimeout)))
			_, err = io.WriteString(c, "hello\n")
			must(t, err)
			if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "hello\n" {
				t.Errorf("connection %d to %v: %q, %v after %v", i, row.to, got, err, time.Since(start))
			}
			vanish(t, c)
		}
		if now := b.cookies(); now.Reused-before.Reused != 4 || now.Refused != 0 {
			t.Errorf("to %v: cookies %+v, before %+v", row.to, now, before)
		}
	}
}

// A SYN whose answer from the kernel was lost is repeated when the challenge is on: two answers, one connection.
func TestRepeatedSYNsAreChallenged(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeNever)
	b.Customer.Sysctl(t, "net/ipv4/tcp_syn_linear_timeouts", "4") // a SYN each second; the bank repeats after 1 s and 2 more
	b.Customer.Run(t, "nft", "add table ip lossy; add chain ip lossy in { type filter hook input priority 0; }; "+
		"add rule ip lossy in tcp flags syn,ack / syn,ack drop")
	go func() {
		time.Sleep(1500 * time.Millisecond)
		b.set(ChallengeAlways)
		b.Customer.Run(t, "nft", "delete table ip lossy")
	}()
	start := time.Now()
	c := b.dial(b.Bank.Addr(bankPort))
	if d := time.Since(start); d < 1500*time.Millisecond {
		t.Errorf("connected after %v", d)
	}
	roundTrip(t, c)
	if got := b.cookies(); got.Accepted != 1 || got.Reused != 1 || got.Refused != 0 {
		t.Errorf("cookies %+v", got)
	}
}
