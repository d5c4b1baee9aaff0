/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What tc sees leave: notes whom this host addresses of its own accord, while a budget needs to know. */
#ifndef WEIR_NOTE_H
#define WEIR_NOTE_H

#include "icmp.h"

#define NOTE_CLASSES (1U << WEIR_CLASS_UDP | 1U << WEIR_CLASS_ICMP | 1U << WEIR_CLASS_FRAGMENT)

/* As behind_extensions, in tc. */
__noinline int skip_skb_extensions(struct __sk_buff *skb, struct packet *p, __u32 next)
{
	return p ? behind_extensions((void *)(long)skb->data, (void *)(long)skb->data_end, p, next) : PARSE_ERROR;
}

static __always_inline void note_outgoing(struct __sk_buff *skb, const struct weir_cpu *cpu)
{
	struct cursor c = { .pos = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	void *frame = c.pos;
	struct packet p = {};
	struct icmp_header *icmp;
	struct flow f = {};
	__u64 hash, time;
	struct flow_set *set;
	__be32 address;
	__u32 *ports;
	bool ipv6;
	void *ip;
	int proto, ethertype = parse_ethernet(&c);

	ip = c.pos;
	ipv6 = ethertype == bpf_htons(ETH_P_IPV6);
	if (ipv6)
		proto = parse_ipv6(&c, &p.key);
	else if (ethertype == bpf_htons(ETH_P_IP))
		proto = parse_ipv4(&c, &address, &p.fragment);
	else
		return;
	if (ipv6 && proto != PARSE_ERROR && is_extension(proto)) {
		p.ip = packet_bytes(frame, ip);
		proto = skip_skb_extensions(skb, &p, proto);
		if (p.l4 > MAX_L4_OFFSET)
			return;
		c.pos = frame + p.l4;
	}
	ports = c.pos;
	if (proto == PARSE_ERROR || p.fragment.later || (void *)(ports + 2) > c.end)
		return;
	flow_addresses(&f, ip, c.end, ipv6, true);
	switch (proto) {
	case IPPROTO_UDP:
		f.kind = FLOW_UDP;
		flow_ports(&f, *ports, true);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		icmp = c.pos;
		if (icmp->type != (ipv6 ? ICMPV6_TYPE_ECHO : ICMP_TYPE_ECHO))
			return;
		f.kind = FLOW_ECHO;
		f.ports = icmp->id;
		break;
	default:
		return;
	}
	hash = flow_hash(&f, ipv6);
	set = flow_set(hash);
	time = flow_time(cpu);
	if (set)
		flow_note(set, hash, time, flow_state(set, hash, time) == FLOW_ASKED ? 0 : FLOW_OWN);
}

#endif
