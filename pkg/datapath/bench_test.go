package datapath

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// A run is the best of benchTries of benchFrames each, some 40 ms at full speed: what a neighbour of the machine takes is in the others.
const (
	benchFrames = 1 << 18
	benchTries  = 4
)

// BenchmarkFlood measures each mode and number of sources as a ratio to a bare XDP_DROP on the same veth pair in the same
// minute: rounds alternate between the two, and the median of their ratios counts.
//
//	go test -run '^$' -bench Flood -benchtime 9x ./pkg/datapath
func BenchmarkFlood(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, row := range []struct {
		name    string
		options []byte
	}{
		{"linux", nil},
		{"windows", te.TCPOptions(te.MSS(1460), te.NOP(), te.WindowScale(8), te.NOP(), te.NOP(), te.SACKPermitted())},
		{"apple", te.TCPOptions(te.MSS(1460), te.NOP(), te.WindowScale(6), te.NOP(), te.NOP(), te.Timestamps(1, 0), te.SACKPermitted(), []byte{0, 0})},
		{"none", []byte{}},
		{"odd order", te.TCPOptions(te.WindowScale(7), te.SACKPermitted(), te.Timestamps(1, 0), te.MSS(1460), te.NOP())},
		{"40 NOPs", bytes.Repeat([]byte{1}, 40)},
		{"20 unknown ones", bytes.Repeat([]byte{254, 2}, 20)},
	} {
		for family, target := range map[string]string{"ipv4": "192.0.2.1:443", "ipv6": "[2001:db8::1]:443"} {
			b.Run("challenge/"+family+"/"+row.name, func(b *testing.B) {
				benchFlood(b, "challenge", flood.Options{Target: netip.MustParseAddrPort(target), TCPOptions: row.options})
			})
		}
	}
	for family, target := range map[string]string{"ipv4": "192.0.2.1:443", "ipv6": "[2001:db8::1]:443"} {
		b.Run("challenge/"+family+"/fallback", func(b *testing.B) { // by the kernel's own cookies
			benchFlood(b, "fallback", flood.Options{Target: netip.MustParseAddrPort(target)})
		})
	}
	b.Run("bounce", benchBounce)
	for _, mode := range []string{"observe", "enforce"} {
		for _, sources := range []uint32{1, 1000, 100_000, 1_000_000, 0} {
			name := fmt.Sprintf("%s/sources=%d", mode, sources)
			if sources == 0 {
				name = mode + "/sources=random"
			}
			b.Run(name, func(b *testing.B) {
				benchFlood(b, mode, flood.Options{
					Target: netip.MustParseAddrPort("192.0.2.1:443"), FirstSource: netip.MustParseAddr("10.0.0.1"), NumSources: sources,
				})
			})
		}
	}
}

func benchFlood(b *testing.B, mode string, o flood.Options) {
	pair := newBenchPair(b)
	gen := pair.generator(b, o)
	fallback := mode == "fallback"
	challenges := fallback || mode == "challenge"

	const watched = 1 // some network namespace: who has sockets is known
	c := constants{seed: newSeed(), secret: newSeed(), sources: DefaultSources, benchDrop: true, challenge: challenges, accept: challenges,
		netns: watched}
	objs, err := c.load(nil)
	must(b, err)
	b.Cleanup(func() { must(b, objs.Close()) })
	must(b, objs.prepare(c, DefaultLimit, "bench", time.Now()))
	if mode != "observe" {
		must(b, changeControl(objs.Control, func(raw *bpfWeirControl) {
			raw.Mode, raw.UntilNs = modeEnforce, monotonicNow()+uint64(time.Hour)
		}))
	}
	if challenges {
		pair.challenge(b, objs, fallback)
	}
	if fallback {
		_, err := (&bpfWeirFallback{}).arm(objs.Fallback)
		must(b, err)
		must(b, writeFallback(objs.Fallback, bpfWeirFallback{UntilNs: math.MaxUint64}))
	}

	pair.compare(b, gen, objs.Weir)
	if challenges {
		reason := ReasonUnverified
		memory, err := objs.Cpus.Memory()
		must(b, err)
		counted, err := (&Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}).sum()
		must(b, err)
		if got, all := counted.Total(VerdictTX, reason), counted.Offered(ClassSYN); got.Packets < all.Packets*9/10 {
			b.Errorf("%d of %d SYNs were answered", got.Packets, all.Packets)
		}
	}
}

// benchBounce swaps a frame's addresses and sends it back without a look: the most that a challenge can reach.
func benchBounce(b *testing.B) {
	pair := newBenchPair(b)
	sink, err := flood.NewSink(pair.from.Name, false)
	must(b, err)
	b.Cleanup(func() { must(b, sink.Close()) })
	word := func(at int16, size asm.Size, to int16) asm.Instructions {
		return asm.Instructions{
			asm.LoadMem(asm.R4, asm.R2, at, size), asm.LoadMem(asm.R5, asm.R2, to, size),
			asm.StoreMem(asm.R2, to, asm.R4, size), asm.StoreMem(asm.R2, at, asm.R5, size),
		}
	}
	const headers = 34
	is := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // xdp_md's data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // and data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, headers),
		asm.JGT.Reg(asm.R4, asm.R3, "end"),
	}
	is = append(is, slices.Concat(word(0, asm.Word, 6), word(4, asm.Half, 10), word(26, asm.Word, 30))...)
	bounce, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: append(is,
		asm.Mov.Imm(asm.R0, xdpTX).WithSymbol("end"), asm.Return())})
	must(b, err)
	b.Cleanup(func() { must(b, bounce.Close()) })
	pair.compare(b, pair.generator(b, flood.Options{Target: netip.MustParseAddrPort("192.0.2.1:443")}), bounce)
}

// compare runs rounds and reports a program's ratio to a bare drop.
func (p benchPair) compare(b *testing.B, gen *flood.Flood, prog *ebpf.Program) {
	var ratios, bare, full []float64
	for b.Loop() {
		d := p.run(b, gen, nil)
		w := p.run(b, gen, prog)
		bare, full = append(bare, d), append(full, w)
		ratios = append(ratios, d/w)
	}
	b.ReportMetric(median(ratios), "of-drop")
	b.ReportMetric(median(full)-median(bare), "ns-added")
	b.ReportMetric(1e3/median(full), "Mpps")
	b.ReportMetric(1e3/median(bare), "Mpps-drop")
	b.ReportMetric(0, "ns/op")
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// benchPair is a veth pair in a network namespace of its own, which ends with the benchmark's thread.
type benchPair struct{ from, to *net.Interface }

func newBenchPair(b *testing.B) benchPair {
	runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the goroutine
	must(b, unix.Unshare(unix.CLONE_NEWNET))
	for _, args := range [][]string{
		{"link", "add", "gen", "type", "veth", "peer", "name", "in"},
		{"link", "set", "gen", "up"},
		{"link", "add", "idle", "up", "type", "veth", "peer", "name", "other"},
		{"link", "set", "lo", "up"},
		{"addr", "add", "192.0.2.1/24", "dev", "in"},
		{"addr", "add", "2001:db8::1/64", "dev", "in", "nodad"},
		{"link", "set", "in", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			b.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	from, err := net.InterfaceByName("gen")
	must(b, err)
	to, err := net.InterfaceByName("in")
	must(b, err)
	return benchPair{from, to}
}

func (p benchPair) generator(b *testing.B, o flood.Options) *flood.Flood {
	o.Interface, o.Source, o.Destination, o.Idle = p.from.Name, p.from.HardwareAddr, p.to.HardwareAddr, "idle"
	f, err := flood.New(o)
	must(b, err)
	b.Cleanup(func() { must(b, f.Close()) })
	return f
}

// challenge answers the flood's SYNs; the answers are dropped where they arrive.
func (p benchPair) challenge(b *testing.B, objs *bpfObjects, mptcp bool) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(mptcp)
	l, err := cfg.Listen(b.Context(), "tcp", ":443")
	must(b, err)
	b.Cleanup(func() { must(b, l.Close()) })
	sink, err := flood.NewSink(p.from.Name, false)
	must(b, err)
	b.Cleanup(func() { must(b, sink.Close()) })
	offer, err := readOffer()
	must(b, err)
	must(b, changeControl(objs.Control, func(raw *bpfWeirControl) {
		raw.Challenge, raw.Offer = uint32(ChallengeAuto), offer
		raw.Unverified = DefaultUnverified.raw(uint64(time.Second))
		copy(raw.Mac[:], p.to.HardwareAddr)
	}))
}

// run returns nanoseconds per packet with a program on the receiver, a bare drop if it is nil.
func (p benchPair) run(b *testing.B, gen *flood.Flood, prog *ebpf.Program) float64 {
	var detach func() error
	if prog == nil {
		s, err := flood.NewSink(p.to.Name, false)
		must(b, err)
		detach = s.Close
	} else {
		l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: p.to.Index, Flags: link.XDPDriverMode})
		must(b, err)
		detach = l.Close
	}
	_, err := gen.Send(benchFrames / 16) // warms up
	best := time.Duration(math.MaxInt64)
	for range benchTries {
		d, e := gen.Send(benchFrames)
		best, err = min(best, d), errors.Join(err, e)
	}
	must(b, errors.Join(err, detach()))
	return float64(best.Nanoseconds()) / benchFrames
}
