package datapath

import (
	"errors"
	"fmt"
	"time"
)

// Cost is what one packet of a class costs in the datapath.
type Cost struct {
	Class      Class
	Challenged bool          // a SYN that is answered by a cookie, an ACK that is looked at for one: from a new source each
	Packet     time.Duration // mean
	Verdict    Verdict       // what became of it
}

// PerCore is how many such packets one core can judge in a second, if it did nothing else: an upper bound, since driver
// and kernel add to each packet what the datapath can't see.
func (c Cost) PerCore() float64 {
	if c.Packet <= 0 {
		return 0
	}
	return float64(time.Second) / float64(c.Packet)
}

// Load is what a datapath has to do, as far as it decides on what packets cost.
type Load struct {
	Limit         Limit
	Budgets       Budgets
	Sources       int // of the source table, a power of two
	Enforce       bool
	Challenge     bool // SYNs may be challenged
	KernelCookies bool // by the kernel's cookies alone
	TC            bool // attached to tc, not to XDP
}

// capacityRuns of each frame take some ten milliseconds.
const capacityRuns = 200_000

// Capacity measures the program on this machine with frames of each class (BPF_PROG_TEST_RUN). It runs a copy with maps of
// its own, so that no live counter moves and no live source is charged. To measure the challenge it listens on a loopback port.
func Capacity(l Load) (_ []Cost, err error) {
	costs, err := l.classes()
	if err != nil || !l.Challenge {
		return costs, err
	}
	challenge, err := l.challenge()
	return append(costs, challenge...), err
}

// copy loads the program with maps of its own.
func (l Load) copy(c constants) (*bpfObjects, error) {
	c.seed, c.secret, c.sources = newSeed(), newSeed(), l.Sources
	objs, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(objs.prepare(c, l.Limit, "", time.Now()), writeBudgets(objs.Budgets, l.Budgets)); err != nil {
		return nil, errors.Join(err, objs.Close())
	}
	return objs, nil
}

func enforce(objs *bpfObjects, change func(*bpfWeirControl)) error {
	return changeControl(objs.Control, func(raw *bpfWeirControl) {
		raw.Mode, raw.UntilNs = modeEnforce, monotonicNow()+uint64(time.Hour)
		change(raw)
	})
}

// classes costs one frame of each class, always the same, without a challenge.
func (l Load) classes() (_ []Cost, err error) {
	objs, err := l.copy(constants{note: true, tc: l.TC})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, objs.Close()) }()
	if l.Enforce {
		if err := enforce(objs, func(*bpfWeirControl) {}); err != nil {
			return nil, err
		}
	}
	drop := uint32(xdpActionDrop)
	if l.TC {
		drop = tcActShot
	}
	var costs []Cost
	for class, frame := range sampleFrames() {
		action, took, err := objs.Weir.Benchmark(frame, capacityRuns, nil)
		if err != nil {
			return nil, fmt.Errorf("run the datapath on a %v frame: %w", Class(class), err)
		}
		cost := Cost{Class: Class(class), Packet: took}
		if action == drop {
			cost.Verdict = VerdictDrop
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

// Of linux/bpf.h and linux/pkt_cls.h.
const (
	xdpActionDrop = 1
	xdpActionTX   = 3
	tcActShot     = 2
)

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
