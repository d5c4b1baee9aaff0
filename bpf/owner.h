/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether a TCP packet belongs to something on this host. */
#ifndef WEIR_OWNER_H
#define WEIR_OWNER_H

#include "challenge.h"

static __noinline bool hook_tracked(struct hook_ctx *ctx, struct bpf_sock_tuple *t, bool ipv6)
{
	return is_tracked(ctx, HOOK_SKB, t, ipv6);
}

/* Tells whether there is a connection by a tuple, a half-open or ended one included. A listener is none. */
static __always_inline bool has_connection(struct hook_ctx *ctx, struct bpf_sock_tuple *t, bool ipv6)
{
	struct bpf_sock *sk = find_socket(ctx, t, ipv6);
	__u32 state;

	if (!sk)
		return hook_tracked(ctx, t, ipv6);
	state = sk->state;
	bpf_sk_release(sk);
	return state != STATE_LISTEN || hook_tracked(ctx, t, ipv6);
}

#endif
