package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func udp(src, dst uint16) func(*te.Frame) {
	return l4(te.UDP{SrcPort: src, DstPort: dst, Payload: []byte("x")})
}

// icmp is a message with a number, of IPv4 and IPv6 alike.
func icmp(kind uint8, id uint16) func(*te.Frame) {
	return l4(te.ICMP{Type: kind, Body: binary.BigEndian.AppendUint32(nil, uint32(id)<<16|1)})
}

func later(id uint32) func(*te.Frame) {
	return func(f *te.Frame) {
		f.L4, f.Fragment = te.Raw{Protocol: 17, Payload: make([]byte, 8)}, te.Fragment{Offset: 8, ID: id}
	}
}

// partial is a first fragment that ends within the TCP header, right before the flags, and is padded so that what looks like a
// whole one follows.
func partial(f *te.Frame) {
	f.L4, f.Fragment = te.Raw{Protocol: 6, Payload: make([]byte, 8)}, te.Fragment{More: true}
}

func padded(frame []byte) []byte { return append(frame, make([]byte, 20)...) }

// short is such a fragment of UDP or ICMP.
func short(protocol uint8) func(*te.Frame) {
	return func(f *te.Frame) { f.L4, f.Fragment = te.Raw{Protocol: protocol}, te.Fragment{More: true} }
}

// exhausted has a budget for a class of which nothing is left for anybody.
func exhausted(t testing.TB, class Class, f te.Frame) *program {
	p := newProgram(t, DefaultLimit)
	p.switchTo(modeEnforce, time.Hour)
	p.budget(class, Budget{Total: Limit{Rate: 1, Burst: 1}})
	f.Src = netip.MustParseAddr(map[bool]string{true: "203.0.113.1", false: "2001:db8:ffff::1"}[f.Dst.Is4()])
	p.run(p.objs.Weir, f.Bytes(), 10)
	return p
}

func TestBudgetsOfClassesWithoutSockets(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	for _, row := range []struct {
		name  string
		class Class
		v4    func(*te.Frame)
		v6    func(*te.Frame)
	}{
		{"UDP", ClassUDP, udp(53, 4000), udp(53, 4000)},
		{"first fragment of UDP", ClassUDP, func(f *te.Frame) { udp(53, 1)(f); f.Fragment.More = true },
			func(f *te.Frame) { udp(53, 1)(f); f.Fragment.More = true }},
		{"ICMP echo", ClassICMP, icmp(8, 1), icmp(128, 1)},
		{"echo reply that nobody asked for", ClassICMP, icmp(0, 1), icmp(129, 1)},
		{"ICMP without any body", ClassICMP, l4(te.ICMP{Type: 3}), l4(te.ICMP{Type: 1})},
		{"ICMP of the other family", ClassICMP, l4(te.Raw{Protocol: 58, Payload: []byte{135, 0, 0, 0, 0, 0, 0, 0}}),
			l4(te.Raw{Protocol: 1, Payload: make([]byte, 8)})},
		{"later fragment", ClassFragment, later(1), later(1)},
		{"first fragment with part of a TCP header", ClassFragment, partial, partial},
		{"first fragment with part of a UDP header", ClassFragment, short(17), short(17)},
		{"first fragment with part of an ICMP header", ClassFragment, short(1), short(58)},
	} {
		for name, frame := range map[string]te.Frame{"IPv4": with(v4, row.v4), "IPv6": with(v6, row.v6)} {
			p.switchTo(modeEnforce, time.Hour)
			first := map[bool]string{true: "192.0.2.7", false: "2001:db8:1::7"}[frame.Dst.Is4()]
			far := map[bool]string{true: "192.0.99.7", false: "2001:db8:99::7"}[frame.Dst.Is4()]
			from := func(src string, n int) [][]byte {
				all := fromEach(frame, src, n)
				for i := range all {
					all[i] = padded(all[i])
				}
				return all
			}
			same := func(n int) (all [][]byte) {
				for range n {
					all = append(all, from(first, 1)...)
				}
				return all
			}
			step := func(what string, b Budget, reason Reason, over []byte, want int, frames ...[]byte) {
				t.Helper()
				p.forgetBudgets()
				p.budget(row.class, b)
				if got := p.passes(frames...); got != want {
					t.Errorf("%s, %s, %s: %d of %d pass, want %d", name, row.name, what, got, len(frames), want)
				}
				if err := p.expect(over, cell{row.class, VerdictDrop, reason}); err != nil {
					t.Errorf("%s, %s, %s: %v", name, row.name, what, err)
				}
			}
			l := Limit{Rate: 1, Burst: 5}
			step("per source", Budget{Source: l}, ReasonSourceRate, same(1)[0], 5, same(9)...)
			if got := p.passes(from(far, 9)...); got != 9 {
				t.Errorf("%s, %s: %d of 9 from other sources pass", name, row.name, got)
			}
			step("per prefix", Budget{Prefix: l}, ReasonPrefixRate, same(1)[0], 5, from(first, 9)...)
			if got := p.passes(from(far, 3)...); got != 3 {
				t.Errorf("%s, %s: %d of 3 from another prefix pass", name, row.name, got)
			}
			step("in total", Budget{Total: l}, ReasonTotalRate, from(far, 1)[0], 5, append(from(first, 4), from(far, 5)...)...)

			p.switchTo(modeObserve, 0)
			if err := p.expect(same(1)[0], cell{row.class, VerdictWouldDrop, ReasonTotalRate}); err != nil {
				t.Errorf("%s, %s, observe: %v", name, row.name, err)
			}
			p.budget(row.class, Budget{})
			if err := p.expect(same(1)[0], passed(row.class)); err != nil {
				t.Errorf("%s, %s, without a budget: %v", name, row.name, err)
			}
		}
	}
}

// forgetBudgets fills every bucket.
func (p *program) forgetBudgets() {
	p.t.Helper()
	for i := range p.objs.Totals.MaxEntries() {
		must(p.t, p.objs.Totals.Put(i, make([]byte, 64)))
	}
	n := p.objs.BudgetSets.MaxEntries()
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := p.objs.BudgetSets.BatchUpdate(keys, make([]bpfWeirSet, n), &ebpf.BatchOptions{})
	must(p.t, err)
}

// A flood of one class leaves the others alone, and what has no budget is never dropped.
func TestBudgetsOfOneClassAreItsOwn(t *testing.T) {
	for _, class := range []Class{ClassUDP, ClassICMP, ClassFragment} {
		p := exhausted(t, class, with(v4, map[Class]func(*te.Frame){ClassUDP: udp(1, 2), ClassICMP: icmp(8, 1), ClassFragment: later(1)}[class]))
		for _, f := range frames {
			if f.class == class {
				continue
			}
			if action, moved := p.run(p.objs.Weir, f.frame.Bytes(), 1); action != xdpPass {
				t.Errorf("%s is dropped under a flood of %v: %v", f.name, class, moved)
			}
		}
		arp := v4.Ethernet(0x0806, make([]byte, 28))
		if err := p.expect(arp, passed(ClassOther)); err != nil {
			t.Errorf("ARP: %v", err)
		}
	}
}

func TestNeighboursAreFoundUnderAnyFlood(t *testing.T) {
	p := exhausted(t, ClassICMP, with(v6, icmp(128, 1)))
	hops := func(n uint8) func(*te.Frame) { return func(f *te.Frame) { f.TTL = n } }
	from := func(src string) func(*te.Frame) { return func(f *te.Frame) { f.Src = netip.MustParseAddr(src) } }
	message := func(kind uint8) func(*te.Frame) { return l4(te.ICMP{Type: kind, Body: make([]byte, 20)}) }
	dropped := cell{ClassICMP, VerdictDrop, ReasonTotalRate}
	for _, kind := range []uint8{133, 134, 135, 136, 137} {
		for _, src := range []string{"::", "fe80::1", "2001:db8::5"} {
			if err := p.expect(with(v6, message(kind), hops(255), from(src)).Bytes(), passed(ClassICMP)); err != nil {
				t.Errorf("type %d from %s: %v", kind, src, err)
			}
		}
		if err := p.expect(with(v6, message(kind), hops(254)).Bytes(), dropped); err != nil {
			t.Errorf("type %d of another link: %v", kind, err)
		}
	}
	for _, kind := range []uint8{130, 131, 132, 143} {
		if err := p.expect(with(v6, message(kind), hops(1), from("fe80::1"), ext(te.HopByHop)).Bytes(), passed(ClassICMP)); err != nil {
			t.Errorf("type %d: %v", kind, err)
		}
		if err := p.expect(with(v6, message(kind), hops(1)).Bytes(), dropped); err != nil {
			t.Errorf("type %d of another link: %v", kind, err)
		}
	}
	for _, kind := range []uint8{0, 1, 2, 3, 4, 127, 128, 129, 138, 142, 144, 255} {
		if err := p.expect(with(v6, message(kind), hops(255), from("fe80::1")).Bytes(), dropped); err != nil {
			t.Errorf("type %d: %v", kind, err)
		}
	}
	if err := p.expect(with(v4, message(135), hops(255)).Bytes(), dropped); err != nil {
		t.Errorf("IPv4's type 135: %v", err)
	}
}
