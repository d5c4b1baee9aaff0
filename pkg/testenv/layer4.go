package testenv

import (
	"encoding/binary"
	"net/netip"
)

// Flags are TCP's.
type Flags uint8

// The flags of TCP.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// IANA protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// TCP is a segment.
type TCP struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            Flags
	Window           uint16 // 0: 64240
	Options          []byte // padded to a multiple of 4 bytes, 40 at most
	Payload          []byte
}

func (TCP) protocol(bool) uint8 { return protoTCP }

func (s TCP) bytes(src, dst netip.Addr) []byte {
	options := pad(s.Options, 4)
	b := make([]byte, 20, 20+len(options)+len(s.Payload))
	binary.BigEndian.PutUint16(b[0:], s.SrcPort)
	binary.BigEndian.PutUint16(b[2:], s.DstPort)
	binary.BigEndian.PutUint32(b[4:], s.Seq)
	binary.BigEndian.PutUint32(b[8:], s.Ack)
	b[12] = byte((20 + len(options)) / 4 << 4)
	b[13] = byte(s.Flags)
	if s.Window == 0 {
		s.Window = 64240
	}
	binary.BigEndian.PutUint16(b[14:], s.Window)
	b = append(append(b, options...), s.Payload...)
	binary.BigEndian.PutUint16(b[16:], transportSum(src, dst, protoTCP, b))
	return b
}

// UDP is a datagram.
type UDP struct {
	SrcPort, DstPort uint16
	Payload          []byte
}

func (UDP) protocol(bool) uint8 { return protoUDP }

func (d UDP) bytes(src, dst netip.Addr) []byte {
	b := binary.BigEndian.AppendUint16(nil, d.SrcPort)
	b = binary.BigEndian.AppendUint16(b, d.DstPort)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(d.Payload)))
	b = append(append(b, 0, 0), d.Payload...)
	sum := transportSum(src, dst, protoUDP, b)
	if sum == 0 {
		sum = 0xffff // 0 would mean that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	return b
}

// ICMP is a message of ICMP over IPv4, of ICMPv6 over IPv6. Its body starts after the checksum.
type ICMP struct {
	Type, Code uint8
	Body       []byte
}

func (ICMP) protocol(ipv6 bool) uint8 {
	if ipv6 {
		return protoICMPv6
	}
	return protoICMP
}

func (m ICMP) bytes(src, dst netip.Addr) []byte {
	b := append([]byte{m.Type, m.Code, 0, 0}, m.Body...)
	if src.Is4() {
		binary.BigEndian.PutUint16(b[2:], ^checksum(0, b))
	} else {
		binary.BigEndian.PutUint16(b[2:], transportSum(src, dst, protoICMPv6, b))
	}
	return b
}

// Raw is any other protocol, or bytes that aren't whole.
type Raw struct {
	Protocol uint8
	Payload  []byte
}

func (r Raw) protocol(bool) uint8 { return r.Protocol }

func (r Raw) bytes(netip.Addr, netip.Addr) []byte { return r.Payload }

// NewSYN is the first segment of a connection as Linux sends it.
func NewSYN(src, dst netip.AddrPort) Frame {
	return Frame{Src: src.Addr(), Dst: dst.Addr(), L4: TCP{
		SrcPort: src.Port(), DstPort: dst.Port(), Seq: 1, Flags: SYN,
		Options: TCPOptions(MSS(1460), SACKPermitted(), Timestamps(1, 0), NOP(), WindowScale(7)),
	}}
}

// TCPOptions puts options in a row.
func TCPOptions(options ...[]byte) []byte {
	var b []byte
	for _, o := range options {
		b = append(b, o...)
	}
	return b
}

// MSS is the option that tells the longest segment, bytes.
func MSS(size uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, size) }

// WindowScale is the option that shifts the window by so many bits.
func WindowScale(shift uint8) []byte { return []byte{3, 3, shift} }

// SACKPermitted is the option that allows selective acknowledgements.
func SACKPermitted() []byte { return []byte{4, 2} }

// Timestamps is the option of RFC 7323.
func Timestamps(value, echo uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{8, 10}, value), echo)
}

// NOP is the option that does nothing.
func NOP() []byte { return []byte{1} }

// transportSum is the checksum with the pseudo-header of RFC 9293 and RFC 8200.
func transportSum(src, dst netip.Addr, protocol uint8, segment []byte) uint16 {
	sum := uint32(protocol) + uint32(len(segment))
	sum = uint32(checksum(sum, src.AsSlice()))
	sum = uint32(checksum(sum, dst.AsSlice()))
	return ^checksum(sum, segment)
}

// checksum adds b to an Internet checksum (RFC 1071) that isn't complemented yet.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
