/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The only contract between the datapath and Go: what lies in the maps, here and in bpf/abi_lists.h. Any change of layout or meaning raises
 * WEIR_ABI, which is part of the pin path, so that a program never reads another version's maps.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#include <linux/types.h>

#include "abi_lists.h"

#define WEIR_ABI 6

enum weir_class {
	WEIR_CLASS_SYN,	     /* SYN set, ACK clear */
	WEIR_CLASS_SYN_ACK,
	WEIR_CLASS_TCP,	     /* any other TCP */
	WEIR_CLASS_RST,	     /* RST set, SYN clear */
	WEIR_CLASS_UDP,
	WEIR_CLASS_ICMP,     /* ICMP and ICMPv6 */
	WEIR_CLASS_FRAGMENT, /* no whole transport header to judge by */
	WEIR_CLASS_OTHER,    /* other protocols, and what can't be parsed */
	WEIR_CLASS_LEN,
};

enum weir_verdict {
	WEIR_VERDICT_PASS,
	WEIR_VERDICT_WOULD_DROP, /* passed, but only because the mode is observe or the lease is over */
	WEIR_VERDICT_DROP,
	WEIR_VERDICT_TX, /* answered by a SYN cookie: the kernel never sees it */
	WEIR_VERDICT_LEN,
};

enum weir_reason {
	WEIR_REASON_NONE,
	WEIR_REASON_MALFORMED,	 /* can't be parsed; the kernel decides */
	WEIR_REASON_SOURCE_RATE, /* over the rate of its source */
	WEIR_REASON_UNTRACKED,	 /* its set of the source table is full of busier sources */
	WEIR_REASON_COOKIE,	 /* an ACK of no connection without a valid cookie */
	WEIR_REASON_UNVERIFIED,	 /* its source has completed no handshake, and too many such send */
	WEIR_REASON_PREFIX_RATE, /* over the rate of its /24 or /48 */
	WEIR_REASON_TOTAL_RATE,	 /* over the rate of all sources together */
	WEIR_REASON_CONNECTIONS, /* its source has as many connections as it may have */
	WEIR_REASON_BLOCKED,	 /* on the block list */
	WEIR_REASON_ALLOWED,	 /* on the allow list */
	WEIR_REASON_CEILING,	 /* on the allow list or exempt, and over the ceiling */
	WEIR_REASON_MANAGEMENT,	 /* passes what speaks against it, for it is to a management port or from an administrator */
	WEIR_REASON_REPLY,	 /* passes likewise, for it answers this host's own traffic */
	WEIR_REASON_LEN,
};

enum weir_mode {
	WEIR_MODE_OBSERVE,
	WEIR_MODE_ENFORCE,
};

enum weir_challenge {
	WEIR_CHALLENGE_NEVER,
	WEIR_CHALLENGE_ALWAYS, /* every SYN to a listener is answered by a cookie, while the mode is enforce */
	WEIR_CHALLENGE_AUTO,   /* while too many SYNs come from sources that have completed no handshake */
};

/* What SYN-ACKs offer, that is what the kernel would: the window scale in the lowest four bits, or WEIR_NO_WSCALE. */
#define WEIR_OFFER_WSCALE     0x0f
#define WEIR_NO_WSCALE	      0x0f
#define WEIR_OFFER_SACK	      0x10
#define WEIR_OFFER_TIMESTAMPS 0x20
#define WEIR_OFFER_ECN	      0x40

/* Ticks are the datapath's unit of time: 256 ns of CLOCK_MONOTONIC, kept modulo 2^40 (78 hours). Fine enough for 100,000
 * packets a second within 0.2 %, and a theoretical arrival time shares one word with a count.
 */
#define WEIR_TICK_SHIFT 8
#define WEIR_TICK_BITS	40
#define WEIR_TICK_MASK	((1ULL << WEIR_TICK_BITS) - 1)

/* A budget as a bucket sees it. The unit of time is the tick for sources and prefixes, and the nanosecond for totals, whose
 * rates may be far higher.
 */
struct weir_rate {
	__u64 interval;	 /* 1 / rate; 0: no such budget */
	__u64 tolerance; /* (burst - 1) * interval */
	__u32 rate;	 /* packets per second; for people, as burst */
	__u32 burst;
};

/* The one entry of the control map. The fields are read one by one: for the millisecond in which user space changes
 * several, a CPU may see a new rate with an old burst.
 */
struct weir_control {
	__u64 until_ns;	  /* CLOCK_MONOTONIC; enforce acts only before it */
	__u64 generation; /* rises with every change */
	__u64 interval;	  /* between two SYNs of one source, ticks: 1 / rate */
	__u64 tolerance;  /* how far a source may be ahead of its rate, ticks: (burst - 1) * interval */
	__u32 mode;	  /* enum weir_mode */
	__u32 rate;	  /* SYNs per second and source; for people, interval is what counts */
	__u32 burst;	  /* SYNs; for people, tolerance is what counts */
	__u32 challenge;  /* enum weir_challenge */
	__u64 accept_until_ns; /* CLOCK_MONOTONIC; until then ACKs with a cookie open connections */
	__u8 mac[6];	  /* the interface's: frames for others are none of this host's listeners' */
	__u16 offer;
	__u64 armed_until_ns;	     /* CLOCK_MONOTONIC; until then auto may challenge in observe mode too */
	struct weir_rate unverified; /* a total: what all sources without a handshake may send before auto challenges */
};

/* What is known of the sockets that there are. */
enum weir_peers {
	WEIR_PEERS_UNKNOWN,
	WEIR_PEERS_COUNTING,
	WEIR_PEERS_KNOWN, /* each is counted */
	WEIR_PEERS_MISSED, /* one couldn't be */
};

/* What auto has decided: the one entry of the spoofing map, which all CPUs share. The buckets are as in struct weir_total. */
struct weir_spoofing {
	__u64 unverified;
	__u64 verified;
	__u64 until_ns; /* CLOCK_MONOTONIC; auto challenges before it */
	__u64 since_ns; /* CLOCK_MONOTONIC; when it began the last time */
	__u64 starts;	/* how often it has begun */
	__u64 peers;	/* enum weir_peers; not its own, but as seldom written and read */
	__u64 reserved[2];
};

/* The one entry of the fallback map, for all interfaces of a network namespace: whether the kernel's own cookies may be made in XDP,
 * and which of the namespace's settings were changed for that.
 */
struct weir_fallback {
	__u64 wanted_ns;	 /* CLOCK_MONOTONIC; when XDP last met a listener under challenge that takes no others */
	__u64 until_ns;		 /* CLOCK_MONOTONIC; XDP makes them before it */
	__u64 ended_ns;		 /* CLOCK_MONOTONIC; when the settings began to be put back, 0 if they aren't being */
	__u64 netns;		 /* cookie of the namespace whose settings these are */
	__u32 syncookies;	 /* what net.ipv4.tcp_syncookies was, and 1; 0 if it wasn't changed */
	__u32 timestamps;	 /* the same of tcp_timestamps */
	__u32 refused;		 /* bool: the settings can't be had as long as this is wanted */
	__u32 reserved[3];
};

struct weir_budget {
	struct weir_rate source;
	struct weir_rate prefix; /* IPv4 /24, IPv6 /48 */
	struct weir_rate total;
};

#define WEIR_MANAGEMENT_PORTS 8

/* The one entry of the budgets map. SYN's rate per source is in the control map, SYN-ACKs share the budget of other TCP. */
struct weir_budgets {
	struct weir_budget classes[WEIR_CLASS_LEN];
	__be16 management[WEIR_MANAGEMENT_PORTS]; /* unused ones repeat the first */
	__u32 num_management;
	__u16 budgeted; /* as in struct weir_cpu */
	__u16 tracking; /* bool: netfilter tracks connections, some of which it may redirect */
	__u32 connections; /* that a source may have open; 0: any number */
	__u32 reserved;
};

#define WEIR_CAPPED (1U << 15) /* in budgeted: connections isn't 0 */

/* The bucket that all sources share: GCRA's theoretical arrival time, nanoseconds modulo 2^48. */
struct weir_total {
	__u64 arrival;
	__u64 reserved[7];
};

struct weir_count {
	__u64 packets;
	__u64 bytes; /* Ethernet header included */
};

/* What became of the final ACKs of challenged connections, beside the counts below, in which they have passed. */
struct weir_cookies {
	__u64 accepted; /* handed to a listener */
	__u64 refused;	/* with a valid cookie, but the kernel took no request for the listener */
	__u64 late;	/* dropped after XDP had let them pass: without a valid cookie, or one too many of its source */
	__u64 reused;	/* met the socket of an earlier connection in TIME_WAIT, half open or forgotten by the client, which was ended */
	__u64 kernel;	/* with a valid cookie of the kernel's own, which opens the connection */
	__u64 reserved;
};

/* A TCP segment's options. */
struct weir_options {
	__u32 mss;    /* 0: none */
	__u32 wscale; /* COOKIE_NO_WSCALE: none */
	__u32 sack;
	__u32 timestamps;
	__u32 ecn; /* asked for by the header's flags (RFC 3168 section 6.1.1) */
	__be32 tsval;
	__be32 tsecr;
};

/* What one CPU owns: no other CPU writes it, so plain increments lose nothing. The first line caches the clock and the
 * control map; it is renewed when the jiffy changes.
 */
struct weir_cpu {
	__u64 jiffy;	 /* in which the rest of this line was read */
	__u64 now;	 /* ticks */
	__u64 interval;
	__u64 tolerance;
	__u16 enforcing;   /* bool */
	__u16 challenging; /* bool */
	__u16 wary;	   /* bool: the policy is auto, and it may act */
	__u16 prolonged;   /* jiffy, its lower bits, in which this CPU last found auto's challenge needed */
	__u16 accepting;   /* bool */
	__u16 budgeted;	   /* bit mask of the classes that have a budget beside SYN's per source, and WEIR_CAPPED */
	__u32 epoch;	   /* of the cookies made now */
	__u32 other_epoch; /* the one before; at the end of a minute the next, for cookies of a CPU that is ahead */
	__u32 mtu;	   /* of the interface; 0: not known yet */
	__u8 mac[6];
	__u16 offer;
	struct weir_cookies cookies;
	__u64 fallback; /* bool: the kernel's own cookies may be made here */
	__u64 millis;	/* CLOCK_MONOTONIC, the unit of the kernel's timestamps */
	struct weir_list_clock lists;

	/* Of the packet at hand. The verifier takes what it reads from a map for unknown, and else would follow all that comes after
	 * for each value that there could be.
	 */
	struct weir_options options;
	__u32 next;   /* option */
	__u32 reason; /* enum weir_reason */

	/* As of the last jiffy, again. */
	__u32 peers_known; /* bool */
	__u32 noted;	   /* bool: who may have a socket that isn't counted is noted (bpf/uncounted.h) */
	__u64 noting_ns;   /* CLOCK_MONOTONIC, since when this interface's SYNs are noted that pass; 0: not yet */

	/* Of the packet at hand: a TCP header and an MSS option, which the stack has no room for. */
	__u32 kernel_segment[6];
	__u64 reserved[6];

	struct weir_count counts[WEIR_CLASS_LEN][WEIR_VERDICT_LEN][WEIR_REASON_LEN];
};

/* One source. The key is the IPv6 /64 as it stands in the packet, or ff ff 00 00 and the IPv4 address (ffff::/16 is
 * multicast and never a source); 0 is an empty entry. The bucket is GCRA's theoretical arrival time in its upper 40 bits,
 * the number of SYNs modulo 2^24 in the lower 24.
 */
struct weir_source {
	__u64 key;
	__u64 bucket;
};

#define WEIR_COUNT_BITS 24
#define WEIR_COUNT_MASK ((1ULL << WEIR_COUNT_BITS) - 1)
#define WEIR_WAYS	4

/* One cache line: the sources whose keys hash alike. */
struct weir_set {
	struct weir_source ways[WEIR_WAYS];
};

/* What the sensor notes about an attachment for whoever opens the pins. */
struct weir_info {
	__u64 secret[2]; /* of the cookies */
	__u64 seed[2]; /* of the source table's hash; a new program over an old table needs the same */
	__u64 since;   /* Unix seconds when the maps were made */
	char tier[12]; /* "xdp-native", "xdp-generic" */
	__u32 kernel_cookies; /* 1: SYNs are challenged by the kernel's cookies alone, without a program of tc's */
	char version[32];
};

_Static_assert(sizeof(struct weir_control) == 96, "ABI");
_Static_assert(sizeof(struct weir_cpu) == 320 + 16 * WEIR_CLASS_LEN * WEIR_VERDICT_LEN * WEIR_REASON_LEN, "ABI");
_Static_assert(sizeof(struct weir_cpu) % 64 == 0, "CPUs share no cache line");
_Static_assert(sizeof(struct weir_budgets) == 72 * WEIR_CLASS_LEN + 32, "ABI");
_Static_assert(sizeof(struct weir_spoofing) == 64, "ABI");
_Static_assert(sizeof(struct weir_fallback) == 56, "ABI");
_Static_assert(sizeof(struct weir_total) == 64, "classes share no cache line");
_Static_assert(sizeof(struct weir_set) == 64, "a set is one cache line");
_Static_assert(sizeof(struct weir_info) == 88, "ABI");
_Static_assert(WEIR_TICK_BITS + WEIR_COUNT_BITS == 64, "a bucket is one word");

#endif
