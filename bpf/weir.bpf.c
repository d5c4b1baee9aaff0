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
#include "established.h"
#include "fastpath.h"
#include "icmp.h"
#include "lists.h"
#include "note.h"
#include "parse.h"
#include "sources.h"
#include "syn.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the loader before loading; the verifier removes what it rules out. */
const volatile bool bench_drop; /* benchmarks only: drops after all bookkeeping, to be compared with a bare XDP_DROP */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_info);
} info SEC(".maps");

/* The first fragment of a reply is looked at on behalf of the rest. */
static __always_inline bool is_charged(const struct weir_cpu *cpu, const struct packet *p, enum weir_class class)
{
	return has_budget(cpu, class) || (p->fragment.first && has_budget(cpu, WEIR_CLASS_FRAGMENT));
}

/* Nobody is locked out: what comes to a management port is challenged at most. */
static __always_inline struct outcome spare_management(struct outcome o, __be16 port)
{
	if ((o.verdict != WEIR_VERDICT_DROP && o.verdict != WEIR_VERDICT_WOULD_DROP) || o.reason == WEIR_REASON_COOKIE)
		return o;
	return is_management(port) ? pass(o.class, WEIR_REASON_MANAGEMENT) : o;
}

/* The class of a packet, which passes as far as this goes. */
static __always_inline struct outcome classify(struct cursor *c, struct packet *p)
{
	struct tcphdr *tcp;

	if (p->fragment.later)
		return pass(WEIR_CLASS_FRAGMENT, WEIR_REASON_NONE);
	if (p->fragment.first && p->fragment.bytes < transport_bytes(p->proto)) {
		tcp = c->pos;
		p->flagless = p->proto == IPPROTO_TCP;
		if (p->flagless && (void *)(&tcp->dest + 1) <= c->end)
			p->port = tcp->dest;
		return pass(WEIR_CLASS_FRAGMENT, WEIR_REASON_NONE);
	}
	switch (p->proto) {
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
	case IPPROTO_ICMP:
		return pass(WEIR_CLASS_ICMP, WEIR_REASON_NONE);
	}
	return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
}

static __always_inline struct outcome judge_class(struct hook_ctx *ctx, struct weir_cpu *cpu, struct outcome o,
						  const struct packet *p)
{
	int reason;

	if (o.class == WEIR_CLASS_SYN || p->flagless) {
		struct outcome syn = spare_management(judge_syn(ctx, cpu, p), p->port);

		if (o.class == WEIR_CLASS_SYN)
			return syn;
		if (syn.verdict != WEIR_VERDICT_PASS || syn.reason == WEIR_REASON_MANAGEMENT) {
			syn.class = o.class;
			return syn;
		}
	}
	if (o.class == WEIR_CLASS_TCP && can_challenge && cpu->challenging && p->ack) {
		reason = judge_ack(ctx, cpu, p->ip, p->ipv6, p->key);
		if (reason == ACK_ASK) {
			ask_for_listener(ctx, cpu, p->ip, p->ipv6);
			reason = judge_ack(ctx, cpu, p->ip, p->ipv6, p->key);
		}
		if (reason == ACK_PROVEN)
			return o;
		if (reason == ACK_ODD)
			reason = judge_odd_ack(ctx, cpu, p);
		if (reason > WEIR_REASON_NONE) {
			o.verdict = WEIR_VERDICT_DROP;
			o.reason = reason;
			return spare_management(o, p->port);
		}
	}
	if (!is_charged(cpu, p, o.class))
		return o;
	switch (o.class) {
	case WEIR_CLASS_SYN_ACK:
	case WEIR_CLASS_TCP:
		if (is_spared(ctx, cpu, p, WEIR_CLASS_TCP))
			return o;
		return spare_management(by_budget(cpu, o.class, charge_budget(cpu, WEIR_CLASS_TCP, p->key, p->ipv6)), p->port);
	case WEIR_CLASS_RST:
		if (!is_stray(ctx, cpu, p) && is_spared(ctx, cpu, p, WEIR_CLASS_RST))
			return o;
		return spare_management(by_budget(cpu, o.class, charge_inline(cpu, WEIR_CLASS_RST, p->key, p->ipv6)), p->port);
	case WEIR_CLASS_UDP:
		return by_budget(cpu, o.class, udp_budget(ctx, cpu, p));
	case WEIR_CLASS_ICMP:
		return by_budget(cpu, o.class, icmp_budget(ctx, cpu, p));
	case WEIR_CLASS_FRAGMENT:
		return by_budget(cpu, o.class, fragment_budget(ctx, cpu, p));
	default:
		return o;
	}
}

/* The block list acts whatever the mode. A host without its neighbours would be out of reach, so they are never blocked. */
static __always_inline struct outcome block(struct hook_ctx *ctx, struct outcome o, const struct packet *p)
{
	if (o.reason == WEIR_REASON_MALFORMED)
		return o;
	o.verdict = WEIR_VERDICT_DROP;
	o.reason = WEIR_REASON_BLOCKED;
	if (o.class == WEIR_CLASS_ICMP && is_neighbours(ctx, p))
		return pass(o.class, WEIR_REASON_MANAGEMENT);
	return spare_management(o, p->port);
}

/* Judges a packet, by what the lists found of its source first. */
static __always_inline struct outcome judge_source(struct hook_ctx *ctx, struct weir_cpu *cpu, __u32 found, struct outcome o,
						   const struct packet *p)
{
	enum listed listed = found & ((1 << LISTED_BITS) - 1);
	if (listed != LISTED_NOT) {
		if (o.reason == WEIR_REASON_MALFORMED)
			return o;
		if (listed == LISTED_BLOCKED)
			return block(ctx, o, p);
		if (listed == LISTED_ALLOWED)
			return pass(o.class, WEIR_REASON_ALLOWED);
	}
	found = hide(found, cpu->now); /* the verifier needn't go through the rest for each answer */
	o = judge_class(ctx, cpu, o, p);
	listed = found & ((1 << LISTED_BITS) - 1);
	if (listed == LISTED_NOT)
		return o;
	if (o.verdict != WEIR_VERDICT_DROP && o.verdict != WEIR_VERDICT_WOULD_DROP)
		return o;
	if (listed == LISTED_EXEMPT && !over_ceiling(cpu, found >> LISTED_BITS))
		return pass(o.class, WEIR_REASON_MANAGEMENT);
	o.reason = WEIR_REASON_CEILING;
	return o;
}

/* As behind_extensions. A global function: the verifier would go through all that follows for each row of headers that there
 * could be.
 */
__noinline int skip_extensions(struct hook_ctx *ctx, struct packet *p, __u32 next)
{
	return p ? behind_extensions((void *)(long)ctx->data, (void *)(long)ctx->data_end, p, next) : PARSE_ERROR;
}

static __always_inline struct outcome judge(struct hook_ctx *ctx, struct weir_cpu *cpu, struct cursor *c)
{
	void *frame = c->pos;
	int ethertype = parse_ethernet(c);
	struct packet p = { .ip = packet_bytes(frame, c->pos), .ipv6 = ethertype == bpf_htons(ETH_P_IPV6) };
	struct outcome o;
	__be32 address = 0;
	__u32 found;
	int proto;

	switch (ethertype) {
	case bpf_htons(ETH_P_IP):
		proto = parse_ipv4(c, &address, &p.fragment);
		p.key = ipv4_key(address);
		break;
	case bpf_htons(ETH_P_IPV6):
		proto = parse_ipv6(c, &p.key);
		p.key = p.key ? p.key : UNSPECIFIED_PREFIX;
		if (proto == PARSE_ERROR || !is_extension(proto))
			break;
		proto = skip_extensions(ctx, &p, proto);
		if (p.l4 > MAX_L4_OFFSET)
			return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
		c->pos = frame + p.l4;
		break;
	case PARSE_ERROR:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	default:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
	}

	if (proto == PARSE_ERROR)
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	p.l4 = packet_bytes(frame, c->pos);
	p.proto = proto;
	o = classify(c, &p);
	hide_packet(&p, cpu->now);
	o.class = hide(o.class, cpu->now);
	o.reason = hide(o.reason, cpu->now);
	found = near_listed(&cpu->lists, p.key, p.ipv6) ? look_up_source(ctx, cpu, p.ip, p.ipv6) : LISTED_NOT;
	o = judge_source(ctx, cpu, found, o, &p);
	o.class = hide(o.class, cpu->now);
	o.verdict = hide(o.verdict, cpu->now);
	o.reason = hide(o.reason, cpu->now);
	if (can_challenge && (o.class == WEIR_CLASS_SYN || p.flagless) && o.verdict != WEIR_VERDICT_DROP && o.verdict != WEIR_VERDICT_TX)
		note_uncounted(p.key, cpu->now);
	return o;
}

/* What only packets that come in tell. The MTU bounds the MSS. A VLAN's or a route's may be smaller: then path MTU discovery has to find
 * out.
 */
static __always_inline void refresh_arrival(struct hook_ctx *ctx, struct weir_cpu *cpu)
{
	__u32 mtu = 0;

	if (bpf_check_mtu(ctx, 0, &mtu, 0, 0) >= 0)
		cpu->mtu = mtu;
	if (!cpu->noting_ns)
		cpu->noting_ns = bpf_ktime_get_ns();
}

static __always_inline int filter(struct hook_ctx *ctx, __u32 packets, __u32 bytes)
{
	struct weir_cpu *cpu = this_cpu();
	struct outcome o;
	struct cursor c;

	if (!cpu)
		return HOOK_PASS;
	if ((refresh(cpu) || !cpu->mtu) && can_challenge)
		refresh_arrival(ctx, cpu);
	if (!challenge_fast(ctx, cpu, &o)) {
		c.pos = frame_start(ctx);
		c.end = frame_end(ctx);
		o = judge(ctx, cpu, &c);
	}
	count(cpu, o, packets, bytes);
	if (o.verdict == WEIR_VERDICT_TX)
		return HOOK_TX;
	if (bench_drop)
		return HOOK_DROP;
	return o.verdict == WEIR_VERDICT_DROP ? HOOK_DROP : HOOK_PASS;
}

/* Makes the headers readable. */
static __always_inline bool pull_headers(struct __sk_buff *skb)
{
	__u32 linear = skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES;

	return (__u32)(skb->data_end - skb->data) >= linear || !bpf_skb_pull_data(skb, linear);
}

#ifdef WEIR_TC
/* What the kernel has merged counts as what it came as, its bytes but for the headers that went. */
SEC("tc")
int weir(struct __sk_buff *skb)
{
	pull_headers(skb); /* or what there is has to do */
	return filter(skb, skb->gso_segs ? skb->gso_segs : 1, skb->len);
}
#else
SEC("xdp")
int weir(struct xdp_md *ctx)
{
	return filter(ctx, 1, packet_bytes((void *)(long)ctx->data, (void *)(long)ctx->data_end));
}

/* For frames in several buffers, that is an MTU beyond a page: drivers refuse the plain program there. */
SEC("xdp.frags")
int weir_frags(struct xdp_md *ctx)
{
	return filter(ctx, 1, bpf_xdp_get_buff_len(ctx));
}
#endif

SEC("tc")
int weir_note(struct __sk_buff *skb)
{
	struct weir_cpu *cpu = this_cpu();

	if (!cpu)
		return TCX_NEXT;
	refresh(cpu);
	if (!(cpu->budgeted & NOTE_CLASSES) || !pull_headers(skb))
		return TCX_NEXT;
	note_outgoing(skb, cpu);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int weir_accept(struct __sk_buff *skb)
{
	struct weir_cpu *cpu = this_cpu();

	if (!cpu)
		return TCX_NEXT;
	refresh(cpu);
	if (!cpu->accepting || skb->pkt_type != PACKET_HOST || !pull_headers(skb))
		return TCX_NEXT;
	switch (accept_ack(skb, cpu)) {
	case ARRIVAL_DROP:
		return TCX_DROP;
	default:
		return TCX_NEXT;
	}
}
