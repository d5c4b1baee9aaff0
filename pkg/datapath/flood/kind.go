package flood

import "encoding/binary"

// Kind is what the frames are.
type Kind uint8

// The kinds. All frames are of the same length, but for SYNs with other options than Linux's and over IPv6.
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
func (o Options) transport() []byte {
	options := linuxOptions
	if o.TCPOptions != nil {
		options = o.TCPOptions
	}
	b := make([]byte, 20, maxFrame)
	binary.BigEndian.PutUint16(b[2:], o.Target.Port())
	b[7] = 1 // sequence number
	b[12], b[14], b[15] = 5<<4, 0xfa, 0xf0
	switch o.Kind {
	case SYN:
		b[12], b[13] = byte(5+len(options)/4)<<4, 0x02
		return append(b, options...)
	case ACK:
		b[12], b[13] = 8<<4, 0x10
		b = append(b, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1)
	case RST:
		b[13] = 0x04
	case UDP:
		clear(b[4:])
		b[5] = 40
	case ICMP, Fragment:
		clear(b) // type and code of an echo reply are 0
	}
	return b[:40]
}
