/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The fast path of the challenge: untagged SYNs with plain headers, of sources near which nothing is listed, to a listener that is known. A
 * flood is made of them. They go from the frame to its answer without a call, since each return costs 6 ns where the kernel guards them
 * (spec_rstack_overflow). It decides as the rest does, or not at all.
 */
#ifndef WEIR_FASTPATH_H
#define WEIR_FASTPATH_H

#include "challenge.h"
#include "lists.h"

/* Tells whether a TCP segment is a SYN and nothing else that matters, behind an IP header of the right version, and not from a multicast
 * address.
 */
static __always_inline bool is_plain_syn(const void *ip, const void *end, bool ipv6)
{
	const __u8 *b = ip, *flags = b + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + 13;

	if ((const void *)(flags + 1) > end)
		return false;
	if (ipv6 ? b[0] >> 4 != 6 || b[8] == 0xff : b[0] != 0x45 || b[9] != IPPROTO_TCP)
		return false;
	return (*flags & 0x17) == 0x02; /* of SYN, ACK, RST and FIN */
}

/* As challenge_fast, for one protocol: the offsets are constants. */
static __always_inline bool challenge_plain(struct hook_ctx *ctx, struct weir_cpu *cpu, void *data, void *end, bool ipv6,
					    struct outcome *o)
{
	void *ip = data + sizeof(struct ethhdr);
	struct syn s = {};
	bool kernels;
	__u64 key;

	if (!is_plain_syn(ip, end, ipv6))
		return false;
	if (find_answer(cpu, data, end, ip, ipv6, &s) != ANSWER_SENT)
		return false;
	key = segment_key(ip, ipv6);
	kernels = s.listener->taker == TAKER_KERNEL;
	if (kernels && may_have_sockets(key))
		return false;
	if (near_listed(&cpu->lists, key, ipv6) || cpu->budgeted & WEIR_CAPPED)
		return false;
	cpu->reason = suspect(cpu, key);
	asm volatile("" ::: "memory");
	o->class = WEIR_CLASS_SYN;
	o->verdict = WEIR_VERDICT_PASS;
	o->reason = cpu->reason;
	if (o->reason == WEIR_REASON_NONE && cpu->wary) {
		note_uncounted(key, cpu->now);
		return true;
	}
	if (!common_options((const __u32 *)(s.tcp + 1), end, s.words, &cpu->options))
		odd_options(cpu, frame_start(ctx), frame_end(ctx), sizeof(struct ethhdr), ipv6);
	forget_options(cpu);
	o->verdict = WEIR_VERDICT_TX;
	return write_answer(ctx, cpu, data, end, &s, ipv6, kernels) == ANSWER_SENT;
}

/* Answers a SYN, or lets it pass if nothing speaks for a challenge. Returns false if there is more to it. */
static __always_inline bool challenge_fast(struct hook_ctx *ctx, struct weir_cpu *cpu, struct outcome *o)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct ethhdr *eth;

	asm volatile("" : "+r"(data), "+r"(end)); /* pointers, not the 32 bits that they are read from */
	eth = data;
	if (!can_challenge || !cpu->challenging || (void *)(eth + 1) > end)
		return false;
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_IP):
		return challenge_plain(ctx, cpu, data, end, false, o);
	case bpf_htons(ETH_P_IPV6):
		return challenge_plain(ctx, cpu, data, end, true, o);
	default:
		return false;
	}
}

#endif
