package flood

import (
	"encoding/binary"
	"errors"
)

// maxFrame is a SYN over IPv6 with 40 bytes of options; maxWords are those of the BPF program.
const (
	maxFrame = 14 + 40 + 20 + 40
	maxWords = maxFrame / 8
)

// linuxOptions are those of a Linux client: MSS 1460, SACK, timestamps, window scale 7.
var linuxOptions = []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}

// frame is what all frames have in common: source address (over IPv6 its second quarter), source port and checksums are 0.
func (o Options) frame() ([]byte, error) {
	v6 := o.Target.Addr().Is6()
	if len(o.Source) != 6 || len(o.Destination) != 6 || !o.Target.IsValid() || o.NumSources > 0 && !o.FirstSource.Is4() {
		return nil, errors.New("flood: give two Ethernet addresses, a target and an IPv4 source")
	}
	if v6 && o.Kind != SYN || len(o.TCPOptions) > 40 || len(o.TCPOptions)%4 != 0 {
		return nil, errors.New("flood: over IPv6 only SYNs are sent, with at most 40 bytes of options in whole words")
	}
	transport := o.transport()
	f := make([]byte, 0, maxFrame)
	f = append(f, o.Destination...)
	f = append(f, o.Source...)
	if v6 {
		f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(transport)), 6, 64)
		f = append(f, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
		f = append(f, o.Target.Addr().AsSlice()...)
		return append(f, transport...), nil
	}
	f = append(f, 0x08, 0x00, 0x45, 0, 0, byte(20+len(transport)), 0, 0, 0x40, 0, 64, o.Kind.protocol(), 0, 0, 0, 0, 0, 0)
	if o.Kind == Fragment {
		f[20], f[21] = 0, 8 // at byte 64, the last one
	}
	f = append(f, o.Target.Addr().AsSlice()...)
	return append(f, transport...), nil
}

// sum is the one's complement sum of RFC 1071 in the byte order of the host, which is that of the BPF program.
func sum(b []byte) uint64 {
	var s uint64
	for i := 0; i < len(b); i += 2 {
		s += uint64(binary.NativeEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// pseudoSum covers the segment and its pseudo header (RFC 9293 section 3.1), what changes of the source left out.
func pseudoSum(frame []byte, v6 bool) uint64 {
	at := 34
	pseudo := append([]byte{}, frame[30:34]...)
	if v6 {
		at = 54
		pseudo = append([]byte{}, frame[22:54]...)
	}
	segment := frame[at:]
	pseudo = append(pseudo, 0, 6, 0, byte(len(segment)))
	return sum(append(pseudo, segment...))
}
