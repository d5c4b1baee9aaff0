package flood

import "encoding/binary"

// Kind is what the frames are.
type Kind uint8

// The kinds. All frames are of the same length.
const (
	SYN Kind = iota
	ACK      // with timestamps, of no connection
	RST
	UDP      // its checksum is wrong, which no program in XDP looks at
	ICMP     // echo replies
	Fragment // the last of a UDP datagram
)

func (k Kind) protocol() byte {
	switch k {
	case UDP, Fragment:
		return 17
	case ICMP:
		return 1
	}
	return 6
}

// transport is what follows the IP header. The source port, for kinds that have one, and the checksum are 0.
func (k Kind) transport(port uint16) []byte {
	b := make([]byte, frameBytes-34)
	switch k {
	case Fragment, ICMP: // type and code of an echo reply are 0
		return b
	}
	binary.BigEndian.PutUint16(b[2:], port)
	if k == UDP {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		return b
	}
	b[7] = 1 // sequence number
	b[14], b[15] = 0xfa, 0xf0
	switch k {
	case SYN:
		b[12], b[13] = 10<<4, 0x02
		copy(b[20:], synOptions)
	case ACK:
		b[12], b[13] = 8<<4, 0x10
		copy(b[20:], []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1})
	case RST:
		b[12], b[13] = 5<<4, 0x04
	}
	return b
}
