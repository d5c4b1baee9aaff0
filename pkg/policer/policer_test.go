package policer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// yard is a host whose eth0 is a port of a bridge: what passes tc there arrives at the bridge, as it came.
type yard struct {
	t        *testing.T
	host     *te.Host
	attacker *te.Host
	opts     Options
	bridge   int // a packet socket
	sent     int // by the last flood: a busy machine sends fewer than it should
}

// newYard skips where the kernel has no police action. scripts/vm runs these tests where it has.
func newYard(t *testing.T) *yard {
	t.Helper()
	te.Root(t)
	te.Tool(t, "tc")
	host, attacker := te.Pair(t)
	y := &yard{t: t, host: host, attacker: attacker, opts: Options{
		Interface: "eth0", Total: datapath.Limit{Rate: 1000, Burst: 1000}, Management: []uint16{22}, Run: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}}
	for _, line := range []string{
		"link add br0 address " + host.MAC.String() + " type bridge mcast_snooping 0", "link set br0 up", "link set eth0 master br0",
	} {
		host.Run(t, "ip", strings.Fields(line)...)
	}
	host.Do(t, func() {
		err := tc.SetPolice(tc.Police{Index: 1})
		if errors.Is(err, unix.ENOENT) && os.Getenv("VM") == "" {
			t.Skip("this kernel has no police action: see scripts/vm")
		}
		must(t, err)
		must(t, tc.RemovePolice(1))
		y.bridge, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
		must(t, err)
		br0, err := interfaceIndex("br0")
		must(t, err)
		must(t, unix.Bind(y.bridge, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: br0}))
		must(t, unix.SetsockoptInt(y.bridge, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	})
	t.Cleanup(func() { unix.Close(y.bridge) })
	return y
}

func interfaceIndex(name string) (int, error) {
	p, err := New(Options{Interface: name, Total: datapath.DefaultLimit})
	if err != nil {
		return 0, err
	}
	return p.ifindex, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// policer returns a new one, as another process has.
func (y *yard) policer() *Policer {
	y.t.Helper()
	var p *Policer
	y.host.Do(y.t, func() {
		var err error
		p, err = New(y.opts)
		must(y.t, err)
	})
	return p
}

func (y *yard) do(f func() error) {
	y.t.Helper()
	y.host.Do(y.t, func() { must(y.t, f()) })
}

// arrived returns the frames that came to the bridge from the attacker since the last call.
func (y *yard) arrived() (all []string) {
	y.t.Helper()
	time.Sleep(20 * time.Millisecond)
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(y.bridge, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return all
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING || string(buf[6:12]) != string(y.attacker.MAC) {
			continue
		}
		if !bytes.Contains(buf[:n], attackers.Addr().AsSlice()[:3]) && !bytes.Contains(buf[:n], attacker6.Addr().AsSlice()) {
			continue // of the other kernel's own accord
		}
		all = append(all, string(buf[:n]))
	}
}

// flood sends a frame again and again, and returns how many came through, and how long it took.
func (y *yard) flood(perSecond int, d time.Duration, frames ...te.Frame) (arrived int, took time.Duration) {
	y.t.Helper()
	w := te.NewWire(y.t, y.attacker, "eth0")
	y.arrived()
	start := time.Now()
	for y.sent = 0; time.Since(start) < d; time.Sleep(2 * time.Millisecond) {
		for due := int(time.Since(start).Seconds() * float64(perSecond)); y.sent < due; y.sent++ {
			f := frames[y.sent%len(frames)]
			f.SrcMAC, f.DstMAC = y.attacker.MAC, y.host.MAC
			must(y.t, w.Send(f.Bytes()))
		}
		arrived += len(y.arrived())
	}
	took = time.Since(start)
	return arrived + len(y.arrived()), took
}

var (
	attackers = netip.MustParseAddrPort("203.0.113.7:1234")
	ours4     = netip.MustParseAddrPort("198.51.100.1:443")
	attacker6 = netip.MustParseAddrPort("[2001:db8:6::7]:1234")
	ours6     = netip.MustParseAddrPort("[2001:db8::1]:443")
)

// syn is 60 bytes of IP, as most are.
func syn(change ...func(*te.Frame)) te.Frame {
	f := te.NewSYN(attackers, ours4)
	for _, c := range change {
		c(&f)
	}
	return f
}

func syn6(change ...func(*te.Frame)) te.Frame {
	f := te.NewSYN(attacker6, ours6)
	for _, c := range change {
		c(&f)
	}
	return f
}

func tagged(tags ...uint16) func(*te.Frame) {
	return func(f *te.Frame) { f.VLANs = tags }
}

// within tells whether a count is a rate's over a time, after a burst, but for a tenth.
func within(n int, l datapath.Limit, took time.Duration) bool {
	want := float64(l.Rate) * took.Seconds()
	return float64(n) >= 0.9*want && float64(n) <= 1.1*want+float64(l.Burst)
}

func TestFloodIsHeldToTheRate(t *testing.T) {
	y := newYard(t)
	for _, kind := range []struct {
		name       string
		u32, bytes bool
		rates      []uint64
	}{{"flower", false, false, []uint64{10, 100, 1000}}, {"u32", true, false, []uint64{10, 1000}}, {"flower, by bytes", false, true, []uint64{100}}} {
		for _, rate := range kind.rates {
			y.opts.u32, y.opts.bytes, y.opts.Total = kind.u32, kind.bytes, datapath.Limit{Rate: rate, Burst: max(rate/10, 2)} // they come in clumps
			p := y.policer()
			y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
			n, took := y.flood(3000, 4*time.Second, syn(), syn6())
			if !within(n, y.opts.Total, took) {
				t.Errorf("%s: %d SYNs a second: %d in %v", kind.name, rate, n, took)
			}
			y.do(func() error {
				s, err := p.State()
				if s.Limit != datapath.DefaultLimit || s.Bytes != kind.bytes || s.Lease < 59*time.Minute {
					t.Errorf("%s: %+v", kind.name, s)
				}
				return err
			})
			y.do(func() error { _, err := p.Remove(); return err })
		}
	}
}

// Whatever a SYN is wrapped in, there is one rate for all.
func TestAllFormsOfSYNsAreHeld(t *testing.T) {
	y := newYard(t)
	y.opts.Total = datapath.Limit{Rate: 10, Burst: 5}
	forms := []struct {
		name  string
		frame te.Frame
		u32   bool // it knows this one
	}{
		{"IPv4", syn(), true},
		{"IPv4 with options", syn(func(f *te.Frame) { f.Options = make([]byte, 12) }), true},
		{"without TCP options", syn(func(f *te.Frame) { f.L4 = te.TCP{SrcPort: 1, DstPort: 443, Flags: te.SYN} }), true},
		{"with ECN's flags", syn(func(f *te.Frame) { f.L4 = te.TCP{SrcPort: 1, DstPort: 443, Flags: te.SYN | 0xc0} }), true},
		{"one tag", syn(tagged(7)), true},
		{"two tags", syn(tagged(7, 8)), false},
		{"IPv6", syn6(), true},
		{"IPv6, one tag", syn6(tagged(7)), true},
		{"IPv6, two tags", syn6(tagged(7, 8)), false},
		{"IPv6 with extensions", syn6(func(f *te.Frame) { f.Extensions = []te.Extension{{Type: 60}} }), false},
	}
	for _, u32 := range []bool{false, true} {
		y.opts.u32 = u32
		p := y.policer()
		y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
		for _, form := range forms {
			n, took := y.flood(1000, time.Second/2, form.frame)
			held := n <= 5+int(11*took.Seconds())+1
			if held != (form.u32 || !u32) {
				t.Errorf("%s, u32 %v: %d came through in %v", form.name, u32, n, took)
			}
		}
		y.do(func() error { _, err := p.Remove(); return err })
	}
}

// Whatever comes elsewhere, an administrator gets in; and a limit is told from one that leaves other ports out.
func TestManagementPortsAreOpen(t *testing.T) {
	y := newYard(t)
	y.opts.Total = datapath.Limit{Rate: 10, Burst: 5}
	to := func(port uint16) []te.Frame {
		change := func(f *te.Frame) { f.L4 = te.TCP{SrcPort: 1, DstPort: port, Flags: te.SYN} }
		return []te.Frame{syn(change), syn6(change), syn(tagged(7), change)}
	}
	for _, u32 := range []bool{false, true} {
		y.opts.u32 = u32
		for _, management := range []uint16{22, 2222} {
			y.opts.Management = []uint16{management, 24}
			p := y.policer()
			y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
			for _, port := range []uint16{0, 21, 22, 24, 443, 2222, 65535} {
				n, took := y.flood(500, 300*time.Millisecond, to(port)...)
				if open := n > y.sent*9/10; open != (port == management || port == 24) {
					t.Errorf("u32 %v, management port %d: %d to %d came through in %v", u32, management, n, port, took)
				}
			}
		}
		y.do(func() error { _, err := y.policer().Remove(); return err })
	}
}

// All but SYNs arrives, as it was.
func TestOtherTrafficIsLeftAlone(t *testing.T) {
	y := newYard(t)
	y.opts.Total = datapath.Limit{Rate: 1, Burst: 1}
	tcp := func(flags te.Flags) func(*te.Frame) {
		return func(f *te.Frame) { f.L4 = te.TCP{SrcPort: 1, DstPort: 443, Flags: flags, Payload: []byte("data")} }
	}
	var frames []te.Frame
	for _, wrap := range []func(*te.Frame){tagged(), tagged(7), tagged(7, 8)} {
		for _, base := range []func(...func(*te.Frame)) te.Frame{syn, syn6} {
			for _, flags := range []te.Flags{te.SYN | te.ACK, te.ACK, te.ACK | te.PSH, te.RST, te.FIN | te.ACK, 0} {
				frames = append(frames, base(wrap, tcp(flags)))
			}
			frames = append(frames,
				base(wrap, func(f *te.Frame) { f.L4 = te.UDP{SrcPort: 2, DstPort: 53, Payload: []byte{0, 0, 2, 2, 2, 2, 2, 2}} }),
				base(wrap, func(f *te.Frame) { f.L4 = te.ICMP{Type: 8, Body: make([]byte, 8)} }),
				base(wrap, func(f *te.Frame) { f.Fragment = te.Fragment{Offset: 64, ID: 9} }),
			)
		}
	}
	send := func() []string {
		w := te.NewWire(t, y.attacker, "eth0")
		y.arrived()
		var all []string
		for range 5 {
			for _, f := range frames {
				f.SrcMAC, f.DstMAC = y.attacker.MAC, y.host.MAC
				must(t, w.Send(f.Bytes()))
			}
			all = append(all, y.arrived()...)
		}
		return all
	}
	before := send()
	for _, u32 := range []bool{false, true} {
		y.opts.u32 = u32
		p := y.policer()
		y.do(func() error { return p.Enable(datapath.Limit{Rate: 1, Burst: 1}, time.Hour) })
		y.do(func() error { return p.Hold(time.Now(), []netip.Prefix{netip.PrefixFrom(attackers.Addr(), 32)}) })
		y.flood(500, 100*time.Millisecond, syn(), syn6())
		if during := send(); len(before) != 5*len(frames) || strings.Join(before, "") != strings.Join(during, "") {
			t.Errorf("u32 %v: %d of %d frames arrived, %d before", u32, len(during), 5*len(frames), len(before))
		}
		y.do(func() error { _, err := p.Remove(); return err })
	}
}
