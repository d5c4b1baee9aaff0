/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The budgets of what isn't a SYN, and what is spared whatever they say: replies to this host's own traffic, what belongs to a
 * connection, and what IPv6 needs to find its neighbours. The functions by class return an enum weir_reason. What floods go
 * through is inline, since each call costs 6 ns; the rest are global functions, at which the verifier looks once.
 */
#ifndef WEIR_REPLIES_H
#define WEIR_REPLIES_H

#include "flows.h"
#include "owner.h"
#include "packet.h"

/* Read once: the verifier doesn't know that memory reads the same twice. */
static __always_inline __u32 packet_ipv6(const struct packet *p)
{
	__u32 ipv6 = p->ipv6;

	asm volatile("" : "+r"(ipv6));
	return ipv6;
}

/* The IP header, or NULL. */
static __always_inline void *packet_ip(void *data, void *end, const struct packet *p, bool ipv6)
{
	__u32 at = p->ip;
	void *ip;

	if (at > MAX_IP_OFFSET)
		return NULL;
	ip = data + at;
	return ip + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > end ? NULL : ip;
}

/* Moves a packet's l4 behind the extension headers and returns the protocol. */
static __always_inline int behind_extensions(void *data, void *end, struct packet *p, __u32 next)
{
	struct cursor c = { .pos = packet_ip(data, end, p, true), .end = end };
	int proto;

	if (!c.pos)
		return PARSE_ERROR;
	c.pos += sizeof(struct ipv6hdr);
	proto = parse_extensions(&c, next, &p->fragment);
	p->l4 = packet_bytes(data, c.pos);
	return proto;
}

/* So many bytes of what is at an offset, or NULL. */
static __always_inline void *packet_at(void *data, void *end, __u32 at, __u32 bytes)
{
	void *to;

	if (at > MAX_L4_OFFSET)
		return NULL;
	to = data + at;
	return to + bytes > end ? NULL : to;
}

static __always_inline bool is_ours(const struct weir_cpu *cpu, const struct flow *f, bool ipv6, bool or_asked)
{
	__u64 hash = flow_hash(f, ipv6);
	struct flow_set *set = flow_set(hash);
	enum flow_state state;

	if (!set)
		return false;
	state = flow_state(set, hash, flow_time(cpu));
	return state == FLOW_OURS || (or_asked && state == FLOW_ASKED);
}

static __always_inline void note(const struct weir_cpu *cpu, const struct flow *f, bool ipv6, __u64 own)
{
	__u64 hash = flow_hash(f, ipv6);

	flow_note(flow_set(hash), hash, flow_time(cpu), own);
}

/* The fragments of one datagram, by its first, or by another one. */
static __always_inline void fragments_flow(struct flow *f, const void *ip, const void *end, const struct packet *p,
					   bool ipv6)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->kind = FLOW_FRAGMENTS;
	flow_addresses(f, ip, end, ipv6, false);
	f->ports = p->fragment.id;
}

/* Lets the rest of a reply pass as well. */
static __always_inline void spare_rest(const struct weir_cpu *cpu, const void *ip, const void *end, const struct packet *p,
				       bool ipv6)
{
	struct flow f;

	if (!p->fragment.first || !has_budget(cpu, WEIR_CLASS_FRAGMENT))
		return;
	fragments_flow(&f, ip, end, p, ipv6);
	note(cpu, &f, ipv6, FLOW_OWN);
}

static __always_inline int fragment_budget(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p)
{
	void *ip, *data = frame_start(ctx), *end = frame_end(ctx);
	__u32 ipv6 = packet_ipv6(p);
	struct flow f;
	int reason;

	reason = charge_inline(cpu, WEIR_CLASS_FRAGMENT, p->key, ipv6);
	ip = packet_ip(data, end, p, ipv6);
	if (!over_budget(reason) || !ip)
		return reason;
	fragments_flow(&f, ip, end, p, ipv6);
	return is_ours(cpu, &f, ipv6, false) ? WEIR_REASON_REPLY : reason;
}

static __always_inline void flow_tuple(const struct flow *f, bool ipv6, struct bpf_sock_tuple *t)
{
	if (ipv6) {
		__builtin_memcpy(t->ipv6.saddr, &f->addresses[0], 16);
		__builtin_memcpy(t->ipv6.daddr, &f->addresses[2], 16);
		t->ipv6.sport = f->ports;
		t->ipv6.dport = f->ports >> 16;
		return;
	}
	t->ipv4.saddr = f->addresses[0];
	t->ipv4.daddr = f->addresses[0] >> 32;
	t->ipv4.sport = f->ports;
	t->ipv4.dport = f->ports >> 16;
}

static __noinline bool flow_has_connection(struct hook_ctx *ctx, const struct flow *f, bool ipv6)
{
	struct bpf_sock_tuple t = {};

	flow_tuple(f, ipv6, &t);
	return has_connection(ctx, &t, ipv6);
}

/* A socket that is connected to one peer has chosen it. */
static __noinline bool is_connected(struct hook_ctx *ctx, const struct flow *f, bool ipv6)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	bool connected;

	flow_tuple(f, ipv6, &t);
	if (ipv6)
		sk = bpf_sk_lookup_udp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connected = sk->dst_port;
	bpf_sk_release(sk);
	return connected;
}

static __always_inline int udp_budget(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p)
{
	void *data = frame_start(ctx), *end = frame_end(ctx);
	struct flow f = { .kind = FLOW_UDP };
	__u32 *ports, ipv6 = packet_ipv6(p);
	enum flow_state state;
	struct flow_set *set;
	__u64 hash;
	int reason;
	bool ours;
	void *ip;

	reason = charge_inline(cpu, WEIR_CLASS_UDP, p->key, ipv6);
	ip = packet_ip(data, end, p, ipv6);
	ports = packet_at(data, end, p->l4, 8);
	if (!ip || !ports)
		return reason;
	flow_addresses(&f, ip, end, ipv6, false);
	flow_ports(&f, *ports, false);
	if (!can_note) {
		ours = (over_budget(reason) || p->fragment.first) && is_connected(ctx, &f, ipv6);
	} else {
		hash = flow_hash(&f, ipv6);
		set = flow_set(hash);
		if (!set)
			return reason;
		state = flow_state(set, hash, flow_time(cpu));
		ours = state == FLOW_OURS;
		if (!ours && !(over_budget(reason) && cpu->enforcing))
			flow_note(set, hash, flow_time(cpu), 0); /* the host may answer it */
	}
	if (!ours)
		return reason;
	spare_rest(cpu, ip, end, p, ipv6);
	return over_budget(reason) ? WEIR_REASON_REPLY : reason;
}

/* A TCP packet's tuple. Returns false if it isn't for this host. */
static __always_inline bool tcp_tuple(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p, bool ipv6,
				      struct bpf_sock_tuple *t)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct flow f = {};
	__u32 *ports;
	void *ip;

	if (!for_us(data, end, cpu->mac))
		return false;
	ip = packet_ip(data, end, p, ipv6);
	ports = packet_at(data, end, p->l4, sizeof(struct tcphdr));
	if (!ip || !ports)
		return false;
	flow_addresses(&f, ip, end, ipv6, false);
	f.ports = *ports;
	flow_tuple(&f, ipv6, t);
	return to_this_host(ctx, cpu, t, ipv6);
}

/* Judges an ACK that no cookie can come by: an enum weir_reason to drop it for if it belongs to nothing here. */
__noinline int judge_odd_ack(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p)
{
	struct bpf_sock_tuple t = {};
	__u32 ipv6;

	if (!cpu || !p)
		return WEIR_REASON_NONE;
	ipv6 = packet_ipv6(p);
	return !tcp_tuple(ctx, cpu, p, ipv6, &t) || has_connection(ctx, &t, ipv6) ? WEIR_REASON_NONE : WEIR_REASON_COOKIE;
}

/* Tells whether a RST belongs to nothing here, as far as that is known without asking the kernel. Not so for other segments: there the
 * kernel's word counts, lest an open connection be cut.
 */
static __always_inline bool is_stray(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p)
{
	void *data = frame_start(ctx), *end = frame_end(ctx);
	__u32 ipv6 = packet_ipv6(p);
	void *ip;

	if (may_be_peer(cpu, p->key) || is_tracking() || !for_us(data, end, cpu->mac))
		return false;
	ip = packet_ip(data, end, p, ipv6);
	return ip && is_known_local(cpu, ip, ipv6);
}

/* Tells whether a TCP packet is charged to no budget: it isn't for this host, or belongs to a connection. A global function, as its
 * caller's charge.
 */
__noinline int is_spared(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct packet *p, __u32 class)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_sock_tuple t = {};
	__u32 ipv6;
	void *ip;

	if (!cpu || !p)
		return true;
	ipv6 = packet_ipv6(p);
	if (!tcp_tuple(ctx, cpu, p, ipv6, &t))
		return true;
	if (class == WEIR_CLASS_RST && !may_be_peer(cpu, p->key) && !is_tracking())
		return false;
	if (!has_connection(ctx, &t, ipv6))
		return false;
	ip = packet_ip(data, end, p, ipv6);
	if (ip)
		spare_rest(cpu, ip, end, p, ipv6);
	return true;
}

#endif
