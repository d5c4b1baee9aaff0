package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const xdpTX = 3

// kernelPort is the port of a listener that takes the kernel's own cookies alone.
const kernelPort = bankPort + 1

// answerer is the datapath in a host with a listener of each kind, to be run on single frames.
type answerer struct {
	*program
	host *te.Host
}

func newAnswerer(t testing.TB) *answerer {
	t.Helper()
	host, _ := te.Pair(t)
	host.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort))
	a := &answerer{newProgram(t, DefaultLimit), host}
	must(t, writeFallback(a.objs.Fallback, bpfWeirFallback{UntilNs: math.MaxUint64}))
	host.Do(t, func() {
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(true)
		l, err := cfg.Listen(t.Context(), "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), kernelPort).String())
		must(t, err)
		t.Cleanup(func() { l.Close() })
		offer, err := readOffer()
		must(t, err)
		must(t, changeControl(a.objs.Control, func(raw *bpfWeirControl) {
			raw.Challenge, raw.Offer, raw.Mac = uint32(ChallengeAlways), offer, [6]uint8{2, 0, 0, 0, 0, 1}
		}))
	})
	a.switchTo(modeEnforce, time.Hour)
	return a
}

// answer runs one frame in the host and returns what is transmitted, nil if it isn't.
func (a *answerer) answer(frame []byte) []byte {
	a.t.Helper()
	if action, out := a.process(frame); action == xdpTX {
		return out
	}
	return nil
}

// process runs one frame in the host and returns the action and what became of the frame.
func (a *answerer) process(frame []byte) (uint32, []byte) {
	a.t.Helper()
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64)}
	var action uint32
	var err error
	a.host.Do(a.t, func() { action, err = a.objs.Weir.Run(opts) })
	must(a.t, err)
	return action, opts.DataOut
}

// synAck is a SYN-ACK taken apart.
type synAck struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	seq, ack         uint32
	ece              bool
	options          []byte
}

// dissect takes a SYN-ACK behind so many VLAN tags apart, and verifies lengths and checksums.
func dissect(b []byte, tags int) (synAck, error) {
	var s synAck
	ip := b[14+4*tags:]
	var segment []byte
	switch ip[0] >> 4 {
	case 4:
		if sum(0, ip[:20]) != 0xffff {
			return s, fmt.Errorf("wrong IP checksum")
		}
		segment = ip[20:binary.BigEndian.Uint16(ip[2:])]
		s.src, s.dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	case 6:
		segment = ip[40 : 40+binary.BigEndian.Uint16(ip[4:])]
		s.src, s.dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	}
	pseudo := sum(sum(uint32(6+len(segment)), s.src.AsSlice()), s.dst.AsSlice())
	if sum(pseudo, segment) != 0xffff {
		return s, fmt.Errorf("wrong TCP checksum")
	}
	if int(segment[12]>>4)*4 != len(segment) || segment[13]&^byte(te.ECE) != byte(te.SYN|te.ACK) {
		return s, fmt.Errorf("no bare SYN-ACK: % x", segment[:20])
	}
	s.srcPort, s.dstPort = binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	s.seq, s.ack = binary.BigEndian.Uint32(segment[4:]), binary.BigEndian.Uint32(segment[8:])
	s.ece, s.options = segment[13]&byte(te.ECE) != 0, segment[20:]
	return s, nil
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// optionsOf reads options by kind.
func optionsOf(b []byte) map[byte][]byte {
	all := map[byte][]byte{}
	for len(b) > 0 && b[0] != 0 {
		if b[0] == 1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return nil
		}
		all[b[0]] = b[2:b[1]]
		b = b[b[1]:]
	}
	return all
}

func (a *answerer) syn(v6 bool, options []byte, tags ...uint16) te.Frame {
	src, dst := netip.MustParseAddr("192.0.2.7"), a.host.IPv4
	if v6 {
		src, dst = netip.MustParseAddr("2001:db8:1::7"), a.host.IPv6
	}
	f := te.NewSYN(netip.AddrPortFrom(src, 1234), netip.AddrPortFrom(dst, bankPort))
	segment := f.L4.(te.TCP)
	segment.Seq, segment.Options = 0xfffffffe, options
	f.L4, f.VLANs = segment, tags
	return f
}

func toPort(f te.Frame, port uint16) te.Frame {
	segment := f.L4.(te.TCP)
	segment.DstPort = port
	f.L4 = segment
	return f
}

func TestAnswersHoldWhatWasOffered(t *testing.T) {
	a := newAnswerer(t)
	rng := rand.New(rand.NewPCG(5, 6))
	offers := [][]byte{te.MSS(1460), te.SACKPermitted(), te.Timestamps(7, 0), te.WindowScale(7), te.NOP(), te.NOP(),
		{254, 4, 1, 2}, {34, 2}} // an experiment, TCP Fast Open
	for i := range 3000 {
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		offered := te.TCPOptions(offers[:rng.IntN(len(offers)+1)]...)
		v6, tags, byKernel := rng.IntN(2) == 0, rng.IntN(3), rng.IntN(2) == 0
		f := a.syn(v6, offered, []uint16{5, 6}[:tags]...)
		want, port := optionsOf(offered), uint16(bankPort)
		if byKernel {
			port = kernelPort
			f = toPort(f, port)
			if want[8] == nil { // its cookies have no other room for these
				delete(want, 3)
				delete(want, 4)
			}
		}
		frame := f.Bytes()
		b := a.answer(frame)
		if b == nil {
			t.Fatalf("no answer to options % x, IPv6 %v, %d tags", offered, v6, tags)
		}
		if len(b) != len(frame) {
			t.Fatalf("%d bytes answer %d", len(b), len(frame))
		}
		s, err := dissect(b, tags)
		if err != nil {
			t.Fatalf("options % x, IPv6 %v, %d tags: %v", offered, v6, tags, err)
		}
		if s.src != f.Dst || s.dst != f.Src || s.srcPort != port || s.dstPort != 1234 || s.ack != 0xffffffff {
			t.Fatalf("answer %+v to % x", s, frame)
		}
		if string(b[:6]) != string(frame[6:12]) || string(b[6:12]) != string(frame[:6]) || string(b[12:14+4*tags]) != string(frame[12:14+4*tags]) {
			t.Fatalf("Ethernet header % x answers % x", b[:14+4*tags], frame[:14+4*tags])
		}
		got := optionsOf(s.options)
		for _, kind := range []byte{2, 3, 4, 8} {
			if _, there := want[kind]; there != (got[kind] != nil) {
				t.Fatalf("case %d: options % x answer % x", i, s.options, offered)
			}
		}
		if ts := got[8]; ts != nil && binary.BigEndian.Uint32(ts[4:]) != 7 {
			t.Fatalf("timestamp % x echoes none", ts)
		}
	}
}

// A SYN of twenty options costs little more than a real client's, which has seven at most. NOPs don't count.
func TestOptionsAfterTheEighthAreNotRead(t *testing.T) {
	a := newAnswerer(t)
	for others, want := range map[int]bool{0: true, 7: true, 8: false, 14: false} {
		for _, v6 := range []bool{false, true} {
			offered := te.TCPOptions(append(bytes.Repeat([]byte{254, 2}, others), te.NOP()...), te.Timestamps(7, 0))
			s, err := dissect(a.answer(a.syn(v6, offered).Bytes()), 0)
			must(t, err)
			if _, is := optionsOf(s.options)[8]; is != want {
				t.Errorf("timestamps after %d others: %v in % x, IPv6 %v", others, is, s.options, v6)
			}
		}
	}
}

// As the kernel does it: tcp_ecn_create_request of net/ipv4/tcp_input.c, cookie_timestamp_decode of net/ipv4/syncookies.c.
func TestECNIsAgreedToWhereItWorks(t *testing.T) {
	a := newAnswerer(t)
	stamps := te.TCPOptions(te.MSS(1460), te.Timestamps(1, 0))
	for _, row := range []struct {
		name    string
		flags   te.Flags
		class   uint8
		options []byte
		want    bool
	}{
		{"asked for", te.ECE | te.CWR, 0xb8, stamps, true}, // DSCP doesn't matter
		{"not asked for", 0, 0, stamps, false},
		{"ECE alone", te.ECE, 0, stamps, false},
		{"CWR alone", te.CWR, 0, stamps, false},
		{"the SYN is marked", te.ECE | te.CWR, 2, stamps, false},
		{"no timestamp to keep it", te.ECE | te.CWR, 0, te.MSS(1460), false},
	} {
		for _, v6 := range []bool{false, true} {
			f := a.syn(v6, row.options)
			segment := f.L4.(te.TCP)
			segment.Flags |= row.flags
			f.L4, f.Class = segment, row.class
			s, err := dissect(a.answer(f.Bytes()), 0)
			must(t, err)
			if s.ece != row.want {
				t.Errorf("%s, IPv6 %v: ECE %v", row.name, v6, s.ece)
			}
		}
	}
	a.host.Sysctl(t, "net/ipv4/tcp_ecn", "0")
	a.host.Do(t, func() {
		if offer, err := readOffer(); err != nil || offer&offerECN != 0 {
			t.Errorf("with tcp_ecn 0 the offer is %#x, %v", offer, err)
		}
	})
}

func TestTruncatedSYNsAreNotAnswered(t *testing.T) {
	a := newAnswerer(t)
	for _, v6 := range []bool{false, true} {
		for tags := range 3 {
			frame := a.syn(v6, te.TCPOptions(te.MSS(1460), te.WindowScale(3), te.SACKPermitted()), []uint16{5, 6}[:tags]...).Bytes()
			if a.answer(frame) == nil {
				t.Fatal("no answer to the whole frame")
			}
			for n := 14; n < len(frame); n++ {
				if b := a.answer(frame[:n]); b != nil {
					t.Errorf("IPv6 %v, %d tags: %d of %d bytes are answered", v6, tags, n, len(frame))
				}
			}
		}
	}
}

func TestDataInASYNIsNotSentBack(t *testing.T) {
	a := newAnswerer(t)
	f := a.syn(false, te.MSS(1460))
	segment := f.L4.(te.TCP)
	segment.Payload = make([]byte, 900)
	f.L4 = segment
	b := a.answer(f.Bytes())
	if len(b) != 60 {
		t.Fatalf("%d bytes answer a SYN with data", len(b))
	}
	if _, err := dissect(b, 0); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotAnswered(t *testing.T) {
	a := newAnswerer(t)
	change := func(f func(*te.Frame, *te.TCP)) []byte {
		frame := a.syn(false, te.MSS(1460))
		segment := frame.L4.(te.TCP)
		f(&frame, &segment)
		frame.L4 = segment
		return frame.Bytes()
	}
	for name, frame := range map[string][]byte{
		"port without a listener": change(func(_ *te.Frame, s *te.TCP) { s.DstPort = 81 }),
		"SYN-RST":                 change(func(_ *te.Frame, s *te.TCP) { s.Flags |= te.RST }),
		"SYN-FIN":                 change(func(_ *te.Frame, s *te.TCP) { s.Flags |= te.FIN }),
		"SYN-ACK":                 change(func(_ *te.Frame, s *te.TCP) { s.Flags |= te.ACK }),
		"IP options":              change(func(f *te.Frame, _ *te.TCP) { f.Options = make([]byte, 4) }),
		"first fragment":          change(func(f *te.Frame, _ *te.TCP) { f.Fragment.More = true }),
		"another host's frame":    change(func(f *te.Frame, _ *te.TCP) { f.DstMAC = []byte{2, 0, 0, 0, 0, 9} }),
		"from a multicast MAC":    change(func(f *te.Frame, _ *te.TCP) { f.SrcMAC = []byte{3, 0, 0, 0, 0, 9} }),
	} {
		if a.answer(frame) != nil {
			t.Errorf("%s: answered", name)
		}
	}
	a.switchTo(modeObserve, 0)
	if a.answer(a.syn(false, nil).Bytes()) != nil {
		t.Error("answered in observe mode")
	}
	a.switchTo(modeEnforce, -time.Second)
	if a.answer(a.syn(false, nil).Bytes()) != nil {
		t.Error("answered after the lease")
	}
}
