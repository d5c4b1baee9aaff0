// Package flood sends SYN floods of millions of packets per second over veth pairs, for benchmarks and tests. It makes
// them in the kernel, from live frames (BPF_PROG_TEST_RUN, Documentation/bpf/bpf_prog_run.rst), since no program in user
// space is fast enough to tell good defences apart.
package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options say what to send and where.
type Options struct {
	Interface   string // veth to send from, in the network namespace of the calling thread; its peer receives
	Source      net.HardwareAddr
	Destination net.HardwareAddr
	Kind        Kind
	TCPOptions  []byte         // of SYNs, 40 bytes at most, in words of 4; nil: those of Linux
	Target      netip.AddrPort // over IPv6 for SYNs alone
	FirstSource netip.Addr     // IPv4; of NumSources consecutive addresses; over IPv6 their bytes are part of the prefix
	NumSources  uint32         // 0 for a new one each packet
	Shuffled    bool           // the NumSources take no turns

	// Idle is a veth that nobody sends to, for the case that the target answers: the generator would take what arrives at
	// its own interface for frames to send. Empty: Interface.
	Idle string
}

// Flood is a loaded generator.
type Flood struct {
	objs    floodObjects
	ifindex int
	bytes   int // of a frame
	link    link.Link
}

// batch is the kernel's default number of frames in flight.
const batch = 64

// New loads a generator and attaches it to the sending interface as well: entering a program into the XDP dispatcher and
// taking it out costs a run over 10 ms, unless it is there already.
func New(o Options) (*Flood, error) {
	iface, err := net.InterfaceByName(o.Interface)
	if err != nil {
		return nil, fmt.Errorf("flood from %s: %w", o.Interface, err)
	}
	idle := iface
	if o.Idle != "" {
		if idle, err = net.InterfaceByName(o.Idle); err != nil {
			return nil, fmt.Errorf("flood from %s: %w", o.Interface, err)
		}
	}
	frame, err := o.frame()
	if err != nil {
		return nil, err
	}
	spec, err := loadFlood()
	if err != nil {
		return nil, err
	}
	var vars floodVariableSpecs
	if err := spec.Assign(&vars); err != nil {
		return nil, err
	}
	var base [maxWords]uint64
	for i := range len(frame) / 8 {
		base[i] = binary.NativeEndian.Uint64(frame[8*i:])
	}
	var first [4]byte
	if o.NumSources > 0 {
		first = o.FirstSource.As4()
	}
	v6 := o.Target.Addr().Is6()
	err = errors.Join(
		vars.Base.Set(base),
		vars.Last.Set(binary.NativeEndian.Uint64(frame[len(frame)-8:])),
		vars.FrameBytes.Set(uint32(len(frame))),
		vars.Ipv6.Set(v6),
		vars.IpSum.Set(uint32(sum(frame[14:34]))),
		vars.TcpSum.Set(uint32(pseudoSum(frame, v6))),
		vars.FirstSource.Set(binary.BigEndian.Uint32(first[:])),
		vars.NumSources.Set(o.NumSources),
		vars.Shuffled.Set(o.Shuffled),
		vars.Fixed.Set(o.Kind == ICMP || o.Kind == Fragment),
	)
	if err != nil {
		return nil, err
	}
	f := &Flood{ifindex: iface.Index, bytes: len(frame)}
	if err := spec.LoadAndAssign(&f.objs, nil); err != nil {
		return nil, err
	}
	f.link, err = link.AttachXDP(link.XDPOptions{Program: f.objs.Flood, Interface: idle.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, errors.Join(err, f.objs.Close())
	}
	return f, nil
}

// context is struct xdp_md; only the interface is told.
type context struct {
	Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// Send sends n frames as fast as the receiver's core takes them and returns how long that took.
func (f *Flood) Send(n uint32) (time.Duration, error) {
	start := time.Now()
	_, err := f.objs.Flood.Run(&ebpf.RunOptions{
		Data:      make([]byte, f.bytes),
		Context:   context{DataEnd: uint32(f.bytes), IngressIfindex: uint32(f.ifindex)},
		Repeat:    n,
		Flags:     unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		BatchSize: batch,
	})
	return time.Since(start), err
}

// Close takes the generator out.
func (f *Flood) Close() error { return errors.Join(f.link.Close(), f.objs.Close()) }

// Sink is a bare program on a receiving interface: what benchmarks compare with.
type Sink struct {
	objs floodPrograms
	link link.Link
}

// NewSink attaches a program that passes or drops every frame. On the peer of a veth that passes, it lets frames that
// arrive by XDP_TX through.
func NewSink(iface string, pass bool) (*Sink, error) {
	return newSink(iface, func(p *floodPrograms) *ebpf.Program {
		if pass {
			return p.Pass
		}
		return p.Drop
	})
}

// NewWire attaches a program that passes what goes to 198.51.100.0/24 and what isn't IPv4, and drops the rest: answers to
// spoofed sources leave a real host by a wire, and don't come back to burden it.
func NewWire(iface string) (*Sink, error) {
	return newSink(iface, func(p *floodPrograms) *ebpf.Program { return p.Wire })
}

// NewOracle attaches a program that drops all IPv4 packets but those from 198.51.100.0/24: the least that any defence can cost.
func NewOracle(iface string) (*Sink, error) {
	return newSink(iface, func(p *floodPrograms) *ebpf.Program { return p.Oracle })
}

func newSink(iface string, choose func(*floodPrograms) *ebpf.Program) (*Sink, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	s := &Sink{}
	var objs floodObjects
	if err := loadFloodObjects(&objs, nil); err != nil {
		return nil, err
	}
	s.objs = objs.floodPrograms
	if err := objs.floodMaps.Close(); err != nil {
		return nil, errors.Join(err, s.objs.Close())
	}
	s.link, err = link.AttachXDP(link.XDPOptions{Program: choose(&s.objs), Interface: i.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, errors.Join(err, s.objs.Close())
	}
	return s, nil
}

// Close detaches it.
func (s *Sink) Close() error { return errors.Join(s.link.Close(), s.objs.Close()) }
