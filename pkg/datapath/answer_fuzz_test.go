package datapath

import (
	"bytes"
	"encoding/binary"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// FuzzAnswer gives the challenge any frame: what it transmits is a SYN-ACK to the frame's sender, with right lengths and
// checksums, the frame's VLAN tags and nothing else; all that it doesn't transmit passes or is dropped.
func FuzzAnswer(f *testing.F) {
	te.Root(f)
	a := newAnswerer(f)
	for _, x := range frames {
		f.Add(x.frame.Bytes())
	}
	for i := range 12 {
		v6, tags, port := i%2 == 0, []uint16{5, 6}[:i%3], uint16(bankPort+i/6) // own cookies, and the kernel's
		for _, options := range [][]byte{
			nil,
			te.TCPOptions(te.MSS(1460), te.SACKPermitted(), te.Timestamps(7, 0), te.NOP(), te.WindowScale(7)),
			bytes.Repeat([]byte{1}, 40),
			te.TCPOptions([]byte{254, 38}, make([]byte, 36), te.NOP(), te.NOP()),
		} {
			f.Add(toPort(a.syn(v6, options, tags...), port).Bytes())
		}
		f.Add(append(toPort(a.syn(v6, te.MSS(100), tags...), port).Bytes(), make([]byte, 100)...))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 { // what a test run takes
			return
		}
		a := &answerer{&program{t, a.objs, a.read}, a.host}
		action, b := a.process(frame)
		switch action {
		case xdpPass, xdpDrop:
			return
		case xdpTX:
		default:
			t.Fatalf("action %d", action)
		}
		if len(b) > len(frame) || len(b) < min(60, len(frame)) {
			t.Fatalf("%d bytes answer %d", len(b), len(frame))
		}
		tags := 0
		for proto := binary.BigEndian.Uint16(frame[12:]); proto == 0x8100 || proto == 0x88a8; tags++ {
			proto = binary.BigEndian.Uint16(frame[16+4*tags:])
		}
		ip := 14 + 4*tags
		if !bytes.Equal(b[:6], frame[6:12]) || !bytes.Equal(b[6:12], frame[:6]) || !bytes.Equal(b[12:ip], frame[12:ip]) {
			t.Fatalf("Ethernet header % x answers % x", b[:ip], frame[:ip])
		}
		s, err := dissect(b, tags)
		if err != nil {
			t.Fatalf("% x answers % x: %v", b, frame, err)
		}
		if len(s.options) > 0 && optionsOf(s.options) == nil {
			t.Fatalf("options % x", s.options)
		}
		src, dst, segment := frame[ip+12:ip+16], frame[ip+16:ip+20], frame[ip+20:]
		if frame[ip]>>4 == 6 {
			src, dst, segment = frame[ip+8:ip+24], frame[ip+24:ip+40], frame[ip+40:]
		}
		if !bytes.Equal(s.src.AsSlice(), dst) || !bytes.Equal(s.dst.AsSlice(), src) ||
			s.dstPort != binary.BigEndian.Uint16(segment) || s.srcPort != binary.BigEndian.Uint16(segment[2:]) ||
			s.ack != binary.BigEndian.Uint32(segment[4:])+1 || segment[13]&0x17 != byte(te.SYN) {
			t.Fatalf("% x answers % x", b, frame)
		}
	})
}
