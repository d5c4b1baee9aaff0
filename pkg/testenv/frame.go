package testenv

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Frame is one Ethernet frame with an IP packet. Only Src, Dst and L4 are needed.
type Frame struct {
	SrcMAC, DstMAC net.HardwareAddr // nil: 02:00:00:00:00:02 and 02:00:00:00:00:01
	VLANs          []uint16         // tags, outermost first; the outer of two is 802.1ad's

	Src, Dst   netip.Addr // both IPv4 or both IPv6
	TTL        uint8      // 0: 64
	Class      uint8      // the byte of DSCP and ECN
	Options    []byte     // IPv4, padded to a multiple of 4 bytes, 40 at most
	Extensions []Extension
	Fragment   Fragment

	L4 L4
}

// L4 is what the IP packet carries.
type L4 interface {
	protocol(ipv6 bool) uint8
	// bytes gives the header and payload, the checksum over the pseudo-header included.
	bytes(src, dst netip.Addr) []byte
}

// Extension is an IPv6 extension header. Its body is what follows the next-header and length bytes; it is padded to
// make the header a multiple of 8 bytes (4 for AH).
type Extension struct {
	Type uint8
	Body []byte
}

// Extension headers (IANA protocol numbers).
const (
	HopByHop       = 0
	Routing        = 43
	fragmentHeader = 44
	AH             = 51
	NoNextHeader   = 59
	DestinationOpt = 60
)

// Fragment says which piece of a datagram a frame holds. The zero value is a whole one. The pieces after the first hold
// no transport header: give them a Raw payload.
type Fragment struct {
	Offset uint16 // bytes, a multiple of 8
	More   bool   // others follow
	ID     uint32
	Atomic bool // IPv6: a fragment header though it is whole (RFC 6946)
}

func (f Fragment) set() bool { return f.Offset != 0 || f.More || f.Atomic }

// Ethernet types.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

// Bytes is the frame as it goes over the wire, without padding and frame check sequence.
func (f Frame) Bytes() []byte {
	etherType, packet := uint16(etherIPv4), []byte(nil)
	if f.Dst.Is4() {
		packet = f.ipv4()
	} else {
		etherType, packet = etherIPv6, f.ipv6()
	}
	return f.Ethernet(etherType, packet)
}

// Ethernet puts the frame's Ethernet header and VLAN tags before any payload, for what isn't IP or isn't whole.
func (f Frame) Ethernet(etherType uint16, payload []byte) []byte {
	dst, src := f.DstMAC, f.SrcMAC
	if dst == nil {
		dst = mac(1)
	}
	if src == nil {
		src = mac(2)
	}
	b := append(append(make([]byte, 0, 14+4*len(f.VLANs)+len(payload)), dst...), src...)
	for i, id := range f.VLANs {
		tag := uint16(etherVLAN)
		if i == 0 && len(f.VLANs) > 1 {
			tag = etherQinQ
		}
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, id)
	}
	b = binary.BigEndian.AppendUint16(b, etherType)
	return append(b, payload...)
}

func (f Frame) ttl() uint8 {
	if f.TTL == 0 {
		return 64
	}
	return f.TTL
}

func (f Frame) ipv4() []byte {
	payload := f.L4.bytes(f.Src, f.Dst)
	options := pad(f.Options, 4)
	length := 20 + len(options)
	fragment := f.Fragment.Offset / 8
	if f.Fragment.More {
		fragment |= 0x2000
	}
	b := make([]byte, 20, length+len(payload))
	b[0], b[1] = 4<<4|byte(length/4), f.Class
	binary.BigEndian.PutUint16(b[2:], uint16(length+len(payload)))
	binary.BigEndian.PutUint16(b[4:], uint16(f.Fragment.ID))
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8] = f.ttl()
	b[9] = f.L4.protocol(false)
	src, dst := f.Src.As4(), f.Dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[10:], ^checksum(0, b))
	return append(b, payload...)
}

func (f Frame) ipv6() []byte {
	payload := f.L4.bytes(f.Src, f.Dst)
	extensions := f.Extensions
	if f.Fragment.set() {
		fragment := f.Fragment.Offset
		if f.Fragment.More {
			fragment |= 1
		}
		body := binary.BigEndian.AppendUint16(nil, fragment)
		body = binary.BigEndian.AppendUint32(body, f.Fragment.ID)
		extensions = append(extensions[:len(extensions):len(extensions)], Extension{fragmentHeader, body})
	}
	next := f.L4.protocol(true)
	for i := len(extensions) - 1; i >= 0; i-- { // each names the one after it
		payload = append(extensions[i].header(next), payload...)
		next = extensions[i].Type
	}
	b := make([]byte, 40, 40+len(payload))
	b[0], b[1] = 6<<4|f.Class>>4, f.Class<<4
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6] = next
	b[7] = f.ttl()
	src, dst := f.Src.As16(), f.Dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return append(b, payload...)
}

// header counts its length in units of 8 bytes beyond the first 8 (RFC 8200), AH's in 4 bytes less 2 (RFC 4302); that
// byte of a fragment header is reserved.
func (e Extension) header(next uint8) []byte {
	b := append([]byte{next, 0}, e.Body...)
	switch e.Type {
	case fragmentHeader:
	case AH:
		b = pad(b, 4)
		b[1] = byte(len(b)/4 - 2)
	default:
		b = pad(b, 8)
		b[1] = byte(len(b)/8 - 1)
	}
	return b
}

// pad lengthens b with zeros (End of Option List, Pad1) to a multiple of n.
func pad(b []byte, n int) []byte {
	return append(b[:len(b):len(b)], make([]byte, (n-len(b)%n)%n)...)
}
