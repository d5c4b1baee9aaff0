/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The budget of ICMP and ICMPv6. */
#ifndef WEIR_ICMP_H
#define WEIR_ICMP_H

#include "replies.h"

/* RFC 792, RFC 4443, RFC 4861, RFC 2710, RFC 3810. */
enum icmp_type {
	ICMP_TYPE_ECHO_REPLY = 0,
	ICMP_TYPE_UNREACHABLE = 3, /* fragmentation needed among them */
	ICMP_TYPE_ECHO = 8,
	ICMP_TYPE_TIME_EXCEEDED = 11,
	ICMP_TYPE_PARAMETER = 12,
};

enum icmpv6_type {
	ICMPV6_TYPE_UNREACHABLE = 1,
	ICMPV6_TYPE_PARAMETER = 4, /* the last error; packet too big and time exceeded lie between */
	ICMPV6_TYPE_ECHO = 128,
	ICMPV6_TYPE_ECHO_REPLY = 129,
	ICMPV6_TYPE_MLD_QUERY = 130,
	ICMPV6_TYPE_MLD_DONE = 132,
	ICMPV6_TYPE_ROUTER_SOLICITATION = 133,
	ICMPV6_TYPE_REDIRECT = 137,
	ICMPV6_TYPE_MLDV2_REPORT = 143,
};

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 check;
	__u16 id;
	__u16 sequence;
};

/* Who drops these cuts the host off. They are from the link itself: no router forwards what has these hop limits. */
static __always_inline bool is_neighbourly(const struct ipv6hdr *ip, const void *end, __u32 type)
{
	asm volatile("" : "+r"(ip)); /* as in flow_addresses */
	if ((void *)(ip + 1) > end)
		return false;
	if (type >= ICMPV6_TYPE_ROUTER_SOLICITATION && type <= ICMPV6_TYPE_REDIRECT)
		return ip->hop_limit == 255;
	if ((type >= ICMPV6_TYPE_MLD_QUERY && type <= ICMPV6_TYPE_MLD_DONE) || type == ICMPV6_TYPE_MLDV2_REPORT)
		return ip->hop_limit == 1 && ip->saddr.s6_addr16[0] == bpf_htons(0xfe80);
	return false;
}

/* The same of a packet, whose class is ICMP. A global function: the verifier looks at it once. */
__noinline int is_neighbours(struct hook_ctx *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmp_header *icmp;
	void *ip;

	if (!p || !packet_ipv6(p) || p->proto != IPPROTO_ICMPV6)
		return false;
	ip = packet_ip(data, end, p, true);
	icmp = packet_at(data, end, p->l4, sizeof(*icmp));
	return ip && icmp && is_neighbourly(ip, end, icmp->type);
}

static __always_inline bool is_error(__u32 type, bool ipv6)
{
	if (ipv6)
		return type >= ICMPV6_TYPE_UNREACHABLE && type <= ICMPV6_TYPE_PARAMETER;
	return type == ICMP_TYPE_UNREACHABLE || type == ICMP_TYPE_TIME_EXCEEDED || type == ICMP_TYPE_PARAMETER;
}

/* Where the transport header of a quoted packet is, or 0; *proto is its protocol. Only what this host sends itself is understood:
 * of IPv6 no extension header but the first fragment's.
 */
static __always_inline __u32 quoted_l4(void *data, void *end, __u32 at, bool ipv6, __u32 *proto)
{
	struct fragment_header *frag;
	struct ipv6hdr *v6;
	struct iphdr *v4;

	if (!ipv6) {
		v4 = packet_at(data, end, at, sizeof(*v4));
		if (!v4 || v4->version != 4 || v4->ihl < 5 || v4->frag_off & bpf_htons(IP_OFFSET_MASK))
			return 0;
		*proto = v4->protocol;
		return at + v4->ihl * 4;
	}
	v6 = packet_at(data, end, at, sizeof(*v6) + sizeof(*frag));
	if (!v6 || v6->version != 6)
		return 0;
	*proto = v6->nexthdr;
	if (*proto != IPPROTO_FRAGMENT)
		return at + sizeof(*v6);
	frag = (void *)(v6 + 1);
	if (frag->offset & bpf_htons(IP6_OFFSET_MASK))
		return 0;
	*proto = frag->next;
	return at + sizeof(*v6) + sizeof(*frag);
}

/* Tells whether an error is about a packet that this host has sent, f to be filled. */
static __noinline bool quotes_ours(struct hook_ctx *ctx, const struct weir_cpu *cpu, __u32 at, bool ipv6, struct flow *f)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 proto, l4, *ports;
	void *ip;

	l4 = quoted_l4(data, end, at, ipv6, &proto);
	if (!l4)
		return false;
	ip = packet_at(data, end, at, ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	ports = packet_at(data, end, l4, 8); /* as much as is always quoted */
	if (!ip || !ports)
		return false;
	flow_addresses(f, ip, end, ipv6, true);
	switch (proto) {
	case IPPROTO_TCP:
		f->ports = *ports >> 16 | *ports << 16;
		return flow_has_connection(ctx, f, ipv6);
	case IPPROTO_UDP:
		f->kind = FLOW_UDP;
		flow_ports(f, *ports, true);
		return can_note ? is_ours(cpu, f, ipv6, true) : is_connected(ctx, f, ipv6);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		f->kind = FLOW_ECHO;
		f->ports = ((struct icmp_header *)ports)->id;
		return is_ours(cpu, f, ipv6, false);
	}
	return false;
}

static __always_inline int icmp_budget(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p)
{
	void *ip, *data = frame_start(ctx), *end = frame_end(ctx);
	struct flow f = { .kind = FLOW_ECHO };
	__u32 ipv6 = packet_ipv6(p);
	struct icmp_header *icmp;
	bool spared;
	int reason;

	ip = packet_ip(data, end, p, ipv6);
	icmp = packet_at(data, end, p->l4, sizeof(*icmp));
	if (!ip || !icmp || p->proto != (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return charge_budget(cpu, WEIR_CLASS_ICMP, p->key, ipv6);
	if (ipv6 && is_neighbourly(ip, end, icmp->type))
		return WEIR_REASON_NONE;
	reason = charge_inline(cpu, WEIR_CLASS_ICMP, p->key, ipv6);
	if (!over_budget(reason) && !p->fragment.first)
		return reason;
	if (icmp->type == (ipv6 ? ICMPV6_TYPE_ECHO_REPLY : ICMP_TYPE_ECHO_REPLY)) {
		flow_addresses(&f, ip, end, ipv6, false);
		f.ports = icmp->id;
		spared = is_ours(cpu, &f, ipv6, false);
	} else {
		spared = is_error(icmp->type, ipv6) && quotes_ours(ctx, cpu, p->l4 + sizeof(*icmp), ipv6, &f);
	}
	if (!spared)
		return reason;
	spare_rest(cpu, ip, end, p, ipv6);
	return over_budget(reason) ? WEIR_REASON_REPLY : reason;
}

#endif
