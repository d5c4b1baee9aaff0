package testenv

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

var (
	src4 = netip.MustParseAddrPort("198.51.100.2:1025")
	dst4 = netip.MustParseAddrPort("198.51.100.1:80")
	src6 = netip.MustParseAddrPort("[2001:db8::2]:1025")
	dst6 = netip.MustParseAddrPort("[2001:db8::1]:80")
)

const ethernet = "020000000001" + "020000000002"

func TestFrameBytes(t *testing.T) {
	syn4, syn6 := NewSYN(src4, dst4), NewSYN(src6, dst6)
	tcp4 := TCP{SrcPort: 1025, DstPort: 80, Flags: ACK, Window: 1}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string // hex; "." stands for what earlier rows have shown
	}{
		{"VLAN", Frame{VLANs: []uint16{5}, Src: src4.Addr(), Dst: dst4.Addr(), L4: Raw{Protocol: 99}}.Bytes(),
			ethernet + "81000005" + "0800" + "45000014000000004063261d" + "c6336402c6336401"},
		{"two VLANs", Frame{VLANs: []uint16{5, 6}}.Ethernet(0x0806, []byte{1}), ethernet + "88a80005" + "81000006" + "080601"},
		{"IPv4 fragment", Frame{Src: src4.Addr(), Dst: dst4.Addr(), Fragment: Fragment{Offset: 8, More: true, ID: 7}, L4: Raw{Protocol: 99}}.Bytes(),
			ethernet + "0800" + "45000014000720014063" + "0615" + "c6336402c6336401"},
		{"IPv6 fragment behind options", Frame{Src: src6.Addr(), Dst: dst6.Addr(), Fragment: Fragment{Offset: 8, More: true, ID: 7},
			Extensions: []Extension{{HopByHop, []byte{5, 2, 0, 0}}}, L4: Raw{Protocol: 99}}.Bytes(),
			ethernet + "86dd" + "6000000000100040" + hex.EncodeToString(src6.Addr().AsSlice()) + hex.EncodeToString(dst6.Addr().AsSlice()) +
				"2c00050200000000" + "6300000900000007"},
		{"AH", Extension{AH, make([]byte, 10)}.header(6), "0601" + "00000000000000000000"},
		{"TCP options", tcpHeader(syn4), "0401" + "0050" + "00000001" + "00000000" + "a002" + "faf0"},
		{"TCP over IPv6", tcpHeader(syn6), "0401" + "0050" + "00000001" + "00000000" + "a002" + "faf0"},
		{"TCP", tcp4.bytes(src4.Addr(), dst4.Addr()), "0401" + "0050" + "00000000" + "00000000" + "5010" + "0001" + "5718" + "0000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.frame); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// tcpHeader is a SYN's header up to the checksum.
func tcpHeader(f Frame) []byte { return f.L4.bytes(f.Src, f.Dst)[:16] }

// A sum over data that holds its own checksum is all ones.
func TestChecksums(t *testing.T) {
	for _, tt := range []struct {
		name     string
		l4       L4
		src, dst netip.Addr
		pseudo   bool
	}{
		{"TCP", NewSYN(src4, dst4).L4, src4.Addr(), dst4.Addr(), true},
		{"TCP of odd length", TCP{Payload: []byte("abc")}, src6.Addr(), dst6.Addr(), true},
		{"UDP", UDP{SrcPort: 1, DstPort: 2, Payload: []byte("abc")}, src6.Addr(), dst6.Addr(), true},
		{"ICMP", ICMP{Type: 8, Body: []byte{1, 2, 3, 4}}, src4.Addr(), dst4.Addr(), false},
		{"ICMPv6", ICMP{Type: 128, Body: []byte{1, 2, 3, 4}}, src6.Addr(), dst6.Addr(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.l4.bytes(tt.src, tt.dst)
			sum := checksum(0, b)
			if tt.pseudo {
				sum = ^transportSum(tt.src, tt.dst, tt.l4.protocol(tt.src.Is6()), b)
			}
			if sum != 0xffff {
				t.Errorf("sum %#x", sum)
			}
		})
	}
}

func TestFrameLeavesItsArgumentsAlone(t *testing.T) {
	extensions := append(make([]Extension, 0, 4), Extension{HopByHop, make([]byte, 3, 64)})
	f := Frame{Src: src6.Addr(), Dst: dst6.Addr(), Extensions: extensions, Fragment: Fragment{Atomic: true}, L4: Raw{}}
	first := f.Bytes()
	if again := f.Bytes(); !bytes.Equal(first, again) {
		t.Errorf("%x, then %x", first, again)
	}
	if got := extensions[:2][1].Body; got != nil {
		t.Errorf("appended %x to the caller's list", got)
	}
}
