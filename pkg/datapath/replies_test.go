package datapath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// leave lets the host send a frame: f's source is the host.
func (p *program) leave(f te.Frame) {
	p.t.Helper()
	action, err := p.objs.WeirNote.Run(&ebpf.RunOptions{Data: padded(f.Bytes())})
	must(p.t, err)
	if int32(action) != tcxNext {
		p.t.Fatalf("tc's action on what leaves is %d", int32(action))
	}
}

// back is the frame that answers: addresses and ports exchanged, everything else kept.
func back(f te.Frame) te.Frame {
	f.Src, f.Dst = f.Dst, f.Src
	if u, ok := f.L4.(te.UDP); ok {
		u.SrcPort, u.DstPort = u.DstPort, u.SrcPort
		f.L4 = u
	}
	return f
}

func reply(c Class) cell   { return cell{c, VerdictPass, ReasonReply} }
func dropped(c Class) cell { return cell{c, VerdictDrop, ReasonTotalRate} }

// age makes every flow older.
func (p *program) age(d time.Duration) {
	p.t.Helper()
	for i := range p.objs.Flows.MaxEntries() {
		var set [8]uint64
		must(p.t, p.objs.Flows.Lookup(i, &set))
		if set == [8]uint64{} {
			continue
		}
		for j, word := range set {
			const mask = 1<<20 - 1
			set[j] = word&^mask | (word-uint64(d)>>28)&mask
		}
		must(p.t, p.objs.Flows.Put(i, set))
	}
}

func TestRepliesToUDPAreNeverDropped(t *testing.T) {
	for family, host := range map[string]te.Frame{"IPv4": back(v4), "IPv6": back(v6)} {
		p := exhausted(t, ClassUDP, with(back(host), udp(1, 2)))
		query := with(host, udp(40000, 53))
		answer := back(query)
		if err := p.expect(answer.Bytes(), dropped(ClassUDP)); err != nil {
			t.Errorf("%s, before the query: %v", family, err)
		}
		p.leave(query)
		other := answer
		other.Src = other.Src.Next()
		elsewhere := answer
		elsewhere.Dst = elsewhere.Dst.Next()
		for name, row := range map[string]struct {
			f    te.Frame
			want cell
		}{
			"the answer":          {answer, reply(ClassUDP)},
			"in a VLAN":           {with(answer, tags(7)), reply(ClassUDP)},
			"from another host":   {other, dropped(ClassUDP)},
			"to another address":  {elsewhere, dropped(ClassUDP)},
			"from another port":   {with(answer, udp(54, 40000)), dropped(ClassUDP)},
			"to another port":     {with(answer, udp(53, 40001)), dropped(ClassUDP)},
			"with ports swapped":  {with(answer, udp(40000, 53)), dropped(ClassUDP)},
			"too short for ports": {with(answer, l4(te.Raw{Protocol: 17, Payload: []byte{0, 53, 0x9c, 0x40}})), dropped(ClassUDP)},
		} {
			frame := row.f.Bytes()
			if err := p.expect(frame, row.want); err != nil {
				t.Errorf("%s, %s: %v", family, name, err)
			}
		}
		p.age(29 * time.Second)
		if err := p.expect(answer.Bytes(), reply(ClassUDP)); err != nil {
			t.Errorf("%s, after 29 s: %v", family, err)
		}
		p.age(2 * time.Second)
		if err := p.expect(answer.Bytes(), dropped(ClassUDP)); err != nil {
			t.Errorf("%s, after 31 s: %v", family, err)
		}
		p.leave(query)
		if err := p.expect(answer.Bytes(), reply(ClassUDP)); err != nil {
			t.Errorf("%s, when the host goes on: %v", family, err)
		}
	}
}

// Whoever is answered by a service doesn't thereby become somebody whom the host has addressed.
func TestAnswersMakeNobodyExempt(t *testing.T) {
	for family, from := range map[string]te.Frame{"IPv4": v4, "IPv6": v6} {
		p := newProgram(t, DefaultLimit)
		p.switchTo(modeEnforce, time.Hour)
		p.budget(ClassUDP, Budget{Source: Limit{Rate: 1, Burst: 2}})
		query := with(from, udp(4000, 53))
		for range 2 {
			if p.passes(query.Bytes()) != 1 {
				t.Fatalf("%s: no query passes", family)
			}
			p.leave(back(query))
		}
		over := cell{ClassUDP, VerdictDrop, ReasonSourceRate}
		if err := p.expect(query.Bytes(), over); err != nil {
			t.Errorf("%s: %v", family, err)
		}
		for range 3 { // a long answer
			p.age(20 * time.Second)
			p.leave(back(query))
		}
		p.passes(query.Bytes(), query.Bytes(), query.Bytes())
		if err := p.expect(query.Bytes(), over); err != nil {
			t.Errorf("%s, after a long answer: %v", family, err)
		}
		// While nothing is dropped they are answered as well.
		p.switchTo(modeObserve, 0)
		must(t, p.expect(query.Bytes(), cell{ClassUDP, VerdictWouldDrop, ReasonSourceRate}))
		p.leave(back(query))
		p.switchTo(modeEnforce, time.Hour)
		must(t, p.expect(query.Bytes(), over))
		// A flow that the host began stays its own, whoever speaks last.
		mine := with(back(from), udp(40000, 53))
		for range 4 {
			p.leave(mine)
			must(t, p.expect(back(mine).Bytes(), reply(ClassUDP)))
			p.age(20 * time.Second)
		}
	}
}

// Spoofed queries displace one another, never what the host has asked.
func TestSpoofedQueriesDisplaceNoFlowOfTheHosts(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	p.switchTo(modeEnforce, time.Hour)
	var mine []te.Frame
	for i := range uint16(1000) {
		f := with(back(v4), udp(20000+i, 53))
		mine = append(mine, f)
		p.leave(f)
	}
	p.budget(ClassUDP, Budget{Total: Limit{Rate: MaxTotalRate, Burst: MaxTotalBurst}})
	for _, f := range mine {
		p.leave(f)
	}
	spoofed := with(v4, udp(1, 53))
	for i := range uint32(200_000) {
		a := [4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)}
		spoofed.Src = netip.AddrFrom4(a)
		b := spoofed.Bytes()
		_, err := p.objs.Weir.Run(&ebpf.RunOptions{Data: b})
		must(t, err)
	}
	p.leave(back(spoofed)) // the last one's answer
	p.forgetBudgets()
	p.budget(ClassUDP, Budget{Total: Limit{Rate: 1, Burst: 1}})
	p.passes(with(v4, udp(9, 9)).Bytes())
	for _, f := range mine {
		if err := p.expect(back(f).Bytes(), reply(ClassUDP)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.expect(spoofed.Bytes(), dropped(ClassUDP)); err != nil {
		t.Error(err)
	}
}

func TestDHCPAnswersAreReplies(t *testing.T) {
	for _, row := range []struct {
		from, to, server, client string
		client0, server0         uint16
	}{
		{"0.0.0.0", "255.255.255.255", "192.0.2.1", "198.51.100.1", 68, 67},
		{"fe80::1", "ff02::1:2", "fe80::2", "fe80::1", 546, 547},
	} {
		base := v4
		if netip.MustParseAddr(row.from).Is6() {
			base = v6
		}
		p := exhausted(t, ClassUDP, with(base, udp(1, 2)))
		offer := with(base, udp(row.server0, row.client0))
		offer.Src, offer.Dst = netip.MustParseAddr(row.server), netip.MustParseAddr(row.client)
		must(t, p.expect(offer.Bytes(), dropped(ClassUDP)))
		ask := with(base, udp(row.client0, row.server0))
		ask.Src, ask.Dst = netip.MustParseAddr(row.from), netip.MustParseAddr(row.to)
		p.leave(ask)
		if err := p.expect(offer.Bytes(), reply(ClassUDP)); err != nil {
			t.Errorf("offer to %s: %v", row.client, err)
		}
	}
}

func TestEchoRepliesAreNeverDropped(t *testing.T) {
	for _, row := range []struct {
		f            te.Frame
		echo, answer uint8
	}{{back(v4), 8, 0}, {back(v6), 128, 129}} {
		p := exhausted(t, ClassICMP, with(back(row.f), icmp(row.echo, 1)))
		p.leave(with(row.f, icmp(row.echo, 77)))
		p.leave(with(row.f, icmp(row.answer, 78))) // an answer asks nothing
		for _, x := range []struct {
			kind uint8
			id   uint16
			want cell
		}{
			{row.answer, 77, reply(ClassICMP)}, {row.answer, 76, dropped(ClassICMP)}, {row.answer, 78, dropped(ClassICMP)},
			{row.echo, 77, dropped(ClassICMP)},
		} {
			if err := p.expect(with(back(row.f), icmp(x.kind, x.id)).Bytes(), x.want); err != nil {
				t.Errorf("type %d, number %d: %v", x.kind, x.id, err)
			}
		}
	}
}

// quoting is the body of an ICMP error about a packet.
func quoting(f te.Frame, most int) []byte {
	packet := f.Bytes()[14:]
	return append(make([]byte, 4), packet[:min(len(packet), most)]...)
}

func TestErrorsAboutTheHostsPacketsAreNeverDropped(t *testing.T) {
	router := map[bool]netip.Addr{true: netip.MustParseAddr("203.0.113.9"), false: netip.MustParseAddr("2001:db8:9::9")}
	for _, row := range []struct {
		f      te.Frame
		errors []uint8
		others []uint8
		echo   uint8
	}{
		{back(v4), []uint8{3, 11, 12}, []uint8{4, 5, 13, 8}, 8},
		{back(v6), []uint8{1, 2, 3, 4}, []uint8{0, 5, 127, 128}, 128},
	} {
		ipv4 := row.f.Dst.Is4()
		p := exhausted(t, ClassICMP, with(back(row.f), icmp(row.echo, 1)))
		sent, ping := with(row.f, udp(40000, 53)), with(row.f, icmp(row.echo, 77))
		p.leave(sent)
		p.leave(ping)
		of := func(kind uint8, body []byte) []byte {
			f := with(back(row.f), l4(te.ICMP{Type: kind, Body: body}))
			f.Src = router[ipv4]
			return f.Bytes()
		}
		least := map[bool]int{true: 28, false: 48}[ipv4]
		never := with(row.f, udp(40001, 53))
		fragment := with(sent, piece(te.Fragment{More: true, ID: 5}))
		for _, kind := range row.errors {
			for name, x := range map[string]struct {
				body []byte
				want cell
			}{
				"a datagram":                {quoting(sent, least), reply(ClassICMP)},
				"all of it":                 {quoting(sent, 500), reply(ClassICMP)},
				"a ping":                    {quoting(ping, least), reply(ClassICMP)},
				"a first fragment":          {quoting(fragment, least+8), reply(ClassICMP)},
				"one that it never sent":    {quoting(never, least), dropped(ClassICMP)},
				"one that was sent to it":   {quoting(back(sent), least), dropped(ClassICMP)},
				"less than ports":           {quoting(sent, least-8), dropped(ClassICMP)},
				"nothing":                   {nil, dropped(ClassICMP)},
				"another protocol":          {quoting(with(row.f, l4(te.Raw{Protocol: 47, Payload: make([]byte, 8)})), 500), dropped(ClassICMP)},
				"a connection there isn't":  {quoting(with(row.f, tcp(te.ACK)), 500), dropped(ClassICMP)},
				"something of another kind": {append(make([]byte, 4), 0x55, 1, 2, 3, 4, 5, 6, 7, 8, 9), dropped(ClassICMP)},
			} {
				if err := p.expect(of(kind, x.body), x.want); err != nil {
					t.Errorf("IPv4 %v, type %d about %s: %v", ipv4, kind, name, err)
				}
			}
		}
		for _, kind := range row.others {
			if err := p.expect(of(kind, quoting(sent, 500)), dropped(ClassICMP)); err != nil {
				t.Errorf("IPv4 %v, type %d: %v", ipv4, kind, err)
			}
		}
	}
}

func TestFragmentsOfRepliesAreNeverDropped(t *testing.T) {
	for _, host := range []te.Frame{back(v4), back(v6)} {
		p := exhausted(t, ClassFragment, with(back(host), later(1)))
		query := with(host, udp(40000, 53))
		p.leave(query)
		rest := func(id uint32) []byte { return with(back(host), later(id)).Bytes() }
		first := func(f te.Frame, id uint32) []byte { return with(f, piece(te.Fragment{More: true, ID: id})).Bytes() }
		must(t, p.expect(rest(70), dropped(ClassFragment)))
		must(t, p.expect(first(back(query), 70), passed(ClassUDP)))
		must(t, p.expect(first(with(back(query), udp(54, 40000)), 71), passed(ClassUDP)))
		for id, want := range map[uint32]cell{70: reply(ClassFragment), 71: dropped(ClassFragment), 72: dropped(ClassFragment)} {
			if err := p.expect(rest(id), want); err != nil {
				t.Errorf("to %v, datagram %d: %v", host.Src, id, err)
			}
		}
		// Who is answered by a service gets no fragments past the budget.
		asked := with(back(host), udp(4000, 53))
		must(t, p.expect(asked.Bytes(), passed(ClassUDP)))
		p.leave(back(asked))
		must(t, p.expect(first(asked, 73), passed(ClassUDP)))
		if err := p.expect(rest(73), dropped(ClassFragment)); err != nil {
			t.Errorf("to %v, from whom a service has answered: %v", host.Src, err)
		}
		other := with(back(host), later(70))
		other.Src = other.Src.Next()
		if err := p.expect(other.Bytes(), dropped(ClassFragment)); err != nil {
			t.Errorf("from another host: %v", err)
		}
	}
}

// What leaves is only watched, whatever it is.
func TestWhatLeavesIsOnlyWatched(t *testing.T) {
	p := exhausted(t, ClassUDP, with(v4, udp(1, 2)))
	for _, f := range frames {
		b := f.frame.Bytes()
		least := map[bool]int{true: 34, false: 54}[f.frame.Dst.Is4()] // what the kernel's test run takes
		for n := least; n <= len(b); n++ {
			action, out, err := p.objs.WeirNote.Test(b[:n])
			must(t, err)
			if int32(action) != tcxNext || string(out) != string(b[:n]) {
				t.Fatalf("%s, %d bytes: action %d, % x", f.name, n, int32(action), out)
			}
		}
	}
}
