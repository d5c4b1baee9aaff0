/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sources that complete a handshake with the kernel itself, while nothing is challenged: the tracepoint of each socket's
 * change of state tells. Without it (kernels that lack BTF or the tracepoint) a source earns its entry when it is challenged.
 */
#ifndef WEIR_ESTABLISHED_H
#define WEIR_ESTABLISHED_H

#include <bpf/bpf_tracing.h>

#include "accept.h"
#include "spoofing.h"

#define STATE_ESTABLISHED 1
#define STATE_SYN_RECV	  3

/* The network namespace of the interface; set by the loader. The tracepoint tells of all. */
const volatile __u32 netns;

/* The source's key, as for packets; 0 if it has none. */
static __always_inline __u64 socket_key(const struct sock *sk)
{
	const __u32 *a = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32;
	__u32 mapped = a[2];
	__u64 key;

	switch (sk->__sk_common.skc_family) {
	case FAMILY_IPV4:
		return ipv4_key(sk->__sk_common.skc_daddr);
	case FAMILY_IPV6:
		key = (__u64)a[1] << 32 | a[0];
		if (!key && mapped == bpf_htonl(0xffff))
			return ipv4_key(sk->__sk_common.skc_daddr);
		return key ? key : UNSPECIFIED_PREFIX;
	}
	return 0;
}

static __always_inline void note_established(const struct sock *sk)
{
	struct weir_source *way;
	struct weir_control *ctl;
	struct weir_set *set;
	__u64 key, now;
	__u32 zero = 0;

	key = socket_key(sk);
	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!key || !ctl)
		return;
	set = verified_set(key);
	if (!set)
		return;
	now = bpf_ktime_get_ns() >> WEIR_TICK_SHIFT & WEIR_TICK_MASK;
	way = source_enter(set, key, now, ctl->interval, ctl->tolerance);
	if (!gcra_backlog(way->bucket, now, ctl->interval, ctl->tolerance))
		way->bucket = now << WEIR_COUNT_BITS | (way->bucket & WEIR_COUNT_MASK);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(weir_established, const struct sock *sk, int was, int is)
{
	(void)ctx;
	if (was == STATE_SYN_RECV && is == STATE_ESTABLISHED && sk->__sk_common.skc_net.net->ns.inum == netns)
		note_established(sk);
	return 0;
}

#endif
