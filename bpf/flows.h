/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who spoke first: a table of flows without connections, that is of UDP, of echo requests, and of datagrams in fragments. What
 * answers this host's own traffic is never dropped, and only that: a service's answers must not make those who asked exempt.
 * So XDP notes who asks and tc, at egress, notes whom the host addresses of its own accord.
 *
 * A set is one cache line of eight words, each a tag, a bit that tells who spoke first, and a time. Whoever asks displaces
 * nobody whom the host addressed, so a flood can't make it forget.
 */
#ifndef WEIR_FLOWS_H
#define WEIR_FLOWS_H

#include <stdbool.h>

#include "budgets.h"
#include "parse.h"

#define FLOW_SETS 4096 /* 32,768 flows, 256 KiB: it stays in a core's L2 cache */
#define FLOW_WAYS 8

#define FLOW_TIME_SHIFT (20 + WEIR_TICK_SHIFT) /* 0.27 s */
#define FLOW_TIME_MASK	0xfffffULL
#define FLOW_OWN	(1ULL << 20)
#define FLOW_TAG_SHIFT	21
#define FLOW_LIFE	(30000000000ULL >> FLOW_TIME_SHIFT) /* 30 s, as netfilter's of UDP that isn't answered yet */

struct flow_set {
	__u64 ways[FLOW_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_SETS);
	__type(key, __u32);
	__type(value, struct flow_set);
} flows SEC(".maps");

/* False where tc can't note whom the host addresses; then connected sockets have to do. Set by the loader. */
const volatile bool can_note;

/* The other side's address and port come first. Bytes as in the packet. */
struct flow {
	__u64 addresses[4];
	__u32 ports; /* or the number of an echo request or of a datagram */
	__u32 kind;
};

enum flow_kind {
	FLOW_UDP = 1,
	FLOW_ECHO,
	FLOW_FRAGMENTS,
};

/* outgoing: the IP header is one of this host's, or quoted from one. The caller has checked that it is there, but before
 * Linux 6.8 the verifier doesn't connect ipv6 with that.
 */
static __always_inline void flow_addresses(struct flow *f, const void *ip, const void *end, bool ipv6, bool outgoing)
{
	const struct iphdr *v4 = ip;
	const struct ipv6hdr *v6 = ip;

	if (!ipv6) {
		f->addresses[0] = outgoing ? v4->daddr | (__u64)v4->saddr << 32 : v4->saddr | (__u64)v4->daddr << 32;
		return;
	}
	asm volatile("" : "+r"(v6)); /* or clang leaves out the check, as callers have one */
	if ((void *)(v6 + 1) > end)
		return;
	__builtin_memcpy(&f->addresses[0], outgoing ? &v6->daddr : &v6->saddr, 16);
	__builtin_memcpy(&f->addresses[2], outgoing ? &v6->saddr : &v6->daddr, 16);
}

#define DHCP_PORTS(server, client) ((__u32)bpf_htons(server) | (__u32)bpf_htons(client) << 16)

/* ports are two of a transport header, source first. DHCP's client asks all and is answered by one, at an address that it may
 * not have yet.
 */
static __always_inline void flow_ports(struct flow *f, __u32 ports, bool outgoing)
{
	f->ports = outgoing ? ports >> 16 | ports << 16 : ports;
	if (f->kind == FLOW_UDP && (f->ports == DHCP_PORTS(67, 68) || f->ports == DHCP_PORTS(547, 546)))
		__builtin_memset(f->addresses, 0, sizeof(f->addresses));
}

static __always_inline __u64 flow_mix(__u64 x, __u64 word)
{
	x = (x ^ word) * (seed1 | 1);
	return x ^ x >> 32;
}

static __always_inline __u64 flow_hash(const struct flow *f, bool ipv6)
{
	__u64 x = flow_mix(seed0, f->addresses[0]);

	if (ipv6) {
		x = flow_mix(x, f->addresses[1]);
		x = flow_mix(x, f->addresses[2]);
		x = flow_mix(x, f->addresses[3]);
	}
	x = flow_mix(x, f->ports | (__u64)f->kind << 32);
	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 32;
}

static __always_inline struct flow_set *flow_set(__u64 hash)
{
	__u32 index = hash % FLOW_SETS;

	return bpf_map_lookup_elem(&flows, &index);
}

enum flow_state {
	FLOW_UNKNOWN,
	FLOW_ASKED, /* the other side spoke first */
	FLOW_OURS,  /* this host did */
};

static __always_inline __u64 flow_time(const struct weir_cpu *cpu)
{
	return cpu->now >> (FLOW_TIME_SHIFT - WEIR_TICK_SHIFT) & FLOW_TIME_MASK;
}

/* In units of time, and one more than it is, since another CPU's clock may be a unit ahead. An empty way is very old. */
static __always_inline __u64 flow_age(__u64 word, __u64 time)
{
	return word ? (time + 1 - word) & FLOW_TIME_MASK : FLOW_TIME_MASK;
}

static __always_inline enum flow_state flow_state(const struct flow_set *set, __u64 hash, __u64 time)
{
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		__u64 word = set->ways[i];

		if ((word ^ hash) >> FLOW_TAG_SHIFT)
			continue;
		if (flow_age(word, time) > FLOW_LIFE)
			return FLOW_UNKNOWN;
		return word & FLOW_OWN ? FLOW_OURS : FLOW_ASKED;
	}
	return FLOW_UNKNOWN;
}

/* All ones if a < b, both below 2^63. Nor does the compiler make a branch of it where it knows more of them. */
static __always_inline __u64 less_mask(__u64 a, __u64 b)
{
	__u64 difference = a - b;

	asm volatile("" : "+r"(difference));
	return negative_mask(difference);
}

/* Which way goes first for another flow: the larger, the sooner; 0 for never. Without branches, or the verifier would go through each
 * row of ways that there could be.
 */
static __always_inline __u64 flow_rank(__u64 word, __u64 time, __u64 own)
{
	__u64 empty = negative_mask(word - 1) & ~negative_mask(word);
	__u64 age = ((time + 1 - word) & FLOW_TIME_MASK) | (empty & FLOW_TIME_MASK);
	__u64 old = less_mask(FLOW_LIFE, age);	  /* may go for anybody */
	__u64 host = less_mask(0, word & FLOW_OWN); /* goes for its like alone */
	__u64 asked = age + FLOW_LIFE;		  /* goes for the host's own before any of those */

	return (old & FLOW_TIME_MASK) | (~old & ((host & age & less_mask(0, own)) | (~host & asked)));
}

/* Notes a flow as the host's own (FLOW_OWN) or as asked by the other side (0). It takes the place of itself, of what is too old
 * or, if it is the host's own, of the oldest. A global function: verified once.
 */
__noinline int flow_note(struct flow_set *set, __u64 hash, __u64 time, __u64 own)
{
	__u64 word = (hash & ~0ULL << FLOW_TAG_SHIFT) | own | time;
	__u64 first = 0; /* a rank, and its way below */

	if (!set)
		return 0;
	for (__u32 i = 0; i < FLOW_WAYS; i++) {
		__u64 was = set->ways[i], rank;

		if (!((was ^ hash) >> FLOW_TAG_SHIFT)) {
			if (was != word)
				set->ways[i] = word;
			return 1;
		}
		rank = flow_rank(was, time, own) * FLOW_WAYS | i;
		first ^= (first ^ rank) & less_mask(first, rank);
	}
	if (first >= FLOW_WAYS)
		set->ways[first % FLOW_WAYS] = word;
	return 1;
}

#endif
