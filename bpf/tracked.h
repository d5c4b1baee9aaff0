/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What netfilter redirects: connections that have no socket by the addresses and ports in their packets. */
#ifndef WEIR_TRACKED_H
#define WEIR_TRACKED_H

#include <stdbool.h>

#include "control.h"

/* Of the kernel: include/net/netfilter/nf_conntrack_bpf.h, Linux 5.18. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

/* BPF's loader wants a definition. */
struct nf_conn {
	unsigned long status;
} __attribute__((preserve_access_index));

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct bpf_ct_opts *opts, __u32 opts__sz) __ksym __weak;
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct bpf_ct_opts *opts, __u32 opts__sz) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;

/* False where the kernel has no connection tracking, or doesn't let BPF ask. Set by the loader. */
const volatile bool can_track;

/* To ask costs as much as two look-ups of sockets, so it is done only where netfilter tracks anything. */
static __always_inline bool is_tracking(void)
{
	struct weir_budgets *all;
	__u32 zero = 0;

	all = bpf_map_lookup_elem(&budgets, &zero);
	return can_track && all && all->tracking;
}

/* Tells whether a packet belongs to a connection that netfilter tracks. One that is redirected to another port or host has no
 * socket by the addresses in its packets. ctx is of XDP or of tc.
 */
static __always_inline bool is_tracked(void *ctx, bool skb, struct bpf_sock_tuple *t, bool ipv6)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = IPPROTO_TCP };
	struct nf_conn *ct;

	if (!is_tracking())
		return false;
	if (skb && ipv6)
		ct = bpf_skb_ct_lookup(ctx, t, sizeof(t->ipv6), &opts, sizeof(opts));
	else if (skb)
		ct = bpf_skb_ct_lookup(ctx, t, sizeof(t->ipv4), &opts, sizeof(opts));
	else if (ipv6)
		ct = bpf_xdp_ct_lookup(ctx, t, sizeof(t->ipv6), &opts, sizeof(opts));
	else
		ct = bpf_xdp_ct_lookup(ctx, t, sizeof(t->ipv4), &opts, sizeof(opts));
	if (!ct)
		return false;
	bpf_ct_release(ct);
	return true;
}

#endif
