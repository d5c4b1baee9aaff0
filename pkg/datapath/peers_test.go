package datapath

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// peers sums the counters, and tells whether they may be relied on.
func (b *challenged) peers() (sum int, known bool) {
	b.t.Helper()
	m := b.openMap(bpfMapPeers)
	for i := range m.MaxEntries() {
		var n uint32
		must(b.t, m.Lookup(i, &n))
		sum += int(n)
	}
	var state bpfWeirSpoofing
	must(b.t, b.a.spoofing.Lookup(only, &state))
	return sum, state.Peers == peersKnown
}

// reset ends a connection by a RST.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	must(t, errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()))
}

// A RST over budget is dropped without looking for its socket where the bank has none with its source. Those that it has, by either
// end's wish and since whenever, are ended by their peers' RSTs at once.
func TestPeersMayReset(t *testing.T) {
	b := newChallenged(t)
	must(t, b.a.Close())
	b.Bank.Do(t, func() {
		_, err := Unload(b.opts.BPFFS, b.opts.Interface)
		must(t, err)
	})
	theirs := b.Customer.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), 443))
	ours := b.Bank.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort))
	type pair struct{ bank, customer net.Conn }
	accept := func(l net.Listener) net.Conn {
		c, err := l.Accept()
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	var all []pair
	connect := func() {
		for _, to := range []struct{ bank, customer netip.AddrPort }{
			{b.Bank.Addr(bankPort), b.Customer.Addr(443)}, {b.Bank.Addr6(bankPort), b.Customer.Addr6(443)},
		} {
			c := b.dial(to.bank)
			all = append(all, pair{accept(ours), c})
			c, err := b.Bank.Dial(t.Context(), "tcp", to.customer.String())
			must(t, err)
			t.Cleanup(func() { c.Close() })
			all = append(all, pair{c, accept(theirs)})
		}
	}
	connect() // before there is anybody to count
	b.Bank.Do(t, func() {
		var err error
		b.a, err = Attach(b.opts)
		must(t, err)
	})
	connect()
	if n, known := b.peers(); n != 8 || !known {
		t.Fatalf("%d sockets with peers, known: %v; want 8", n, known)
	}
	b.enable(DefaultLimit)
	b.budgets(ClassRST)
	b.Bank.Do(t, func() { // a sensor that comes later counts nothing twice
		again, err := Attach(b.opts)
		must(t, err)
		must(t, again.Close())
	})
	for i, p := range all {
		reset(t, p.customer)
		must(t, p.bank.SetReadDeadline(time.Now().Add(te.ConnectTimeout)))
		if _, err := p.bank.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	c, err := b.a.Counters()
	must(t, err)
	if n := c.Total(VerdictDrop, ReasonTotalRate).Packets; n != 0 {
		t.Errorf("%d packets were dropped", n)
	}
	stray := te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: b.Attacker.IPv4, Dst: b.Bank.IPv4,
		L4: te.TCP{SrcPort: 443, DstPort: bankPort, Flags: te.RST}}
	var strays [][]byte
	for range 10 {
		strays = append(strays, stray.Bytes())
	}
	te.SendFrames(t, b.Attacker, b.Attacker.Interface, strays)
	te.Eventually(t, te.ConnectTimeout, "drops of strays", func() bool {
		c, err := b.a.Counters()
		must(t, err)
		return c.Total(VerdictDrop, ReasonTotalRate).Packets >= 9
	})
	if n, known := b.peers(); n != 0 || !known {
		t.Errorf("%d sockets with peers when all were ended, known: %v", n, known)
	}
}
