// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The other side of the bench: turns recycled live frames (BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES) into a SYN
 * flood. Never part of what protects a server.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FRAME_BYTES 74 /* a SYN as Linux sends it: MSS, SACK, timestamps, window scale */

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
	__u8 options[20];
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == FRAME_BYTES, "no padding");

struct frame_words {
	__u64 words[9];
	__u16 rest;
} __attribute__((packed));

/* The frame to send, with both checksums right for source address 0 and source port 0: each frame only adds its own. */
const volatile struct frame_words base;
const volatile __u32 ip_sum;	  /* one's complement sum of the IP header without the source */
const volatile __u32 tcp_sum;	  /* the same of pseudo header and segment without source and its port */
const volatile __u32 first_source; /* host order */
const volatile __u32 num_sources; /* 0 for random ones */
const volatile bool fixed;	  /* only the source's address changes: what follows the IP header has no ports */
const volatile bool shuffled;	  /* takes them in no order */

/* One array element a CPU would be fairer; one generator runs at a time. */
__u64 sent;

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return ~sum;
}

/* The finaliser of MurmurHash3: a permutation, so that the sources of 2^32 frames are all different. */
static __always_inline __u32 scatter(__u32 x)
{
	x ^= x >> 16;
	x *= 0x85ebca6b;
	x ^= x >> 13;
	x *= 0xc2b2ae35;
	return x ^ x >> 16;
}

/* Multicast, loopback and the like are legal here: the receiver's parser must cope. */
static __always_inline __be32 next_source(__u32 n)
{
	if (!num_sources)
		return bpf_htonl(scatter(n));
	return bpf_htonl(first_source + (shuffled ? scatter(n) : n) % num_sources);
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame_words *words = data;
	struct frame *f = data;
	__u32 n = sent++;
	__be32 source;
	__be16 port;
	__u32 sum;

	if (end - data != FRAME_BYTES) {
		/* The receiver left another length behind. */
		if (bpf_xdp_adjust_tail(ctx, FRAME_BYTES - (int)(end - data)))
			return XDP_ABORTED;
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		words = data;
		f = data;
	}
	if ((void *)(words + 1) > end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < 9; i++)
		words->words[i] = base.words[i];
	words->rest = base.rest;

	source = next_source(n);
	f->ip.saddr = source;
	sum = (source & 0xffff) + (source >> 16);
	f->ip.check = fold(ip_sum + sum);
	if (fixed)
		return XDP_TX;
	port = bpf_htons(1024 + (n & 0x3fff));
	f->tcp.source = port;
	f->tcp.check = fold(tcp_sum + sum + port);
	return XDP_TX;
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
