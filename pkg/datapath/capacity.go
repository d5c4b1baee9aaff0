package datapath

import (
	"errors"
	"fmt"
	"time"
)

// Cost is what one packet of a class costs in the datapath.
type Cost struct {
	Class  Class
	Packet time.Duration // mean
	Drop   bool          // what became of it
}

// PerCore is how many such packets one core can judge in a second, if it did nothing else: an upper bound, since driver
// and kernel add to each packet what the datapath can't see.
func (c Cost) PerCore() float64 {
	if c.Packet <= 0 {
		return 0
	}
	return float64(time.Second) / float64(c.Packet)
}

// capacityRuns of each frame take some ten milliseconds.
const capacityRuns = 200_000

// Capacity measures the program on this machine with frames of each class (BPF_PROG_TEST_RUN). It runs a copy with maps of
// its own, so that no live counter moves and no live source is charged.
func Capacity(l Limit, b Budgets, sources int, enforce bool) (_ []Cost, err error) {
	c := constants{seed: newSeed(), sources: sources, note: true}
	objs, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, objs.Close()) }()
	if err := objs.prepare(c, l, "", time.Now()); err != nil {
		return nil, err
	}
	if err := writeBudgets(objs.Budgets, b); err != nil {
		return nil, err
	}
	if enforce {
		err := changeControl(objs.Control, func(raw *bpfWeirControl) {
			raw.Mode, raw.UntilNs = modeEnforce, monotonicNow()+uint64(time.Hour)
		})
		if err != nil {
			return nil, err
		}
	}
	var costs []Cost
	for class, frame := range sampleFrames() {
		action, took, err := objs.Weir.Benchmark(frame, capacityRuns, nil)
		if err != nil {
			return nil, fmt.Errorf("run the datapath on a %v frame: %w", Class(class), err)
		}
		costs = append(costs, Cost{Class(class), took, action == xdpActionDrop})
	}
	return costs, nil
}

const xdpActionDrop = 1 // XDP_DROP of linux/bpf.h

// sampleFrames are the smallest of each class, by class.
func sampleFrames() [NumClasses][]byte {
	const (
		protoICMP = 1
		protoTCP  = 6
		protoUDP  = 17
		protoGRE  = 47
		syn       = 0x02
		rst       = 0x04
		ack       = 0x10
	)
	return [NumClasses][]byte{
		ClassSYN:      ipv4Frame(protoTCP, 0, tcpHeader(syn)),
		ClassSYNACK:   ipv4Frame(protoTCP, 0, tcpHeader(syn|ack)),
		ClassTCP:      ipv4Frame(protoTCP, 0, tcpHeader(ack)),
		ClassRST:      ipv4Frame(protoTCP, 0, tcpHeader(rst)),
		ClassUDP:      ipv4Frame(protoUDP, 0, make([]byte, 8)),
		ClassICMP:     ipv4Frame(protoICMP, 0, make([]byte, 8)),
		ClassFragment: ipv4Frame(protoUDP, 1, make([]byte, 8)),
		ClassOther:    ipv4Frame(protoGRE, 0, make([]byte, 8)),
	}
}

// ipv4Frame is an Ethernet frame of 60 bytes at least, from 192.0.2.1 to 192.0.2.2 (RFC 5737). Nobody checks its checksums.
func ipv4Frame(protocol, offset byte, payload []byte) []byte {
	f := make([]byte, 34, 60)
	f[12] = 0x08 // IPv4
	f[14] = 0x45 // version 4, 20 bytes
	f[17] = byte(20 + len(payload))
	f[21] = offset // of a fragment, units of 8 bytes
	f[22] = 64
	f[23] = protocol
	copy(f[26:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	f = append(f, payload...)
	return f[:max(60, len(f))]
}

func tcpHeader(flags byte) []byte {
	h := make([]byte, 20)
	h[12] = 5 << 4
	h[13] = flags
	return h
}
