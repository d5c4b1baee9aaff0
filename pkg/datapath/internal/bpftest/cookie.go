package bpftest

import "github.com/cilium/ebpf"

// Cookie is a cookie with all that goes into it; struct cookie_args of bpf/sources_test.bpf.c.
type Cookie struct {
	Source      [4]uint32 // as in the packet; IPv4: the first
	Destination [4]uint32
	SourcePort  uint16 // as in the packet
	Port        uint16
	ClientISN   uint32
	Start       [4]uint64 // what SipHash begins with
	IPv6        bool
	Options     uint32 // see cookie_options
	Timestamps  bool
	Epoch       uint32
	Other       uint32
	ISN, TSval  uint32
}

func (k Cookie) args() bpfCookieArgs {
	a := bpfCookieArgs{
		Source: k.Source, Destination: k.Destination, Sport: k.SourcePort, Dport: k.Port, ClientIsn: k.ClientISN, Start: k.Start,
		Options: k.Options, Epoch: k.Epoch, Other: k.Other, Isn: k.ISN, Tsval: k.TSval,
	}
	if k.IPv6 {
		a.Ipv6 = 1
	}
	if k.Timestamps {
		a.Timestamps = 1
	}
	return a
}

// MakeCookie fills in ISN and TSval, and returns the MAC of the options as they are.
func (s *Set) MakeCookie(k *Cookie) (mac uint64, err error) {
	a := k.args()
	_, err = s.objs.MakeCookie.Run(&ebpf.RunOptions{Context: &a, ContextOut: &a})
	k.ISN, k.TSval = a.Isn, a.Tsval
	return a.Mac, err
}

// CheckCookie returns the options of a cookie, or -1.
func (s *Set) CheckCookie(k Cookie) (int32, error) {
	a := k.args()
	_, err := s.objs.CheckCookie.Run(&ebpf.RunOptions{Context: &a, ContextOut: &a})
	return a.Checked, err
}
