// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The datapath: parse with a cursor, decide in pure functions, count once at the exit. */
#include <stdbool.h>
#include <stddef.h>

#include "abi.h"
#include "accept.h"
#include "budgets.h"
#include "challenge.h"
#include "control.h"
#include "counters.h"
#include "lists.h"
#include "parse.h"
#include "sources.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the loader before loading; the verifier removes what they rule out. */
const volatile bool can_challenge; /* false where tc can't take what XDP promises, or the kernel lacks a helper */
const volatile bool bench_drop; /* benchmarks only: drops after all bookkeeping, to be compared with a bare XDP_DROP */


struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* sets; the loader sets a power of two */
	__type(key, __u32);
	__type(value, struct weir_set);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_info);
} info SEC(".maps");

const volatile __u32 set_mask = 4095;

static __always_inline __u64 ipv4_key(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff0000);
}

static __always_inline struct outcome pass(enum weir_class class, enum weir_reason reason)
{
	return (struct outcome){ .class = class, .verdict = WEIR_VERDICT_PASS, .reason = reason };
}

/* What a budget says of a packet: beyond it enforce drops. */
static __always_inline struct outcome by_budget(const struct weir_cpu *cpu, enum weir_class class, int reason)
{
	struct outcome o = pass(class, reason);

	if (over_budget(reason))
		o.verdict = cpu->enforcing ? WEIR_VERDICT_DROP : WEIR_VERDICT_WOULD_DROP;
	return o;
}

static __always_inline struct outcome judge_syn(const struct weir_cpu *cpu, __u64 key, bool ipv6)
{
	__u32 index = source_hash(key, seed0, seed1) & set_mask;
	struct weir_set *set = bpf_map_lookup_elem(&sources, &index);
	struct outcome o = pass(WEIR_CLASS_SYN, WEIR_REASON_NONE);
	int reason;

	if (!set)
		return o;
	switch (source_charge(set, key, cpu->now, cpu->interval, cpu->tolerance)) {
	case SOURCE_CONFORMS:
		break;
	case SOURCE_EXCEEDS:
		return by_budget(cpu, WEIR_CLASS_SYN, WEIR_REASON_SOURCE_RATE);
	case SOURCE_UNTRACKED:
		o.reason = WEIR_REASON_UNTRACKED;
		break;
	}
	if (has_budget(cpu, WEIR_CLASS_SYN)) {
		reason = charge_budget(cpu, WEIR_CLASS_SYN, key, ipv6);
		if (over_budget(reason))
			return by_budget(cpu, WEIR_CLASS_SYN, reason);
	}
	return o;
}

struct packet {
	__u64 offset; /* of the IP header in the frame */
	__u64 key;    /* of the source */
	bool ipv6;
	bool ack;
	bool discovery; /* ICMPv6 that finds neighbours: without it there is no IPv6 */
	__be16 port;	/* TCP's destination */
};

/* Of RFC 4861; Linux doesn't export them. */
#define ND_ROUTER_SOLICITATION 133
#define ND_REDIRECT	       137

/* Nobody is locked out: what comes to a management port is challenged at most. */
static __always_inline struct outcome spare_management(struct outcome o, __be16 port)
{
	if ((o.verdict != WEIR_VERDICT_DROP && o.verdict != WEIR_VERDICT_WOULD_DROP) || o.reason == WEIR_REASON_COOKIE)
		return o;
	return is_management(port) ? pass(o.class, WEIR_REASON_MANAGEMENT) : o;
}

/* The class of a packet, which passes as far as this goes. */
static __always_inline struct outcome classify(struct cursor *c, int proto, bool fragment, struct packet *p)
{
	struct tcphdr *tcp;
	__u8 *icmp;

	if (fragment)
		return pass(WEIR_CLASS_FRAGMENT, WEIR_REASON_NONE);
	switch (proto) {
	case IPPROTO_TCP:
		tcp = parse_tcp(c);
		if (!tcp)
			return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
		p->port = tcp->dest;
		p->ack = tcp->ack;
		if (tcp->syn)
			return pass(tcp->ack ? WEIR_CLASS_SYN_ACK : WEIR_CLASS_SYN, WEIR_REASON_NONE);
		return pass(tcp->rst ? WEIR_CLASS_RST : WEIR_CLASS_TCP, WEIR_REASON_NONE);
	case IPPROTO_UDP:
		return pass(WEIR_CLASS_UDP, WEIR_REASON_NONE);
	case IPPROTO_ICMPV6:
		icmp = c->pos;
		p->discovery = (void *)(icmp + 1) <= c->end && *icmp >= ND_ROUTER_SOLICITATION && *icmp <= ND_REDIRECT;
		return pass(WEIR_CLASS_ICMP, WEIR_REASON_NONE);
	case IPPROTO_ICMP:
		return pass(WEIR_CLASS_ICMP, WEIR_REASON_NONE);
	}
	return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
}

static __always_inline struct outcome judge_class(struct xdp_md *ctx, const struct weir_cpu *cpu, struct outcome o,
						  const struct packet *p)
{
	switch (o.class) {
	case WEIR_CLASS_SYN:
		o = judge_syn(cpu, p->key, p->ipv6);
		if (can_challenge && cpu->challenging && answer_syn(ctx, cpu, p->offset, p->ipv6))
			o.verdict = WEIR_VERDICT_TX;
		break;
	case WEIR_CLASS_TCP:
		if (can_challenge && cpu->challenging && p->ack && forged_ack(ctx, cpu, p->offset, p->ipv6)) {
			o.verdict = WEIR_VERDICT_DROP;
			o.reason = WEIR_REASON_COOKIE;
		}
		break;
	default:
		return o;
	}
	return spare_management(o, p->port);
}

/* The block list acts whatever the mode. A host without its neighbours would be out of reach, so they are never blocked. */
static __always_inline struct outcome block(struct outcome o, const struct packet *p)
{
	if (o.reason == WEIR_REASON_MALFORMED)
		return o;
	o.verdict = WEIR_VERDICT_DROP;
	o.reason = WEIR_REASON_BLOCKED;
	return p->discovery ? pass(o.class, WEIR_REASON_MANAGEMENT) : spare_management(o, p->port);
}

/* Judges what is on a list. */
static __always_inline struct outcome judge_listed(struct xdp_md *ctx, const struct weir_cpu *cpu, enum listed listed,
						   struct outcome o, const struct packet *p)
{
	if (o.reason == WEIR_REASON_MALFORMED)
		return o;
	if (listed == LISTED_BLOCKED)
		return block(o, p);
	if (listed == LISTED_ALLOWED)
		return pass(o.class, WEIR_REASON_ALLOWED);
	o = judge_class(ctx, cpu, o, p);
	if (o.verdict != WEIR_VERDICT_DROP && o.verdict != WEIR_VERDICT_WOULD_DROP)
		return o;
	if (listed == LISTED_EXEMPT)
		return pass(o.class, WEIR_REASON_MANAGEMENT);
	o.reason = WEIR_REASON_CEILING;
	return o;
}

static __always_inline struct outcome judge(struct xdp_md *ctx, const struct weir_cpu *cpu, struct cursor *c)
{
	void *frame = c->pos;
	int ethertype = parse_ethernet(c);
	struct packet p = { .offset = c->pos - frame, .ipv6 = ethertype == bpf_htons(ETH_P_IPV6) };
	bool fragment = false;
	struct outcome o;
	__be32 address = 0;
	int listed, proto;

	asm volatile("" : "+r"(p.offset)); /* or clang subtracts 32 bits of pointers, which the verifier refuses */
	switch (ethertype) {
	case bpf_htons(ETH_P_IP):
		proto = parse_ipv4(c, &address, &fragment);
		p.key = ipv4_key(address);
		break;
	case bpf_htons(ETH_P_IPV6):
		proto = parse_ipv6(c, &p.key, &fragment);
		p.key = p.key ? p.key : UNSPECIFIED_PREFIX;
		break;
	case PARSE_ERROR:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	default:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
	}

	if (proto == PARSE_ERROR)
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	o = classify(c, proto, fragment, &p);
	listed = cpu->lists.on ? look_up_source(ctx, cpu, p.offset, p.ipv6) : LISTED_NOT;
	return listed == LISTED_NOT ? judge_class(ctx, cpu, o, &p) : judge_listed(ctx, cpu, listed, o, &p);
}

/* The MTU bounds the MSS. A VLAN's or a route's may be smaller: then path MTU discovery has to find out. */
static __always_inline void refresh_mtu(struct xdp_md *ctx, struct weir_cpu *cpu)
{
	__u32 mtu = 0;

	if (bpf_check_mtu(ctx, 0, &mtu, 0, 0) >= 0)
		cpu->mtu = mtu;
}

static __always_inline int filter(struct xdp_md *ctx, __u32 bytes)
{
	struct cursor c = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	struct weir_cpu *cpu = this_cpu();
	struct outcome o;

	if (!cpu)
		return XDP_PASS;
	if ((refresh(cpu) || !cpu->mtu) && can_challenge)
		refresh_mtu(ctx, cpu);
	o = judge(ctx, cpu, &c);
	count(cpu, o, bytes);
	if (o.verdict == WEIR_VERDICT_TX)
		return XDP_TX;
	if (bench_drop)
		return XDP_DROP;
	return o.verdict == WEIR_VERDICT_DROP ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int weir(struct xdp_md *ctx)
{
	return filter(ctx, ctx->data_end - ctx->data);
}

/* For frames in several buffers, that is an MTU beyond a page: drivers refuse the plain program there. */
SEC("xdp.frags")
int weir_frags(struct xdp_md *ctx)
{
	return filter(ctx, bpf_xdp_get_buff_len(ctx));
}

SEC("tcx/ingress")
int weir_accept(struct __sk_buff *skb)
{
	struct weir_cpu *cpu = this_cpu();
	__u32 linear = skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES;

	if (!cpu)
		return TCX_NEXT;
	refresh(cpu);
	if (!cpu->accepting || skb->pkt_type != PACKET_HOST)
		return TCX_NEXT;
	if ((__u32)(skb->data_end - skb->data) < linear && bpf_skb_pull_data(skb, linear))
		return TCX_NEXT;
	switch (accept_ack(skb, cpu)) {
	case ARRIVAL_DROP:
		return TCX_DROP;
	default:
		return TCX_NEXT;
	}
}
