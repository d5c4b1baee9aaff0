/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where the datapath is attached. It is compiled for XDP, and once more (WEIR_TC) for tc's ingress, where no XDP program can be:
 * there it counts and limits, but answers nothing.
 */
#ifndef WEIR_HOOK_H
#define WEIR_HOOK_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#ifdef WEIR_TC
#define hook_ctx  __sk_buff
#define HOOK_PASS TCX_NEXT /* to the filters after it */
#define HOOK_DROP TC_ACT_SHOT
#define HOOK_TX	  TCX_NEXT /* never happens: can_challenge is false */
#define HOOK_SKB  true

static __always_inline void cut_tail(struct hook_ctx *ctx, int excess)
{
	(void)ctx;
	(void)excess;
}
#else
#define hook_ctx  xdp_md
#define HOOK_PASS XDP_PASS
#define HOOK_DROP XDP_DROP
#define HOOK_TX	  XDP_TX
#define HOOK_SKB  false

static __always_inline void cut_tail(struct hook_ctx *ctx, int excess)
{
	bpf_xdp_adjust_tail(ctx, -excess);
}
#endif

/* The frame, read anew: of these pointers the verifier knows nothing, as it does of others by which way a packet has come. */
static __always_inline void *frame_start(const struct hook_ctx *ctx)
{
	return (void *)(long)*(const volatile __u32 *)&ctx->data;
}

static __always_inline void *frame_end(const struct hook_ctx *ctx)
{
	return (void *)(long)*(const volatile __u32 *)&ctx->data_end;
}

#endif
