package datapath

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weir-sensor/weir/pkg/datapath/internal/bpftest"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

const (
	xdpDrop = 1
)

// program is the datapath loaded but not attached, to be run on single frames.
type program struct {
	t    testing.TB
	objs *bpfObjects
	read *Reader
}

func newProgram(t testing.TB, l Limit) *program {
	t.Helper()
	te.Root(t)
	c := constants{seed: newSeed(), secret: newSeed(), sources: MinSources, challenge: true, accept: haveAssign() == nil, frags: true,
		note: true}
	objs, err := c.load(nil)
	must(t, err)
	must(t, objs.prepare(c, l, "test", time.Now()))
	t.Cleanup(func() { must(t, objs.Close()) })
	memory, err := objs.Cpus.Memory()
	must(t, err)
	return &program{t, objs, &Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}}
}

// switchTo sets the mode and waits until every CPU has seen it: a jiffy.
func (p *program) switchTo(mode uint32, lease time.Duration) {
	p.t.Helper()
	must(p.t, changeControl(p.objs.Control, func(raw *bpfWeirControl) {
		raw.Mode, raw.UntilNs = mode, monotonicNow()+uint64(lease)
	}))
	time.Sleep(20 * time.Millisecond)
}

// cell is one counter.
type cell struct {
	class   Class
	verdict Verdict
	reason  Reason
}

func (c cell) String() string { return fmt.Sprintf("%v/%v/%v", c.class, c.verdict, c.reason) }

// run runs one frame n times and returns XDP's action and the counters that moved. Both programs must agree.
func (p *program) run(prog *ebpf.Program, frame []byte, n uint32) (uint32, map[cell]Count) {
	p.t.Helper()
	before, err := p.read.sum()
	must(p.t, err)
	action, err := prog.Run(&ebpf.RunOptions{Data: frame, Repeat: n})
	must(p.t, err)
	after, err := p.read.sum()
	must(p.t, err)
	return action, moved(after.Sub(&before))
}

// moved is what isn't zero of counters' differences.
func moved(diff Counters) map[cell]Count {
	moved := map[cell]Count{}
	for class := range NumClasses {
		for verdict := range NumVerdicts {
			for reason := range NumReasons {
				if n := diff[class][verdict][reason]; n != (Count{}) {
					moved[cell{class, verdict, reason}] = n
				}
			}
		}
	}
	return moved
}

// expect runs a frame once and demands one verdict and exactly one counter moved.
func (p *program) expect(frame []byte, want cell) error {
	p.t.Helper()
	action := uint32(xdpPass)
	if want.verdict == VerdictDrop {
		action = xdpDrop
	}
	for _, prog := range []*ebpf.Program{p.objs.Weir, p.objs.WeirFrags} {
		got, moved := p.run(prog, frame, 1)
		if got != action {
			return fmt.Errorf("action %d, want %d", got, action)
		}
		if len(moved) != 1 || moved[want] != (Count{1, uint64(len(frame))}) {
			return fmt.Errorf("counted %v, want %v once with %d bytes", moved, want, len(frame))
		}
	}
	return nil
}

func passed(c Class) cell { return cell{c, VerdictPass, ReasonNone} }

var (
	malformed = cell{ClassOther, VerdictPass, ReasonMalformed}

	v4    = te.Frame{Src: netip.MustParseAddr("192.0.2.7"), Dst: netip.MustParseAddr("198.51.100.1")}
	v6    = te.Frame{Src: netip.MustParseAddr("2001:db8:1::7"), Dst: netip.MustParseAddr("2001:db8::1")}
	ports = te.TCP{SrcPort: 1234, DstPort: 443}
)

func with(f te.Frame, change ...func(*te.Frame)) te.Frame {
	for _, c := range change {
		c(&f)
	}
	return f
}

func l4(x te.L4) func(*te.Frame) { return func(f *te.Frame) { f.L4 = x } }

func tcp(flags te.Flags) func(*te.Frame) {
	segment := ports
	segment.Flags = flags
	segment.Options = te.TCPOptions(te.MSS(1460), te.SACKPermitted())
	return l4(segment)
}

func tags(ids ...uint16) func(*te.Frame) { return func(f *te.Frame) { f.VLANs = ids } }

func options(n int) func(*te.Frame) { return func(f *te.Frame) { f.Options = make([]byte, n) } }

func ext(types ...uint8) func(*te.Frame) {
	return func(f *te.Frame) {
		for _, x := range types {
			f.Extensions = append(f.Extensions, te.Extension{Type: x, Body: make([]byte, 6)})
		}
	}
}

func extBody(x uint8, n int) func(*te.Frame) {
	return func(f *te.Frame) { f.Extensions = append(f.Extensions, te.Extension{Type: x, Body: make([]byte, n)}) }
}

func piece(f te.Fragment) func(*te.Frame) { return func(x *te.Frame) { x.Fragment = f } }

// frames of every kind. needs is how many bytes of the frame it takes to see what it is; fewer are malformed.
var frames = []struct {
	name  string
	frame te.Frame
	class Class
	needs int
}{
	{"SYN", with(v4, tcp(te.SYN)), ClassSYN, 54},
	{"SYN with ECN", with(v4, tcp(te.SYN|te.ECE|te.CWR)), ClassSYN, 54},
	{"SYN with every flag but ACK", with(v4, tcp(0xff&^te.ACK)), ClassSYN, 54},
	{"SYN-ACK", with(v4, tcp(te.SYN|te.ACK)), ClassSYNACK, 54},
	{"ACK", with(v4, tcp(te.ACK)), ClassTCP, 54},
	{"FIN", with(v4, tcp(te.FIN|te.ACK)), ClassTCP, 54},
	{"no flags", with(v4, tcp(0)), ClassTCP, 54},
	{"RST", with(v4, tcp(te.RST)), ClassRST, 54},
	{"RST-ACK", with(v4, tcp(te.RST|te.ACK)), ClassRST, 54},
	{"UDP", with(v4, l4(te.UDP{SrcPort: 53, DstPort: 53, Payload: []byte("x")})), ClassUDP, 34},
	{"ICMP", with(v4, l4(te.ICMP{Type: 8, Body: make([]byte, 4)})), ClassICMP, 34},
	{"GRE", with(v4, l4(te.Raw{Protocol: 47, Payload: make([]byte, 4)})), ClassOther, 34},
	{"SYN with IP options", with(v4, tcp(te.SYN), options(4)), ClassSYN, 58},
	{"SYN with the most IP options", with(v4, tcp(te.SYN), options(40)), ClassSYN, 94},
	{"SYN in a VLAN", with(v4, tcp(te.SYN), tags(7)), ClassSYN, 58},
	{"SYN in two VLANs", with(v4, tcp(te.SYN), tags(7, 8)), ClassSYN, 62},
	{"SYN in three VLANs", with(v4, tcp(te.SYN), tags(7, 8, 9)), ClassOther, 22},
	{"first fragment of a SYN", with(v4, tcp(te.SYN), piece(te.Fragment{More: true})), ClassSYN, 54},
	{"later fragment", with(v4, l4(te.Raw{Protocol: 6, Payload: make([]byte, 40)}), piece(te.Fragment{Offset: 8})), ClassFragment, 34},
	{"middle fragment", with(v4, l4(te.Raw{Protocol: 17, Payload: make([]byte, 8)}), piece(te.Fragment{Offset: 65528, More: true})), ClassFragment, 34},

	{"IPv6 SYN", with(v6, tcp(te.SYN)), ClassSYN, 74},
	{"IPv6 SYN-ACK", with(v6, tcp(te.SYN|te.ACK)), ClassSYNACK, 74},
	{"IPv6 RST", with(v6, tcp(te.RST)), ClassRST, 74},
	{"IPv6 UDP", with(v6, l4(te.UDP{})), ClassUDP, 54},
	{"ICMPv6", with(v6, l4(te.ICMP{Type: 128, Body: make([]byte, 4)})), ClassICMP, 54},
	{"IPv6 no next header", with(v6, l4(te.Raw{Protocol: te.NoNextHeader, Payload: nil})), ClassOther, 54},
	{"IPv6 SYN in two VLANs", with(v6, tcp(te.SYN), tags(7, 8)), ClassSYN, 82},
	{"IPv6 SYN behind hop-by-hop", with(v6, tcp(te.SYN), ext(te.HopByHop)), ClassSYN, 82},
	{"IPv6 SYN behind a long header", with(v6, tcp(te.SYN), extBody(te.DestinationOpt, 254)), ClassSYN, 74 + 256},
	{"IPv6 SYN behind AH", with(v6, tcp(te.SYN), extBody(te.AH, 22)), ClassSYN, 74 + 24},
	{"IPv6 SYN behind one of each", with(v6, tcp(te.SYN), ext(te.HopByHop, te.DestinationOpt, te.Routing), extBody(te.AH, 10)), ClassSYN, 74 + 36},
	{"IPv6 SYN behind seven", with(v6, tcp(te.SYN), ext(0, 60, 43, 60, 60, 43, 60)), ClassSYN, 74 + 56},
	{"IPv6 atomic fragment", with(v6, tcp(te.SYN), piece(te.Fragment{Atomic: true})), ClassSYN, 82},
	{"IPv6 first fragment", with(v6, tcp(te.SYN), piece(te.Fragment{More: true})), ClassSYN, 82},
	{"IPv6 later fragment", with(v6, l4(te.Raw{Protocol: 6, Payload: make([]byte, 40)}), piece(te.Fragment{Offset: 8})), ClassFragment, 62},
}

func TestEveryFrameIsCountedOnceAndPasses(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	for _, f := range frames {
		b := f.frame.Bytes()
		for n := 14; n <= len(b); n++ {
			want := passed(f.class)
			if n < f.needs {
				want = malformed
			}
			if err := p.expect(b[:n], want); err != nil {
				t.Errorf("%s, %d of %d bytes: %v", f.name, n, len(b), err)
				break
			}
		}
		p.forget()
	}
}

// forget empties the source table.
func (p *program) forget() {
	for i := range p.objs.Sources.MaxEntries() {
		must(p.t, p.objs.Sources.Put(i, bpfWeirSet{}))
	}
}

func TestMalformedFramesPass(t *testing.T) {
	p := newProgram(t, Limit{1, 1})
	p.switchTo(modeEnforce, time.Hour)
	syn := with(v4, tcp(te.SYN)).Bytes()
	syn6 := with(v6, tcp(te.SYN)).Bytes()
	patch := func(b []byte, at int, x byte) []byte {
		c := append([]byte{}, b...)
		c[at] = x
		return c
	}
	for name, frame := range map[string][]byte{
		"IPv4 of version 5":              patch(syn, 14, 0x55),
		"IPv4 header of 4 words":         patch(syn, 14, 0x44),
		"IPv4 header beyond the frame":   patch(syn[:34], 14, 0x4f),
		"IPv4 length below its header":   patch(patch(syn, 16, 0), 17, 19),
		"TCP header of 4 words":          patch(syn, 46, 0x40),
		"IPv6 of version 4":              patch(syn6, 14, 0x40),
		"IPv6 multicast source":          patch(syn6, 22, 0xff),
		"IPv6 with nine headers":         with(v6, tcp(te.SYN), ext(0, 60, 43, 60, 60, 43, 60, 60, 60)).Bytes(),
		"IPv6 header longer than frame":  patch(with(v6, tcp(te.SYN), ext(te.HopByHop)).Bytes(), 55, 255),
		"IPv6 SYN in a header's padding": with(v6, l4(te.Raw{Protocol: te.HopByHop, Payload: []byte{6}})).Bytes(),
	} {
		for range 3 {
			if err := p.expect(frame, malformed); err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
	for name, frame := range map[string][]byte{
		"ARP":           v4.Ethernet(0x0806, make([]byte, 28)),
		"no known type": v4.Ethernet(0x1234, nil),
		"LLC":           v4.Ethernet(38, make([]byte, 38)),
	} {
		if err := p.expect(frame, passed(ClassOther)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// over is the verdict on a SYN over its source's limit.
func over(v Verdict) cell { return cell{ClassSYN, v, ReasonSourceRate} }

func TestModesAndLease(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 2}) // p.expect runs each frame twice
	syn := with(v4, tcp(te.SYN)).Bytes()
	steps := []struct {
		name  string
		mode  uint32
		lease time.Duration
		want  cell
	}{
		{"observe", modeObserve, 0, over(VerdictWouldDrop)},
		{"observe with a lease", modeObserve, time.Hour, over(VerdictWouldDrop)},
		{"enforce without a lease", modeEnforce, -time.Second, over(VerdictWouldDrop)},
		{"enforce", modeEnforce, time.Hour, over(VerdictDrop)},
		{"a lease that ends", modeEnforce, 5 * time.Millisecond, over(VerdictWouldDrop)},
		{"enforce again", modeEnforce, time.Hour, over(VerdictDrop)},
		{"observe again", modeObserve, 0, over(VerdictWouldDrop)},
	}
	must(t, p.expect(syn, passed(ClassSYN)))
	for _, s := range steps {
		p.switchTo(s.mode, s.lease)
		if err := p.expect(syn, s.want); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		for _, flags := range []te.Flags{te.ACK, te.SYN | te.ACK, te.RST, te.FIN | te.ACK} {
			if action, _ := p.run(p.objs.Weir, with(v4, tcp(flags)).Bytes(), 1000); action != xdpPass {
				t.Errorf("%s: a flood of TCP with flags %#x has action %d", s.name, flags, action)
			}
		}
	}
}

func TestBurstThenRate(t *testing.T) {
	l := Limit{Rate: 10, Burst: 50}
	p := newProgram(t, l)
	p.switchTo(modeEnforce, time.Hour)
	start := time.Now()
	var passes uint64
	for time.Since(start) < 500*time.Millisecond {
		_, moved := p.run(p.objs.Weir, with(v4, tcp(te.SYN)).Bytes(), 1000)
		passes += moved[passed(ClassSYN)].Packets
	}
	want := float64(l.Burst) + time.Since(start).Seconds()*float64(l.Rate)
	if float64(passes) < want-2 || float64(passes) > want+1 {
		t.Errorf("%d SYNs of a flood pass, want %.1f", passes, want)
	}
}

func TestSourcesAreTheirOwn(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 1})
	p.switchTo(modeEnforce, time.Hour)
	from := func(f te.Frame, src string) []byte {
		f.Src = netip.MustParseAddr(src)
		return with(f, tcp(te.SYN)).Bytes()
	}
	once := func(frame []byte) uint32 {
		action, _ := p.run(p.objs.Weir, frame, 1)
		return action
	}
	for _, row := range []struct {
		first, second string
		same          bool
	}{
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"2001:db8:1::7", "2001:db8:1::8", true},
		{"2001:db8:1::7", "2001:db8:1:0:ffff::8", true},
		{"2001:db8:1::7", "2001:db8:1:1::7", false},
		{"::", "::1", true},
		{"::1:0:0:0:0", "::", false},
		{"::ffff:192.0.2.7", "::", true}, // on the wire a mapped address is an IPv6 address
	} {
		p.forget()
		frame := func(s string) []byte {
			if a := netip.MustParseAddr(s); a.Is4() {
				return from(v4, s)
			}
			return from(v6, s)
		}
		if got := once(frame(row.first)); got != xdpPass {
			t.Fatalf("%s: the first SYN has action %d", row.first, got)
		}
		want := uint32(xdpPass)
		if row.same {
			want = xdpDrop
		}
		if got := once(frame(row.second)); got != want {
			t.Errorf("%s after %s: action %d, want %d", row.second, row.first, got, want)
		}
	}
}

func TestLabelsAreTheDatapaths(t *testing.T) {
	for enum, want := range map[string]map[string]int{
		"weir_class": {
			"WEIR_CLASS_SYN": int(ClassSYN), "WEIR_CLASS_SYN_ACK": int(ClassSYNACK), "WEIR_CLASS_TCP": int(ClassTCP),
			"WEIR_CLASS_RST": int(ClassRST), "WEIR_CLASS_UDP": int(ClassUDP), "WEIR_CLASS_ICMP": int(ClassICMP),
			"WEIR_CLASS_FRAGMENT": int(ClassFragment), "WEIR_CLASS_OTHER": int(ClassOther), "WEIR_CLASS_LEN": int(NumClasses),
		},
		"weir_verdict": {
			"WEIR_VERDICT_PASS": int(VerdictPass), "WEIR_VERDICT_WOULD_DROP": int(VerdictWouldDrop),
			"WEIR_VERDICT_DROP": int(VerdictDrop), "WEIR_VERDICT_TX": int(VerdictTX), "WEIR_VERDICT_LEN": int(NumVerdicts),
		},
		"weir_reason": {
			"WEIR_REASON_NONE": int(ReasonNone), "WEIR_REASON_MALFORMED": int(ReasonMalformed),
			"WEIR_REASON_SOURCE_RATE": int(ReasonSourceRate), "WEIR_REASON_UNTRACKED": int(ReasonUntracked),
			"WEIR_REASON_COOKIE": int(ReasonCookie), "WEIR_REASON_UNVERIFIED": int(ReasonUnverified),
			"WEIR_REASON_PREFIX_RATE": int(ReasonPrefixRate), "WEIR_REASON_TOTAL_RATE": int(ReasonTotalRate),
			"WEIR_REASON_CONNECTIONS": int(ReasonConnections), "WEIR_REASON_BLOCKED": int(ReasonBlocked),
			"WEIR_REASON_ALLOWED": int(ReasonAllowed), "WEIR_REASON_CEILING": int(ReasonCeiling),
			"WEIR_REASON_MANAGEMENT": int(ReasonManagement), "WEIR_REASON_REPLY": int(ReasonReply),
			"WEIR_REASON_LEN": int(NumReasons),
		},
	} {
		got, err := bpftest.Enum(enum)
		must(t, err)
		if !maps.Equal(got, want) {
			t.Errorf("%s is %v in the datapath, %v in Go", enum, got, want)
		}
	}
}
