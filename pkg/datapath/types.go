// Package datapath loads, attaches, pins, reads and sets the XDP program. It alone imports cilium/ebpf.
package datapath

import (
	"net/netip"
	"time"
)

// Class is what kind of packet was counted; enum weir_class in bpf/abi.h.
type Class uint8

// The classes.
const (
	ClassSYN      Class = iota // TCP, SYN set, ACK clear
	ClassSYNACK                // TCP, SYN and ACK set
	ClassTCP                   // TCP, any other
	ClassRST                   // TCP, RST set, SYN clear
	ClassUDP                   //
	ClassICMP                  // ICMP and ICMPv6
	ClassFragment              // without a whole transport header to judge by
	ClassOther                 // other protocols, and what can't be parsed
	NumClasses
)

// Verdict is what became of a packet; enum weir_verdict.
type Verdict uint8

// The verdicts.
const (
	VerdictPass      Verdict = iota
	VerdictWouldDrop         // passed in observe mode, enforce mode would have dropped it
	VerdictDrop
	NumVerdicts
)

// Reason is why; enum weir_reason.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota // nothing speaks against the packet
	ReasonMalformed                // can't be parsed: passed to the kernel
	ReasonSourceRate               // its source is over its own SYN rate
	ReasonUntracked                // its source found no room in the table
	NumReasons
)

// Count is a number of packets and of their bytes, Ethernet header included.
type Count struct {
	Packets, Bytes uint64
}

// Counters hold every packet since the maps were made, each counted once.
type Counters [NumClasses][NumVerdicts][NumReasons]Count

// Limit is what each source may send: SYNs per second, and SYNs at once.
type Limit struct {
	Rate, Burst uint64
}

// Control is the state of the control map.
type Control struct {
	Enforce    bool          // what was asked for; it acts only while Lease > 0
	Limit      Limit         // per source
	Lease      time.Duration // left until enforcement ends by itself; 0 when it has
	Generation uint64        // rises with every change
}

// Enforcing tells whether packets are dropped now.
func (c Control) Enforcing() bool { return c.Enforce && c.Lease > 0 }

// SourceRate is one source's rate of SYNs over the last second.
type SourceRate struct {
	Source        netip.Prefix // an IPv4 /32 or IPv6 /64
	SYNsPerSecond float64
	Limited       bool // over its own rate now
}
