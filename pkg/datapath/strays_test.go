package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// floodOfTCP is of ACKs, FINs, SYN-ACKs and RSTs from and to any port.
func floodOfTCP(b *challenged, n uint32) te.Frame {
	flags := []te.Flags{te.ACK, te.SYN | te.ACK, te.RST, te.RST | te.ACK, te.FIN | te.ACK, 0}[n/2%6]
	return spoofed(b, n, te.TCP{SrcPort: 443, DstPort: uint16(n), Seq: n, Ack: n, Flags: flags})
}

func TestConnectionsLiveDuringTCPFlood(t *testing.T) {
	b := exhausting(t, floodOfTCP, ClassTCP, ClassRST)
	b.echo()
	l := b.Customer.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), 443))
	b.serve(l)
	for _, to := range []struct{ bank, customer netip.AddrPort }{
		{b.Bank.Addr(bankPort), b.Customer.Addr(443)}, {b.Bank.Addr6(bankPort), b.Customer.Addr6(443)},
	} {
		c := b.dial(to.bank)
		// RSTs as if from the customer, beside its sequence numbers.
		from := netip.MustParseAddrPort(c.LocalAddr().String())
		var rsts [][]byte
		for i := range uint32(200) {
			rsts = append(rsts, te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: from.Addr(), Dst: to.bank.Addr(), L4: te.TCP{
				SrcPort: from.Port(), DstPort: to.bank.Port(), Seq: i << 24, Flags: te.RST}}.Bytes())
		}
		roundTrip(t, c)
		must(t, te.NewWire(t, b.Customer, b.Customer.Interface).Send(rsts...))
		roundTrip(t, c)
		if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: to.bank, N: 100}); r.OK != 100 || r.Quantile(1) > 900*time.Millisecond {
			t.Errorf("to the bank: %v", r)
		}
		if r := te.Connects(t, b.Bank, te.ConnectOptions{Target: to.customer, N: 100}); r.OK != 100 || r.Quantile(1) > 900*time.Millisecond {
			t.Errorf("from the bank: %v", r)
		}
		start := time.Now()
		closed := netip.AddrPortFrom(to.customer.Addr(), 444)
		if r := te.Connects(t, b.Bank, te.ConnectOptions{Target: closed, N: 20}); time.Since(start) > 900*time.Millisecond ||
			len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "refused") {
			t.Errorf("refusals take %v: %v", time.Since(start), r)
		}
	}
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassSYNACK][VerdictDrop][ReasonTotalRate].Packets; n < 100 {
		t.Errorf("%d reflected SYN-ACKs were dropped", n)
	}
}

func TestRedirectedConnectionsBelongToTheHost(t *testing.T) {
	te.Tool(t, "nft")
	b := exhausting(t, floodOfTCP, ClassTCP, ClassRST)
	b.echo()
	b.Bank.Run(t, "nft", fmt.Sprintf("table inet nat { chain in { type nat hook prerouting priority 0; tcp dport 80 redirect to :%d; }; }",
		bankPort))
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	b.budgets(ClassTCP, ClassRST) // as when the lease is renewed
	for _, to := range []netip.AddrPort{b.Bank.Addr(80), b.Bank.Addr6(80)} {
		for range 5 {
			roundTrip(t, b.dial(to))
		}
	}
}

// Only what is for this host can belong to it: a router's other traffic isn't charged.
func TestForwardedTCPIsNotCharged(t *testing.T) {
	b := exhausting(t, floodOfTCP, ClassTCP, ClassRST)
	ack := te.Frame{SrcMAC: b.Customer.MAC, DstMAC: b.Bank.MAC, Src: b.Customer.IPv4, L4: te.TCP{SrcPort: 1, DstPort: 2, Flags: te.ACK}}
	count := func() uint64 {
		c, err := b.a.Counters()
		must(t, err)
		return c[ClassTCP][VerdictPass][ReasonNone].Packets
	}
	for _, row := range []struct {
		forward string
		dst     netip.Addr
		mac     net.HardwareAddr
		passes  bool
	}{
		{"1", netip.MustParseAddr("203.0.113.1"), b.Bank.MAC, true},
		{"1", b.Bank.IPv4, b.Bank.MAC, false},
		{"0", b.Bank.IPv4, b.Bank.MAC, false},
		{"0", b.Bank.IPv4, net.HardwareAddr{2, 0, 0, 0, 0, 99}, true}, // for another machine on a bridge
	} {
		b.Bank.Sysctl(t, "net/ipv4/ip_forward", row.forward)
		settle()
		f := ack
		f.Dst, f.DstMAC = row.dst, row.mac
		before := count()
		te.SendFrames(t, b.Customer, b.Customer.Interface, [][]byte{f.Bytes(), f.Bytes(), f.Bytes()})
		time.Sleep(20 * time.Millisecond)
		if n := count() - before; n != 0 != row.passes {
			t.Errorf("forwarding %s, to %v, %v: %d of 3 ACKs pass", row.forward, row.dst, row.mac, n)
		}
	}
}

func TestAdministratorsConnectDuringSYNFlood(t *testing.T) {
	b := newChallenged(t)
	var all Budgets
	all.Classes[ClassSYN] = Budget{Total: Limit{Rate: 1, Burst: 1}}
	all.ManagementPorts = DefaultManagementPorts
	b.Bank.Do(t, func() {
		s := NewSwitch(b.opts.BPFFS, b.opts.Interface)
		must(t, s.Budgets(all))
		must(t, s.Enable(Limit{Rate: 1, Burst: 1}, time.Hour))
	})
	settle()
	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(443), Sources: te.RandomSources})
	time.Sleep(200 * time.Millisecond)
	b.serve(b.Bank.Listen(t, b.Bank.Addr(22)))
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(22), N: 100}); r.OK != 100 {
		t.Error(r)
	}
	sent := f.Stop()
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassSYN][VerdictDrop][ReasonTotalRate].Packets; n < sent/2 {
		t.Errorf("%d of %d SYNs to another port were dropped", n, sent)
	}
}
