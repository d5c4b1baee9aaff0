package datapath

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// The server closes first, so that its end waits in TIME_WAIT, and speaks first, so that no data of the client's helps.
func TestPortsAreUsedAgainFromTimeWait(t *testing.T) {
	b := newChallenged(t)
	b.goodbyes(b.Bank.Listen(t, unspecified))
	b.set(ChallengeAlways)
	b.usePortsAgain()
	if c := b.cookies(); c.Reused != 38 || c.Refused != 0 {
		t.Errorf("cookies %+v", c)
	}
}

// tc ends no old connections for the kernel's cookies: the kernel gets their clients' SYNs itself.
func TestPortsAreUsedAgainUnderTheKernelsCookies(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.goodbyes(b.listenFallback())
		b.visits(b.Bank.Addr(bankPort), te.ConnectTimeout)
		must(t, b.tend())
		settle()
		before := b.txs()
		b.usePortsAgain()
		if n, c := b.txs()-before, b.cookies(); n != 2 || c.Kernel < 2 || c.Reused != 0 {
			t.Errorf("%d SYNs were answered, cookies %+v", n, c)
		}
	})
}

func (b *challenged) goodbyes(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "bye")
			c.Close()
		}
	}()
}

func (b *challenged) usePortsAgain() {
	t := b.t
	t.Helper()
	for _, row := range []struct {
		from net.TCPAddr
		to   netip.AddrPort
	}{
		{net.TCPAddr{Port: 33333}, b.Bank.Addr(bankPort)},
		{net.TCPAddr{Port: 33334}, b.Bank.Addr6(bankPort)},
	} {
		for i := range 20 {
			start := time.Now()
			var c net.Conn
			var err error
			b.Customer.Do(t, func() {
				d := net.Dialer{LocalAddr: &row.from, Timeout: te.ConnectTimeout}
				c, err = d.Dial("tcp", row.to.String())
			})
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(te.ConnectTimeout)))
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "bye" || time.Since(start) > 200*time.Millisecond {
				t.Errorf("connection %d from %v: %q, %v after %v", i, row.from.Port, got, err, time.Since(start))
			}
			c.Close()
			time.Sleep(20 * time.Millisecond)
		}
	}
}
