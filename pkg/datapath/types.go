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
	VerdictTX // answered by a SYN cookie: the kernel never sees it
	NumVerdicts
)

// Reason is why; enum weir_reason.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota // nothing speaks against the packet
	ReasonMalformed                 // can't be parsed: passed to the kernel
	ReasonSourceRate                // its source is over its own SYN rate
	ReasonUntracked                 // its source found no room in the table
	ReasonCookie                    // an ACK of no connection without a valid cookie
	ReasonUnverified                // its source has completed no handshake, and too many such send
	ReasonPrefixRate                // over the rate of its /24 or /48
	ReasonTotalRate                 // over the rate of all sources together
	ReasonConnections               // its source has as many connections as it may have
	ReasonBlocked                   // on the block list
	ReasonAllowed                   // on the allow list
	ReasonCeiling                   // on the allow list, and over the list's ceiling
	ReasonManagement                // passed what speaks against it: to a management port or from an administrator
	ReasonReply                     // passed likewise: it answers this host's own traffic
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

// Challenge is when SYNs to a listener are answered by cookies; enum weir_challenge.
type Challenge uint8

// The policies.
const (
	ChallengeNever  Challenge = iota
	ChallengeAlways           // every SYN, whatever its source's rate
	ChallengeAuto             // while too many SYNs come from sources that have completed no handshake
)

// ChallengePolicy is when and by whose decision to challenge.
type ChallengePolicy struct {
	When Challenge

	// Unverified is what all sources without a completed handshake may send together, SYNs per second and at once, before
	// ChallengeAuto begins. It ends some seconds after they send less than half of it.
	Unverified Limit

	// Armed is how long ChallengeAuto may act in observe mode too; 0 for not at all.
	Armed time.Duration
}

// Cookies tell what became of the final ACKs of challenged connections.
type Cookies struct {
	Accepted uint64 // handed to a listener
	Refused  uint64 // with a valid cookie, but the kernel took no request for the listener
	Late     uint64 // dropped in tc after XDP had let them pass: without a valid cookie, or one too many of its source
	Kernel   uint64 // with a valid cookie of the kernel's own
	Reused   uint64 // met the socket of an earlier connection in TIME_WAIT, half open or forgotten by the client, which was ended
}

// Fallback is what becomes of SYNs under challenge to listeners that take only the kernel's own cookies: MPTCP's, or
// before Linux 6.9 any.
type Fallback uint8

// The states of the fallback.
const (
	FallbackIdle    Fallback = iota // none came lately, or nobody has made the settings for it yet
	FallbackOn                      // answered by XDP
	FallbackRefused                 // left to the kernel: the settings can't be had
)

// Control is the state of the control map.
type Control struct {
	Enforce    bool          // what was asked for; it acts only while Lease > 0
	Challenge  Challenge     // likewise
	Limit      Limit         // per source
	Lease      time.Duration // left until enforcement ends by itself; 0 when it has
	Generation uint64        // rises with every change

	Unverified      Limit         // what starts ChallengeAuto
	Armed           time.Duration // left until ChallengeAuto acts in enforce mode only
	Challenging     bool          // SYNs to listeners are answered by cookies now
	ChallengingFor  time.Duration // by ChallengeAuto, since it began; 0 when it isn't
	ChallengeStarts uint64        // how often ChallengeAuto has begun
	Fallback        Fallback

	Limiter string // what enforces if it isn't the datapath; a Reader never sets it
}

// Enforcing tells whether packets are dropped now.
func (c Control) Enforcing() bool { return c.Enforce && c.Lease > 0 }

// SourceRate is one source's rate of SYNs over the last second.
type SourceRate struct {
	Source        netip.Prefix // an IPv4 /32 or IPv6 /64
	SYNsPerSecond float64
	Limited       bool // over its own rate now
}
