package datapath

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// forged counts the ACKs dropped for want of a connection and a cookie.
func (b *challenged) forged() uint64 {
	b.t.Helper()
	c, err := b.a.Counters()
	must(b.t, err)
	return c[ClassTCP][VerdictDrop][ReasonCookie].Packets
}

func TestTheHostsOwnConnectionsLiveDuringTheChallenge(t *testing.T) {
	b := newChallenged(t)
	b.serve(b.Customer.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), 443)))
	for _, to := range []netip.AddrPort{b.Customer.Addr(443), b.Customer.Addr6(443)} {
		before, err := b.Bank.Dial(t.Context(), "tcp", to.String())
		must(t, err)
		b.set(ChallengeAlways)
		roundTrip(t, before)
		for range 20 {
			c, err := b.Bank.Dial(t.Context(), "tcp", to.String())
			must(t, err)
			roundTrip(t, c)
			must(t, c.Close())
		}
		roundTrip(t, before)
		must(t, before.Close())
	}
	if n := b.forged(); n != 0 {
		t.Errorf("%d ACKs were dropped", n)
	}
}

func TestRedirectedConnectionsLiveDuringTheChallenge(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.serve(b.Bank.Listen(t, b.Bank.Addr(81))) // as a proxy does beside the rule
	b.Bank.Run(t, "nft", fmt.Sprintf("table inet nat { chain in { type nat hook prerouting priority 0; tcp dport { 80, 81 } redirect to :%d; }; }",
		bankPort))
	to80, to81, to80v6 := b.dial(b.Bank.Addr(80)), b.dial(b.Bank.Addr(81)), b.dial(b.Bank.Addr6(80))
	b.budgets() // as a command does
	b.set(ChallengeAlways)
	roundTrip(t, to80)
	roundTrip(t, to81)
	roundTrip(t, to80v6)
	roundTrip(t, b.dial(b.Bank.Addr(80)))
	roundTrip(t, b.dial(b.Bank.Addr6(80)))
	if n := b.forged(); n != 0 {
		t.Errorf("%d ACKs were dropped", n)
	}
}

// A port that netfilter redirects has no listener, so its new customers can't be challenged: a spoofed flood of other ports must not cost
// them their connections.
func TestRedirectedPortsTakeCustomersDuringTheChallenge(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.Bank.Run(t, "nft", fmt.Sprintf("table inet nat { chain in { type nat hook prerouting priority 0; tcp dport 80 redirect to :%d; }; }", bankPort))
	b.enable(DefaultLimit)
	b.policy(auto)
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 10_000})
	b.awaitChallenge(true, 5*time.Second)
	r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(80), N: 50}) // whom nobody knows at first
	if r.OK != 50 || r.Quantile(1) > 900*time.Millisecond {
		t.Error(r)
	}
}

func TestForwardedACKsAreNobodysForgeries(t *testing.T) {
	b := newChallenged(t)
	b.set(ChallengeAlways)
	for _, row := range []struct {
		forward string
		dst     netip.Addr
		drops   uint64
	}{
		{"1", netip.MustParseAddr("203.0.113.1"), 0}, {"1", b.Bank.IPv4, 3}, {"0", b.Bank.IPv4, 3},
	} {
		b.Bank.Sysctl(t, "net/ipv4/ip_forward", row.forward)
		settle()
		f := te.Frame{SrcMAC: b.Customer.MAC, DstMAC: b.Bank.MAC, Src: b.Customer.IPv4, Dst: row.dst,
			L4: te.TCP{SrcPort: 1, DstPort: 2, Flags: te.ACK}}
		before := b.forged()
		te.SendFrames(t, b.Customer, b.Customer.Interface, [][]byte{f.Bytes(), f.Bytes(), f.Bytes()})
		if n := b.forged() - before; n != row.drops {
			t.Errorf("forwarding %s, to %v: %d of 3 ACKs were dropped", row.forward, row.dst, n)
		}
	}
}
