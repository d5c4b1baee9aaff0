package datapath

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// tcpInfo is what the kernel tells of a connection.
func tcpInfo(t *testing.T, c net.Conn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	must(t, err)
	var failed error
	must(t, raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	must(t, failed)
	return info
}

// A listener with a small receive buffer is sent no more at first than there is room for: what is beyond would be lost, and sent
// again.
func TestSmallReceiveBuffers(t *testing.T) {
	b := newChallenged(t)
	b.serve(b.listenWith(unspecified, false, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) }))
	windows := map[Challenge]uint32{}
	for _, when := range []Challenge{ChallengeNever, ChallengeAlways} {
		b.set(when)
		c := b.dial(b.Bank.Addr(bankPort))
		windows[when] = tcpInfo(t, c).Snd_wnd
		roundTrip(t, c)
		if n := tcpInfo(t, c).Total_retrans; n != 0 {
			t.Errorf("%v: %d segments were sent again", when, n)
		}
	}
	if n, c := windows[ChallengeNever], windows[ChallengeAlways]; c == 0 || c > 2*n {
		t.Errorf("windows of %d bytes by the kernel, %d under challenge", n, c)
	}
	if b.txs() != 1 {
		t.Errorf("%d SYNs were challenged", b.txs())
	}
}
