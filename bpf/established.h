/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sources that complete a handshake with the kernel itself, and how many connections they have: the tracepoint of each socket's
 * change of state tells. Without it (kernels that lack BTF or the tracepoint) a source earns its entry when it is challenged,
 * and there is no cap on connections.
 */
#ifndef WEIR_ESTABLISHED_H
#define WEIR_ESTABLISHED_H

#include <bpf/bpf_tracing.h>

#include "accept.h"
#include "connections.h"
#include "spoofing.h"

#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT	  2
#define STATE_SYN_RECV	  3
#define STATE_CLOSE	  7
#define STATES_OPEN	  (1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11) /* ESTABLISHED and those of closing, but TIME_WAIT */

/* The source's key, as for packets; 0 if it has none. */
static __always_inline __u64 socket_key(const struct sock_common *skc)
{
	const __u32 *a = skc->skc_v6_daddr.in6_u.u6_addr32;
	__u32 mapped = a[2];
	__u64 key;

	switch (skc->skc_family) {
	case FAMILY_IPV4:
		return ipv4_key(skc->skc_daddr);
	case FAMILY_IPV6:
		key = (__u64)a[1] << 32 | a[0];
		if (!key && mapped == bpf_htonl(0xffff))
			return ipv4_key(skc->skc_daddr);
		return key ? key : UNSPECIFIED_PREFIX;
	}
	return 0;
}

static __noinline void note_established(__u64 key)
{
	struct weir_source *way;
	struct weir_control *ctl;
	struct weir_set *set;
	__u32 zero = 0;
	__u64 now;

	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!ctl)
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
int BPF_PROG(weir_established, struct sock *sk, int was, int is)
{
	__u64 key;

	(void)ctx;
	if (is == STATE_CLOSE) {
		uncount_peer(sk);
		key = uncount_connection(sk);
		if (key)
			note_established(key); /* it was real until now, and may have left a socket in TIME_WAIT */
		return 0;
	}
	if (!(was == STATE_SYN_RECV && is == STATE_ESTABLISHED) && is != STATE_SYN_SENT)
		return 0;
	if (sk->__sk_common.skc_net.net->ns.inum != netns)
		return 0;
	key = socket_key(&sk->__sk_common);
	if (!key)
		return 0;
	count_peer(sk, key);
	if (is == STATE_SYN_SENT)
		return 0;
	note_established(key);
	count_connection(sk, key);
	return 0;
}

/* The local ports that somebody listens on, a bit each, while weir_open runs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536 / 64);
	__type(key, __u32);
	__type(value, __u64);
} listening SEC(".maps");

struct bpf_iter_meta {
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} __attribute__((preserve_access_index));

/* Notes the clients whose connections were open before the tracepoint was watched, and counts those and all others. The iterator shows listeners
 * first: a socket on a port of theirs was opened by a client.
 */
SEC("iter/tcp")
int weir_open(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *sk;
	__u32 word;
	__u64 *ports, key;

	if (ctx->meta->seq_num == 0)
		set_peers_known(WEIR_PEERS_COUNTING);
	if (!skc) { /* the end */
		end_counting_peers();
		return 0;
	}
	word = skc->skc_num / 64;
	ports = bpf_map_lookup_elem(&listening, &word);
	if (!ports)
		return 0;
	if (skc->skc_state == STATE_LISTEN) {
		*ports |= 1ULL << skc->skc_num % 64;
		return 0;
	}
	key = socket_key(skc);
	if (!key)
		return 0;
	sk = bpf_skc_to_tcp_sock(skc);
	if (sk && skc->skc_state != STATE_CLOSE)
		count_peer(sk, key);
	if (!((STATES_OPEN | 1 << STATE_TIME_WAIT) & 1 << skc->skc_state) || !(*ports & 1ULL << skc->skc_num % 64))
		return 0;
	note_established(key);
	if (sk)
		count_connection(sk, key);
	return 0;
}

#endif
