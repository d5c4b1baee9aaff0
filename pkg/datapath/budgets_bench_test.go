package datapath

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
)

// BenchmarkFloodBudgets measures floods beyond their budgets as BenchmarkFlood does SYNs: each source's, and with random sources
// that of all together.
func BenchmarkFloodBudgets(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, row := range []struct {
		kind  flood.Kind
		class Class
	}{{flood.UDP, ClassUDP}, {flood.ICMP, ClassICMP}, {flood.RST, ClassRST}, {flood.Fragment, ClassFragment}, {flood.ACK, ClassTCP}} {
		for _, sources := range []uint32{1, 0} {
			name := fmt.Sprintf("%v/sources=%d", row.class, sources)
			if sources == 0 {
				name = fmt.Sprintf("%v/sources=random", row.class)
			}
			b.Run(name, func(b *testing.B) { benchBudget(b, row.kind, row.class, sources) })
		}
	}
}

// BenchmarkFloodACKs is of ACKs that belong to no connection, while SYNs are challenged: to a listener, which costs a look at
// the cookie, and to a port without one; when weir has just been attached, and from a minute later on.
func BenchmarkFloodACKs(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for name, port := range map[string]uint16{"listener": 443, "nobody": 444} {
		b.Run(name+"/attached", func(b *testing.B) { benchACKs(b, port, false) })
		b.Run(name+"/settled", func(b *testing.B) { benchACKs(b, port, true) })
	}
}

func benchACKs(b *testing.B, port uint16, settled bool) {
	pair := newBenchPair(b)
	const watched = 1 // some network namespace
	objs := pair.enforcing(b, constants{seed: newSeed(), secret: newSeed(), sources: DefaultSources, benchDrop: true, challenge: true,
		accept: true, netns: watched})
	pair.challenge(b, objs, false)
	must(b, changeControl(objs.Control, func(raw *bpfWeirControl) { raw.Challenge = uint32(ChallengeAlways) }))
	acks := pair.flood(b, flood.ACK, port, 0)
	if settled {
		must(b, objs.Spoofing.Put(only, bpfWeirSpoofing{Peers: peersKnown})) // none here
		pair.run(b, acks, objs.Weir)
		ageNotes(b, objs.Cpus)
	}
	pair.compare(b, acks, objs.Weir)
	pair.demand(b, objs, ClassTCP, VerdictDrop)
}

// enforcing loads a program and lets it enforce.
func (p benchPair) enforcing(b *testing.B, c constants) *bpfObjects {
	objs, err := c.load(nil)
	must(b, err)
	b.Cleanup(func() { must(b, objs.Close()) })
	must(b, objs.prepare(c, DefaultLimit, "bench", time.Now()))
	must(b, changeControl(objs.Control, func(raw *bpfWeirControl) {
		raw.Mode, raw.UntilNs = modeEnforce, monotonicNow()+uint64(time.Hour)
		copy(raw.Mac[:], p.to.HardwareAddr)
	}))
	return objs
}

func (p benchPair) flood(b *testing.B, kind flood.Kind, port uint16, sources uint32) *flood.Flood {
	f, err := flood.New(flood.Options{
		Interface: p.from.Name, Source: p.from.HardwareAddr, Destination: p.to.HardwareAddr, Kind: kind, Idle: "idle",
		Target: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), FirstSource: netip.MustParseAddr("10.0.0.1"),
		NumSources: sources,
	})
	must(b, err)
	b.Cleanup(func() { must(b, f.Close()) })
	return f
}

func benchBudget(b *testing.B, kind flood.Kind, class Class, sources uint32) {
	pair := newBenchPair(b)
	objs := pair.enforcing(b, constants{seed: newSeed(), sources: DefaultSources, benchDrop: true, note: true})
	var budgets Budgets
	budgets.Classes[class] = Budget{Source: DefaultLimit, Total: Limit{Rate: 10_000, Burst: 10_000}}
	must(b, writeBudgets(objs.Budgets, budgets))
	must(b, objs.Spoofing.Put(only, bpfWeirSpoofing{Peers: peersKnown})) // none here
	pair.compare(b, pair.flood(b, kind, 443, sources), objs.Weir)
	pair.demand(b, objs, class, VerdictDrop)
}

// demand wants nearly all packets of a class, and no other class, to have met one verdict.
func (p benchPair) demand(b *testing.B, objs *bpfObjects, class Class, verdict Verdict) {
	memory, err := objs.Cpus.Memory()
	must(b, err)
	counted, err := (&Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}).sum()
	must(b, err)
	var got, all uint64
	for c := range NumClasses {
		all += counted.Offered(c).Packets
	}
	for _, n := range counted[class][verdict] {
		got += n.Packets
	}
	if got < all*9/10 {
		b.Errorf("%d of %d packets met the verdict %v on %v", got, all, verdict, class)
	}
}
