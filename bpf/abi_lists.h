/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The part of the contract of bpf/abi.h that the allow and block lists are. */
#ifndef WEIR_ABI_LISTS_H
#define WEIR_ABI_LISTS_H

#include <linux/types.h>

/* What a list entry says of the packets from its prefix. */
enum weir_list_kind {
	WEIR_LIST_NONE,
	WEIR_LIST_BLOCK,  /* dropped, whatever the mode */
	WEIR_LIST_ALLOW,  /* pass, up to the ceiling */
	WEIR_LIST_EXEMPT, /* judged like others, but not dropped, up to the ceiling */
};

/* An entry as XDP sees it is a prefix and 32 bits: its length in the upper 8, the kind in 2, the end in the lower 22. Ends
 * are counted in 2^26 ns (67 ms) from when the table was made, so that a table outlives neither its entries nor, 78 hours
 * on, the count.
 */
#define WEIR_LIST_CLOCK_SHIFT 26
#define WEIR_LIST_END_BITS    22
#define WEIR_LIST_END_MASK    ((1U << WEIR_LIST_END_BITS) - 1)
#define WEIR_LIST_HELD	      WEIR_LIST_END_MASK /* no end of its own: it acts while somebody renews held_until_ns */
#define WEIR_LIST_CEILINGS    16384
#define WEIR_LIST_NEAR	      2 /* words */

/* A table of one address family: a head, the IPv6 lengths, the filter, then the entries; see bpf/lists.h. */
#define WEIR_LIST_HEAD	  0
#define WEIR_LIST_LENGTHS 1
#define WEIR_LIST_FILTER  2
#define WEIR_LIST_CHAIN	  4 /* lines that an entry may be in, one after the other */
#define WEIR_LIST_WAYS4	  8
#define WEIR_LIST_WAYS6	  3
#define WEIR_LIST_LONG	  32768 /* lines of a table in long_lists: 2 MiB, 160,000 IPv4 entries */

struct weir_list_line {
	__u64 words[8];
};

struct weir_list_head {
	__u64 base;	/* when the table was made, 2^26 ns of CLOCK_MONOTONIC */
	__u64 seed[2];	/* odd */
	__u32 lengths;	/* bit mask of those in use, the longest lowest: for IPv4 bit n is /(32 - n), for IPv6 lengths[n] */
	__u32 always;	/* those that the filter doesn't tell of */
	__u32 filter;	/* its words; 0: there is none */
	__u32 first;	/* line of entries */
	__u32 lines;	/* of entries that keys are spread over; WEIR_LIST_CHAIN - 1 more follow */
	__u32 shortest; /* the entry of length 0 */
	__u64 reserved[2];
};

/* The one entry of the list control map. */
struct weir_list_control {
	__u64 held_until_ns; /* CLOCK_MONOTONIC; the lease of the entries without an end of their own */
	__u64 interval;	     /* 1 / ceiling of an allowed prefix, ticks */
	__u64 tolerance;     /* ticks */
	__u32 ceiling;	     /* packets per second; for people */
	__u32 reserved;
	__u64 near[2][WEIR_LIST_NEAR]; /* a bit for each hash of the upper bits of what a family lists: others aren't looked up */
};

/* What a command, or an administrator's login, has put on the lists, for whoever makes the tables. */
struct weir_list_key {
	__u8 address[16]; /* IPv4 in the first four */
	__u8 length;
	__u8 ipv6;   /* bool */
	__u8 exempt; /* bool; an exemption stands beside a block of the same address and wins */
	__u8 reserved;
};

struct weir_list_entry {
	__u64 until_ns; /* CLOCK_MONOTONIC */
	__u64 since;	/* Unix seconds */
	__u32 kind;	/* enum weir_list_kind */
	char origin[64];
	char reason[132];
};

/* What one CPU knows of the lists, as of the last jiffy. */
struct weir_list_clock {
	__u64 now; /* 2^26 ns */
	__u64 interval;
	__u64 tolerance;
	__u64 held; /* bool; the lease of the entries without an end lasts */
	__u64 near[2][WEIR_LIST_NEAR];
};

_Static_assert(sizeof(struct weir_list_line) == 64, "a probe is one cache line");
_Static_assert(sizeof(struct weir_list_head) == 64, "ABI");
_Static_assert(sizeof(struct weir_list_clock) == 64, "ABI");
_Static_assert(sizeof(struct weir_list_control) == 64, "ABI");
_Static_assert(sizeof(struct weir_list_key) == 20, "ABI");
_Static_assert(sizeof(struct weir_list_entry) == 216, "ABI");

#endif
