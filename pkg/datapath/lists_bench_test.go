package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	"github.com/weir-sensor/weir/pkg/prefixlist"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Lengths as public block lists have them: mostly addresses, some networks of every size.
var mixedLengths = []int{32, 32, 32, 32, 32, 32, 24, 24, 23, 22, 21, 20, 19, 18, 17, 16, 25, 26, 27, 28, 29, 30, 31}

// BenchmarkFloodLists measures the lists as BenchmarkFlood does the rest: a hit is a source on the list and dropped, a miss
// is judged like without lists, which is the row with 0 entries. The kernel's own trie is there for comparison, as a bare
// look-up and drop.
func BenchmarkFloodLists(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, row := range []struct {
		name    string
		entries int
		lengths []int
		hit     bool
	}{
		{"entries=0", 0, nil, false},
		{"hit/entries=100000", 100_000, []int{32}, true},
		{"hit/entries=1000", 1000, []int{32}, true},
		{"hit/entries=100000/lengths=16", 100_000, mixedLengths, true},
		{"miss/entries=1", 1, []int{32}, false},
		{"miss/entries=100000", 100_000, []int{32}, false},
		{"miss/entries=100000/lengths=16", 100_000, mixedLengths, false},
	} {
		b.Run(row.name, func(b *testing.B) { benchLists(b, row.entries, row.lengths, row.hit) })
	}
	b.Run("trie/hit/entries=100000", func(b *testing.B) { benchTrie(b, 100_000, []int{32}, true) })
	b.Run("trie/miss/entries=100000/lengths=16", func(b *testing.B) { benchTrie(b, 100_000, mixedLengths, false) })
}

// sources floods from addresses on the list, or from any.
func (p benchPair) sources(b *testing.B, entries int, hit bool) *flood.Flood {
	if !hit {
		entries = 0
	}
	f, err := flood.New(flood.Options{
		Interface: p.from.Name, Source: p.from.HardwareAddr, Destination: p.to.HardwareAddr,
		Target: netip.MustParseAddrPort("192.0.2.1:443"), FirstSource: netip.MustParseAddr("10.0.0.0"),
		NumSources: uint32(entries), Shuffled: true, Idle: "idle",
	})
	must(b, err)
	b.Cleanup(func() { must(b, f.Close()) })
	return f
}

func benchLists(b *testing.B, entries int, lengths []int, hit bool) {
	pair := newBenchPair(b)
	c := constants{seed: newSeed(), secret: newSeed(), sources: DefaultSources, benchDrop: true}
	objs, err := c.load(nil)
	must(b, err)
	b.Cleanup(func() { must(b, objs.Close()) })
	must(b, objs.prepare(c, DefaultLimit, "bench", time.Now()))
	m := &listMaps{tables: objs.Lists, long: objs.LongLists, control: objs.ListControl, noted: objs.ListEntries}
	must(b, m.install(benchRows(entries, lengths, !hit), false, monotonicNow()>>listClockShift))
	must(b, m.changeControl(func(c *bpfWeirListControl) { c.HeldUntilNs = monotonicNow() + uint64(time.Hour) }))
	pair.compare(b, pair.sources(b, entries, hit), objs.Weir)

	memory, err := objs.Cpus.Memory()
	must(b, err)
	counted, err := (&Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}).sum()
	must(b, err)
	if got, all := counted.Total(VerdictDrop, ReasonBlocked).Packets, counted.Offered(ClassSYN).Packets; hit != (got > all*9/10) {
		b.Errorf("%d of %d SYNs were blocked", got, all)
	}
}

func benchTrie(b *testing.B, entries int, lengths []int, hit bool) {
	trie, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: MaxConfigured, Flags: unix.BPF_F_NO_PREALLOC,
	})
	must(b, err)
	b.Cleanup(func() { must(b, trie.Close()) })
	for _, r := range benchRows(entries, lengths, !hit) {
		key := [8]byte{}
		binary.NativeEndian.PutUint32(key[:], uint32(r.prefix.Bits()))
		copy(key[4:], r.prefix.Addr().AsSlice())
		must(b, trie.Put(key, uint64(1)))
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 34),
		asm.JGT.Reg(asm.R4, asm.R3, "drop"),
		asm.LoadMem(asm.R4, asm.R2, 26, asm.Word), // the source
		asm.StoreMem(asm.RFP, -4, asm.R4, asm.Word),
		asm.StoreImm(asm.RFP, -8, 32, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.LoadMapPtr(asm.R1, trie.FD()),
		asm.FnMapLookupElem.Call(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"),
		asm.Return(),
	}})
	must(b, err)
	b.Cleanup(func() { must(b, prog.Close()) })
	pair := newBenchPair(b)
	pair.compare(b, pair.sources(b, entries, hit), prog)
}

// BenchmarkListLoad puts a block list in force: from the text of its file to the tables of a datapath that is attached, once in an
// empty one and from then on in exchange for itself.
//
//	go test -run '^$' -bench ListLoad -benchtime 5x ./pkg/datapath
func BenchmarkListLoad(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, n := range []int{100_000, MaxConfigured} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) { benchListLoad(b, n) })
	}
}

func benchListLoad(b *testing.B, n int) {
	host, _ := te.Pair(b)
	dir := te.PinDir(b)
	host.Do(b, func() {
		a, err := Attach(Options{Interface: host.Interface, BPFFS: dir, Limit: DefaultLimit, Sources: MinSources, Version: "bench"})
		must(b, err)
		b.Cleanup(func() { must(b, a.Close()) })
	})
	unloadAfter(b, host, Options{BPFFS: dir, Interface: host.Interface})
	var file strings.Builder
	for _, r := range benchRows(n, []int{32}, true) {
		fmt.Fprintln(&file, r.prefix)
	}
	keeper, err := NewListKeeper(dir, host.Interface, ListSettings{Ceiling: DefaultCeiling})
	must(b, err)
	var most time.Duration
	for b.Loop() {
		start := time.Now()
		block, err := prefixlist.Read(strings.NewReader(file.String()), "bench")
		must(b, err)
		must(b, keeper.Configure(ListSettings{Block: block, Ceiling: DefaultCeiling}))
		host.Do(b, func() { must(b, keeper.Hold(time.Hour)) })
		most = max(most, time.Since(start))
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(most.Seconds(), "s-most")
	b.ReportMetric(0, "ns/op")
}

// benchRows are n prefixes of certain lengths: in a row where the flood comes from, or anywhere.
func benchRows(n int, lengths []int, anywhere bool) []listRow {
	seen := make(map[netip.Prefix]bool, n)
	rows := make([]listRow, 0, n)
	for i := uint32(0); len(rows) < n; i++ {
		a := uint32(10<<24) + i
		if anywhere {
			a = i * 0x9e3779b1
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], a)
		p := netip.PrefixFrom(netip.AddrFrom4(b), lengths[int(i)%len(lengths)]).Masked()
		if !seen[p] {
			seen[p] = true
			rows = append(rows, listRow{p, ListBlock, listHeld})
		}
	}
	return rows
}
