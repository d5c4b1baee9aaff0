package datapath

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// listed puts rows on the lists of a program that isn't attached.
func (p *program) listed(rows ...listRow) {
	p.t.Helper()
	m := &listMaps{tables: p.objs.Lists, long: p.objs.LongLists, control: p.objs.ListControl, noted: p.objs.ListEntries}
	var v4, v6 []listRow
	for _, r := range rows {
		if r.prefix.Addr().Is6() {
			v6 = append(v6, r)
		} else {
			v4 = append(v4, r)
		}
	}
	base := monotonicNow() >> listClockShift
	must(p.t, m.install(v4, false, base))
	must(p.t, m.install(v6, true, base))
	must(p.t, m.changeControl(func(c *bpfWeirListControl) {
		c.HeldUntilNs = monotonicNow() + uint64(time.Hour)
		c.Interval, c.Tolerance = ticksPerSecond/10, ticksPerSecond
	}))
	settle()
}

func held(kind ListKind, prefixes ...string) (rows []listRow) {
	for _, s := range prefixes {
		rows = append(rows, listRow{netip.MustParsePrefix(s), kind, listHeld})
	}
	return rows
}

func from(f te.Frame, source string) te.Frame {
	f.Src = netip.MustParseAddr(source)
	return f
}

func TestBlockedFramesAreDroppedWhateverTheyAre(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	p.listed(held(ListBlock, "192.0.2.0/24", "2001:db8:1::/48")...)
	for _, mode := range []uint32{modeObserve, modeEnforce} {
		p.switchTo(mode, time.Hour)
		for _, f := range frames {
			b := f.frame.Bytes()
			want := cell{f.class, VerdictDrop, ReasonBlocked}
			if f.name == "SYN in three VLANs" { // isn't parsed as IP
				want = passed(ClassOther)
			}
			if err := p.expect(b, want); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
			if f.needs > 34 && f.class != ClassOther {
				if err := p.expect(b[:f.needs-1], malformed); err != nil {
					t.Errorf("%s, cut: %v", f.name, err)
				}
			}
		}
	}
}

func TestManagementIsNeverBlocked(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	must(t, writeBudgets(p.objs.Budgets, Budgets{ManagementPorts: DefaultManagementPorts}))
	p.listed(held(ListBlock, "0.0.0.0/0", "::/0")...)
	ssh := func(flags te.Flags) func(*te.Frame) { return l4(te.TCP{SrcPort: 1234, DstPort: 22, Flags: flags}) }
	near := func(hops uint8) func(*te.Frame) { return func(f *te.Frame) { f.TTL = hops } }
	spared := func(c Class) cell { return cell{c, VerdictPass, ReasonManagement} }
	for name, row := range map[string]struct {
		frame te.Frame
		want  cell
	}{
		"SSH's SYN":             {with(v4, ssh(te.SYN)), spared(ClassSYN)},
		"SSH's ACK":             {with(v4, ssh(te.ACK)), spared(ClassTCP)},
		"SSH's RST":             {with(v4, ssh(te.RST)), spared(ClassRST)},
		"SSH over IPv6":         {with(v6, ssh(te.SYN), tags(7)), spared(ClassSYN)},
		"neighbour solicited":   {with(v6, near(255), l4(te.ICMP{Type: 135, Body: make([]byte, 20)})), spared(ClassICMP)},
		"router's word":         {with(v6, near(255), l4(te.ICMP{Type: 134, Body: make([]byte, 12)})), spared(ClassICMP)},
		"listeners asked for":   {from(with(v6, near(1), l4(te.ICMP{Type: 130, Body: make([]byte, 20)})), "fe80::1"), spared(ClassICMP)},
		"neighbour from afar":   {with(v6, near(254), l4(te.ICMP{Type: 135, Body: make([]byte, 20)})), cell{ClassICMP, VerdictDrop, ReasonBlocked}},
		"router from afar":      {with(v6, l4(te.ICMP{Type: 134, Body: make([]byte, 12)})), cell{ClassICMP, VerdictDrop, ReasonBlocked}},
		"ping":                  {with(v6, l4(te.ICMP{Type: 128, Body: make([]byte, 4)})), cell{ClassICMP, VerdictDrop, ReasonBlocked}},
		"UDP to the same port":  {with(v4, l4(te.UDP{SrcPort: 9, DstPort: 22})), cell{ClassUDP, VerdictDrop, ReasonBlocked}},
		"another port":          {with(v4, tcp(te.SYN)), cell{ClassSYN, VerdictDrop, ReasonBlocked}},
		"SSH's source port":     {with(v4, l4(te.TCP{SrcPort: 22, DstPort: 443, Flags: te.SYN})), cell{ClassSYN, VerdictDrop, ReasonBlocked}},
		"ICMP of the same type": {with(v4, l4(te.ICMP{Type: 135, Body: make([]byte, 4)})), cell{ClassICMP, VerdictDrop, ReasonBlocked}},
	} {
		if err := p.expect(row.frame.Bytes(), row.want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// model is what the longest prefix in force says of an address, the long way.
func model(rows []listRow, a netip.Addr) ListKind {
	best := listRow{prefix: netip.PrefixFrom(a, 0)}
	for _, r := range rows {
		if r.end > 0 && r.prefix.Contains(a) && (best.kind == 0 || r.prefix.Bits() > best.prefix.Bits()) {
			best = r
		}
	}
	return best.kind
}

// The table says the same as the model, of addresses within, next to and far from its entries.
func TestTheLongestPrefixWins(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	for _, x := range []struct {
		size, rounds int
		long         [2]bool // tables of longList lines
	}{
		{1, 12, [2]bool{}}, {2, 12, [2]bool{}}, {40, 12, [2]bool{}}, {3000, 12, [2]bool{}}, {40_000, 1, [2]bool{false, true}},
		{100_000, 1, [2]bool{true, false}}, {3000, 1, [2]bool{}}, {0, 1, [2]bool{}},
	} {
		size := x.size
		for round := range x.rounds {
			r := rand.New(rand.NewPCG(uint64(size), uint64(round)))
			rows, addresses := randomRows(r, size)
			p.listed(rows...)
			for family, want := range x.long {
				var id ebpf.MapID
				long := p.objs.LongLists.Lookup(uint32(family), &id)
				short := p.objs.Lists.Lookup(uint32(family), &id)
				if (long == nil) != want || long == nil && short == nil {
					t.Errorf("%d rows, family %d: long %v, short %v", size, family, long, short)
				}
			}
			for _, a := range addresses {
				f := v4
				if a.Is6() {
					f = v6
				}
				want := passed(ClassUDP)
				if model(rows, a) == ListBlock {
					want = cell{ClassUDP, VerdictDrop, ReasonBlocked}
				}
				f.Src = a
				_, moved := p.run(p.objs.Weir, with(f, l4(te.UDP{})).Bytes(), 1)
				if moved[want].Packets != 1 || len(moved) != 1 {
					t.Fatalf("%d rows, seed %d, %v: counted %v, want %v", size, round, a, moved, want)
				}
			}
		}
	}
}

// A list of addresses alone, as most are, has neither a filter nor others around them.
func TestAddressesOfALongList(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	rows := benchRows(60_000, []int{32}, true)
	p.listed(rows...)
	blocked := map[netip.Addr]bool{}
	for _, r := range rows {
		blocked[r.prefix.Addr()] = true
	}
	for i := 0; i < len(rows); i += 97 {
		for _, a := range []netip.Addr{rows[i].prefix.Addr(), rows[i].prefix.Addr().Next()} {
			want := passed(ClassUDP)
			if blocked[a] {
				want = cell{ClassUDP, VerdictDrop, ReasonBlocked}
			}
			f := v4
			f.Src = a
			if err := p.expect(with(f, l4(te.UDP{})).Bytes(), want); err != nil {
				t.Errorf("%v: %v", a, err)
			}
		}
	}
}

// randomRows have few different upper bits, so that they lie within one another, and no ceiling to be over: they block, or
// exempt from it.
func randomRows(r *rand.Rand, size int) (rows []listRow, addresses []netip.Addr) {
	seen := map[netip.Prefix]bool{}
	lengths6 := []int{0, 3, 12, 16, 20, 29, 32, 44, 48, 56, 63, 64, 65, 96, 127, 128}
	for len(rows) < size {
		var p netip.Prefix
		if r.IntN(2) == 0 {
			b := [4]byte{byte(10 + r.IntN(3)), byte(r.IntN(4) * 85), byte(r.IntN(256)), byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom4(b), r.IntN(33)).Masked()
		} else {
			b := [16]byte{0x20, 0x01, byte(r.IntN(2)), byte(r.IntN(4)), 4: byte(r.IntN(256)), 7: byte(r.IntN(4)), 8: byte(r.IntN(2) * 128), 15: byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom16(b), lengths6[r.IntN(len(lengths6))]).Masked()
		}
		if seen[p] {
			if len(seen) > 60 && size < 100 || r.IntN(50) == 0 {
				size-- // there may be no more
			}
			continue
		}
		seen[p] = true
		kind := []ListKind{ListBlock, ListBlock, ListExempt}[r.IntN(3)]
		rows = append(rows, listRow{p, kind, []uint32{listHeld, 1 << 20, 0}[r.IntN(3)]})
		if len(addresses) < 600 {
			addresses = append(addresses, p.Addr(), last(p), last(p).Next(), inside(r, p))
		}
	}
	out := addresses[:0]
	for _, a := range addresses {
		if a.IsValid() && !(a.Is6() && a.As16()[0] == 0xff) {
			out = append(out, a)
		}
	}
	return rows, out
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func inside(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= byte(r.IntN(2)) * 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestTableReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rows, _ := randomRows(r, 2000)
	for _, ipv6 := range []bool{false, true} {
		want := map[listRow]bool{}
		var family []listRow
		for _, row := range rows {
			if row.prefix.Addr().Is6() == ipv6 {
				want[row] = true
				family = append(family, row)
			}
		}
		words, err := buildTable(family, ipv6, 77, newSeed)
		must(t, err)
		base, got := rowsOf(words, ipv6)
		if base != 77 || len(got) != len(want) {
			t.Errorf("%d rows at %d, want %d at 77", len(got), base, len(want))
		}
		for _, row := range got {
			if !want[row] {
				t.Errorf("row %+v was never put in", row)
			}
		}
	}
}

func TestTooManyLengths(t *testing.T) {
	var rows []listRow
	for n := range maxLengths + 1 {
		rows = append(rows, listRow{netip.PrefixFrom(netip.IPv6Unspecified(), n), ListBlock, listHeld})
	}
	if _, err := buildTable(rows, true, 0, newSeed); err != nil {
		t.Errorf("%d lengths: %v", maxLengths+1, err) // 0 isn't one of them
	}
	rows = append(rows, listRow{netip.PrefixFrom(netip.IPv6Unspecified(), 128), ListBlock, listHeld})
	if _, err := buildTable(rows, true, 0, newSeed); err != errLengths {
		t.Errorf("%d lengths: %v", maxLengths+2, err)
	}
}

// An allowed source passes what would drop others, up to its ceiling; then it is judged like others.
func TestAllowHasACeiling(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 1})
	p.switchTo(modeEnforce, time.Hour)
	p.listed(held(ListAllow, "192.0.2.0/24", "2001:db8:1::/48")...) // 10 a second, 11 at once
	for _, f := range []te.Frame{v4, v6} {
		_, moved := p.run(p.objs.Weir, with(f, tcp(te.SYN)).Bytes(), 1000)
		allowed := moved[cell{ClassSYN, VerdictPass, ReasonAllowed}].Packets
		judged := moved[passed(ClassSYN)].Packets
		dropped := moved[cell{ClassSYN, VerdictDrop, ReasonCeiling}].Packets
		if allowed < 11 || allowed > 13 || judged != 1 || allowed+judged+dropped != 1000 {
			t.Errorf("%v: %v", f.Src, moved)
		}
		_, moved = p.run(p.objs.Weir, with(f, l4(te.UDP{})).Bytes(), 1000)
		if len(moved) > 2 || moved[passed(ClassUDP)].Packets < 990 {
			t.Errorf("%v: UDP over the ceiling: %v", f.Src, moved)
		}
	}
}

// Who is exempt isn't dropped, within the ceiling; to a management port nobody is.
func TestExemptIsNotDropped(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 1})
	must(t, writeBudgets(p.objs.Budgets, Budgets{ManagementPorts: DefaultManagementPorts}))
	p.switchTo(modeEnforce, time.Hour)
	p.listed(append(held(ListExempt, "192.0.2.7/32"), held(ListBlock, "192.0.2.0/24")...)...) // 10 a second, 11 at once
	spared := cell{ClassSYN, VerdictPass, ReasonManagement}
	_, moved := p.run(p.objs.Weir, with(v4, tcp(te.SYN)).Bytes(), 10)
	if moved[passed(ClassSYN)].Packets != 1 || moved[spared].Packets != 9 {
		t.Errorf("exempt: %v", moved)
	}
	_, moved = p.run(p.objs.Weir, with(v4, tcp(te.SYN)).Bytes(), 1000)
	if n := moved[cell{ClassSYN, VerdictDrop, ReasonCeiling}].Packets; n < 990 {
		t.Errorf("a flood with an exempt address: %v", moved)
	}
	_, moved = p.run(p.objs.Weir, with(v4, l4(te.TCP{SrcPort: 1, DstPort: 22, Flags: te.SYN})).Bytes(), 1000)
	if moved[spared].Packets < 998 || moved[spared].Packets+moved[passed(ClassSYN)].Packets != 1000 {
		t.Errorf("a flood of the management port with an exempt address: %v", moved)
	}
	must(t, p.expect(with(from(v4, "192.0.2.8"), tcp(te.SYN)).Bytes(), cell{ClassSYN, VerdictDrop, ReasonBlocked}))
}

// XDP itself ends what has ended, and entries without an end when nobody holds them any more.
func TestEntriesEndByThemselves(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	short := listRow{netip.MustParsePrefix("192.0.2.7/32"), ListBlock, 3} // 134 to 201 ms
	p.listed(append(held(ListBlock, "192.0.2.8/32"), short)...)
	sent := func(source string) bool {
		_, moved := p.run(p.objs.Weir, with(from(v4, source), l4(te.UDP{})).Bytes(), 1)
		return moved[cell{ClassUDP, VerdictDrop, ReasonBlocked}].Packets == 1
	}
	if !sent("192.0.2.7") || !sent("192.0.2.8") {
		t.Error("not blocked to begin with")
	}
	time.Sleep(250 * time.Millisecond)
	if sent("192.0.2.7") {
		t.Error("blocked beyond its end")
	}
	if !sent("192.0.2.8") {
		t.Error("ended although it is held")
	}
	m := &listMaps{control: p.objs.ListControl}
	must(t, m.changeControl(func(c *bpfWeirListControl) { c.HeldUntilNs = monotonicNow() }))
	settle()
	if sent("192.0.2.8") {
		t.Error("blocked although nobody holds it")
	}
}
