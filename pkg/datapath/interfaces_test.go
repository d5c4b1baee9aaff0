package datapath

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestACKsMayComeByAnotherInterface: SYNs go to the bank by one cable, all else by another.
func TestACKsMayComeByAnotherInterface(t *testing.T) {
	bank, customer := te.Pair(t)
	te.Cable(t, bank, "eth1", customer, "eth1")
	for _, h := range []*te.Host{bank, customer} {
		h.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
		h.Sysctl(t, "net/ipv4/conf/eth1/rp_filter", "0")
	}
	bank.Run(t, "ip", "addr", "add", "203.0.113.1/24", "dev", "eth1")
	customer.Run(t, "ip", "addr", "add", "203.0.113.2/24", "dev", "eth1")
	customer.Run(t, "ip", "route", "add", "198.51.100.1/32", "via", "203.0.113.1", "dev", "eth1", "src", customer.IPv4.String())
	customer.Run(t, "ip", "route", "add", "198.51.100.1/32", "dev", "eth0", "table", "100")
	customer.Run(t, "ip", "rule", "add", "fwmark", "1", "table", "100")
	customer.Run(t, "nft", "table ip way { chain out { type route hook output priority 0; tcp flags & (syn|ack) == syn meta mark set 1; }; }")
	customer.Do(t, func() {
		for _, name := range []string{"eth0", "eth1"} {
			sink, err := flood.NewSink(name, true)
			must(t, err)
			t.Cleanup(func() { must(t, sink.Close()) })
		}
	})

	dir := te.PinDir(t)
	var all []*Attachment
	for _, name := range []string{"eth0", "eth1"} {
		bank.Do(t, func() {
			a, err := Attach(Options{Interface: name, BPFFS: dir, Limit: DefaultLimit, Sources: MinSources, Version: "test"})
			must(t, err)
			t.Cleanup(func() { must(t, a.Close()) })
			s := NewSwitch(dir, name)
			must(t, s.Enable(DefaultLimit, time.Hour))
			must(t, s.Challenge(ChallengePolicy{When: ChallengeAlways, Unverified: DefaultUnverified}))
			all = append(all, a)
		})
	}
	settle()
	b := &challenged{t: t}
	b.serve(bank.Listen(t, netip.AddrPortFrom(bank.IPv4, bankPort)))
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), te.ConnectTimeout)
		c, err := customer.Dial(ctx, "tcp", bank.Addr(bankPort).String())
		cancel()
		must(t, err)
		roundTrip(t, c)
		must(t, c.Close())
	}
	syns, err := all[0].Counters()
	must(t, err)
	acks, err := all[1].Counters()
	must(t, err)
	cookies, err := all[1].Cookies()
	must(t, err)
	if n := syns[ClassSYN][VerdictTX][ReasonNone].Packets; n != 5 || acks.Offered(ClassSYN).Packets != 0 || cookies.Accepted != 5 {
		t.Errorf("%d SYNs answered on one interface, %+v accepted on the other", n, cookies)
	}
	for i, a := range all {
		if n, err := a.Verified(); err != nil || n != 1 {
			t.Errorf("interface %d knows %d verified sources, %v", i, n, err)
		}
	}
}
