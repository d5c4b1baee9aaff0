package tc

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Match says which connection-opening SYNs (SYN set, ACK clear) a filter takes.
type Match struct {
	IPv6   bool
	Tags   int          // VLAN tags before the IP header, 0 to 2
	Outer  uint16       // EtherType of the outermost tag
	Source netip.Prefix // the zero value for any
	Ports  Ports        // it is sent to

	// U32 is for kernels without flower. It finds no SYNs behind IPv6 extension headers or a second tag.
	U32 bool
}

// u32Table is the handle of the table that u32 looks TCP's header up in, for a priority. Below 0x800 they are given by hand, and
// all priorities share them: it is one that nobody else gives.
func u32Table(priority uint16) uint32 { return (0x700 | uint32(priority)&0xff) << 20 }

const (
	flagSYN  = 0x02
	flagsACK = 0x12 // SYN and ACK
)

// Protocol is what the kernel files the filter under.
func (m Match) Protocol() uint16 {
	switch {
	case m.Tags > 0:
		return m.Outer
	case m.IPv6:
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

func (m Match) kind() string {
	if m.U32 {
		return "u32"
	}
	return "flower"
}

func (m Match) etherType() uint16 {
	if m.IPv6 {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// step is one message of those that make a filter.
type step struct {
	handle  uint32
	options *nl.RtAttr
	once    int // steps to leave out from this one on, if another filter of the same priority has taken them
}

func (m Match) steps(priority uint16, police uint32) []step {
	if !m.U32 {
		return []step{{options: m.flower(police)}}
	}
	return m.u32(u32Table(priority), police)
}

func (m Match) flower(police uint32) *nl.RtAttr {
	o := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	big := func(kind int, v uint16) { o.AddRtAttr(kind, binary.BigEndian.AppendUint16(nil, v)) }
	big(nl.TCA_FLOWER_KEY_ETH_TYPE, m.Protocol())
	switch m.Tags {
	case 1:
		big(nl.TCA_FLOWER_KEY_VLAN_ETH_TYPE, m.etherType())
	case 2:
		big(nl.TCA_FLOWER_KEY_VLAN_ETH_TYPE, unix.ETH_P_8021Q)
		big(flowerInnerEtherType, m.etherType())
	}
	o.AddRtAttr(nl.TCA_FLOWER_KEY_IP_PROTO, []byte{unix.IPPROTO_TCP})
	big(nl.TCA_FLOWER_KEY_TCP_FLAGS, flagSYN)
	big(nl.TCA_FLOWER_KEY_TCP_FLAGS_MASK, flagsACK)
	if p := m.Ports; p != (Ports{}) {
		if p.End-p.First == 1 { // flower takes no range of one
			big(nl.TCA_FLOWER_KEY_TCP_DST, uint16(p.First))
			big(nl.TCA_FLOWER_KEY_TCP_DST_MASK, ^uint16(0))
		} else {
			big(flowerPortMin, uint16(p.First))
			big(flowerPortMax, uint16(p.End-1))
		}
	}
	if m.Source.IsValid() {
		mask, _ := netip.AddrFrom16(ones).Prefix(m.Source.Bits())
		if m.IPv6 {
			o.AddRtAttr(nl.TCA_FLOWER_KEY_IPV6_SRC, m.Source.Addr().AsSlice())
			o.AddRtAttr(nl.TCA_FLOWER_KEY_IPV6_SRC_MASK, mask.Addr().AsSlice())
		} else {
			o.AddRtAttr(nl.TCA_FLOWER_KEY_IPV4_SRC, m.Source.Addr().AsSlice())
			o.AddRtAttr(nl.TCA_FLOWER_KEY_IPV4_SRC_MASK, mask.Addr().AsSlice()[:4])
		}
	}
	bind(o.AddRtAttr(nl.TCA_FLOWER_ACT, nil), police)
	return o
}

// Of linux/pkt_cls.h, where the library has none.
const (
	flowerInnerEtherType = 79 // TCA_FLOWER_KEY_CVLAN_ETH_TYPE
	flowerPortMin        = 89 // TCA_FLOWER_KEY_PORT_DST_MIN
	flowerPortMax        = 90 // TCA_FLOWER_KEY_PORT_DST_MAX
)

var ones = [16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// u32 can't skip an IPv4 header's options but on the way from one table to another.
func (m Match) u32(inner, police uint32) []step {
	leaf := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	keys := m.u32Source()
	if m.IPv6 {
		keys = append(keys, u32Key{value: 6 << 28, mask: 0xf << 28}, u32Key{at: 4, value: unix.IPPROTO_TCP << 8, mask: 0xff00},
			u32Key{at: 52, value: flagSYN << 16, mask: flagsACK << 16})
		keys = append(keys, m.u32Ports(40, false)...)
		leaf.AddRtAttr(nl.TCA_U32_SEL, u32Sel{flags: u32Terminal, keys: keys}.bytes())
		bind(leaf.AddRtAttr(nl.TCA_U32_ACT, nil), police)
		return []step{{options: leaf}}
	}
	table := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	table.AddRtAttr(nl.TCA_U32_DIVISOR, nl.Uint32Attr(1))
	link := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	link.AddRtAttr(nl.TCA_U32_LINK, nl.Uint32Attr(inner))
	link.AddRtAttr(nl.TCA_U32_SEL, u32Sel{ // IPv4, no fragment but the first, TCP; the header's length is four times its low nibble
		flags: u32VarOffset, offmask: 0x0f00, offshift: 6,
		keys: []u32Key{{value: 4 << 28, mask: 0xf << 28}, {at: 4, mask: 0x1fff}, {at: 8, value: unix.IPPROTO_TCP << 16, mask: 0xff << 16}},
	}.bytes())
	keys = append(keys, u32Key{at: 12, next: true, value: flagSYN << 16, mask: flagsACK << 16})
	keys = append(keys, m.u32Ports(0, true)...)
	leaf.AddRtAttr(nl.TCA_U32_HASH, nl.Uint32Attr(inner))
	leaf.AddRtAttr(nl.TCA_U32_SEL, u32Sel{flags: u32Terminal, keys: keys}.bytes())
	bind(leaf.AddRtAttr(nl.TCA_U32_ACT, nil), police)
	return []step{{handle: inner, options: table, once: 2}, {options: link}, {options: leaf}}
}

// u32Ports matches ports of which a prefix is the same; others can't be had by one filter.
func (m Match) u32Ports(at int32, next bool) []u32Key {
	if m.Ports == (Ports{}) {
		return nil
	}
	return []u32Key{{at: at, next: next, value: m.Ports.First, mask: 0xffff &^ (m.Ports.End - m.Ports.First - 1)}}
}

func (m Match) u32Source() (keys []u32Key) {
	if !m.Source.IsValid() {
		return nil
	}
	at := int32(12)
	if m.IPv6 {
		at = 8
	}
	address, bits := m.Source.Addr().AsSlice(), m.Source.Bits()
	for ; bits > 0; bits, at, address = bits-32, at+4, address[4:] {
		mask := ^uint32(0)
		if bits < 32 {
			mask <<= 32 - bits
		}
		keys = append(keys, u32Key{at: at, value: binary.BigEndian.Uint32(address) & mask, mask: mask})
	}
	return keys
}

// TC_U32_TERMINAL and TC_U32_VAROFFSET of linux/pkt_cls.h.
const (
	u32Terminal  = 1
	u32VarOffset = 4
)

// u32Key compares a word from the IP header's start, or from the next header's.
type u32Key struct {
	at          int32
	next        bool
	value, mask uint32
}

// u32Sel is struct tc_u32_sel.
type u32Sel struct {
	flags    uint8
	offshift uint8
	offmask  uint16
	keys     []u32Key
}

func (s u32Sel) bytes() []byte {
	b := make([]byte, 16, 16+16*len(s.keys))
	b[0], b[1], b[2] = s.flags, s.offshift, uint8(len(s.keys))
	binary.BigEndian.PutUint16(b[4:], s.offmask)
	for _, k := range s.keys {
		b = binary.BigEndian.AppendUint32(b, k.mask)
		b = binary.BigEndian.AppendUint32(b, k.value)
		b = binary.NativeEndian.AppendUint32(b, uint32(k.at))
		var next uint32
		if k.next {
			next = ^uint32(0)
		}
		b = binary.NativeEndian.AppendUint32(b, next)
	}
	return b
}
