/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connections that are being opened right now. The final ACK and the data behind it may pass XDP and tc in one batch, before
 * TCP has seen the ACK and made the socket: the data belongs to no socket then and carries no cookie, yet is no forgery.
 * One batch is received by one CPU within one jiffy or two; a tuple that another one pushes out retransmits.
 */
#ifndef WEIR_HANDSHAKES_H
#define WEIR_HANDSHAKES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "cookie.h"

#define HANDSHAKES 256
#define HANDSHAKE_JIFFIES 2

struct handshake {
	__u64 tuple; /* its hash */
	__u64 proven; /* jiffy in which XDP saw the cookie */
	__u64 opened; /* jiffy in which tc handed it to the listener */
	__u64 ended;  /* jiffy in which tc ended an earlier connection */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HANDSHAKES);
	__type(key, __u32);
	__type(value, struct handshake);
} handshakes SEC(".maps");

/* Whoever finds another tuple with the same hash gets one packet more to the kernel. */
static __always_inline __u64 tuple_hash(const struct cookie_flow *f)
{
	__u64 x;

	if (f->ipv6)
		x = two_words(f->source) + two_words(f->source + 2) * 3 + two_words(f->destination) * 5 + two_words(f->destination + 2) * 7;
	else
		x = f->source[0] | (__u64)f->destination[0] << 32;
	x *= 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 32 ^ (f->sport | (__u32)f->dport << 16)) * 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

static __always_inline struct handshake *handshake_of(__u64 tuple)
{
	__u32 index = tuple % HANDSHAKES;

	return bpf_map_lookup_elem(&handshakes, &index);
}

static __always_inline bool recent(const struct handshake *h, __u64 tuple, __u64 jiffy, __u64 now)
{
	return h->tuple == tuple && now - jiffy <= HANDSHAKE_JIFFIES;
}

#endif
