/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether an address is this host's: asked of the kernel once a jiffy and CPU. */
#ifndef WEIR_LOCAL_H
#define WEIR_LOCAL_H

#include "listeners.h"

#define LOCALS 64

struct local {
	__u64 address[2];
	__u64 jiffy;
	__u32 ipv6;
	__u32 local;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOCALS);
	__type(key, __u32);
	__type(value, struct local);
} locals SEC(".maps");

static __always_inline struct local *local_slot(const __u64 *address)
{
	__u32 index = ((address[0] ^ address[1]) * 0x9e3779b97f4a7c15ULL >> 32) % LOCALS;

	return bpf_map_lookup_elem(&locals, &index);
}

static __always_inline bool is_known(const struct local *l, const struct weir_cpu *cpu, const __u64 *address, bool ipv6)
{
	return l->jiffy == cpu->jiffy && l->ipv6 == ipv6 && l->address[0] == address[0] && l->address[1] == address[1];
}

/* Tells whether it is known that a packet is for this host, by its IP header. */
static __always_inline bool is_known_local(const struct weir_cpu *cpu, const void *ip, bool ipv6)
{
	__u64 address[2];
	struct local *l;

	destination_words(ip, ipv6, address);
	l = local_slot(address);
	return l && l->local && is_known(l, cpu, address, ipv6);
}

static __always_inline bool to_this_host(struct hook_ctx *ctx, const struct weir_cpu *cpu, const struct bpf_sock_tuple *t, bool ipv6)
{
	__u64 address[2] = {};
	struct local *l;

	if (ipv6)
		__builtin_memcpy(address, t->ipv6.daddr, 16);
	else
		address[0] = t->ipv4.daddr;
	l = local_slot(address);
	if (!l)
		return false;
	if (!is_known(l, cpu, address, ipv6)) {
		l->local = ipv6 ? is_local(ctx, t->ipv6.saddr, t->ipv6.daddr, true) : is_local(ctx, &t->ipv4.saddr, &t->ipv4.daddr, false);
		l->jiffy = cpu->jiffy;
		l->ipv6 = ipv6;
		l->address[0] = address[0];
		l->address[1] = address[1];
	}
	return l->local;
}

#endif
