// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The other side of the bench: turns recycled live frames (BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES) into a SYN
 * flood. Never part of what protects a server.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_WORDS 14 /* of 114 bytes: IPv6 and all options that TCP allows */

struct ipv4_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct ipv6_frame {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct word {
	__u64 value;
} __attribute__((packed));

/* The frame to send, with both checksums right for source address 0 and source port 0: each frame only adds its own. Over IPv6
 * the source is the second quarter of the address.
 */
const volatile __u64 base[MAX_WORDS];
const volatile __u64 last;	   /* its last 8 bytes, some of which are in base as well */
const volatile __u32 frame_bytes;  /* 114 at most */
const volatile bool ipv6;
const volatile __u32 ip_sum;	   /* one's complement sum of the IP header without the source */
const volatile __u32 tcp_sum;	   /* the same of pseudo header and segment without source and its port */
const volatile __u32 first_source; /* host order */
const volatile __u32 num_sources;  /* 0 for random ones */
const volatile bool fixed;	   /* only the source's address changes: what follows the IP header has no ports */
const volatile bool shuffled;	   /* takes them in no order */

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

static __always_inline __be16 next_port(__u32 n)
{
	return bpf_htons(1024 + (n & 0x3fff));
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4_frame *v4;
	struct ipv6_frame *v6;
	struct word *words;
	__u32 n = sent++;
	__be32 source;
	__be16 port;
	__u32 sum;

	if (end - data != frame_bytes) {
		/* The receiver left another length behind. */
		if (bpf_xdp_adjust_tail(ctx, (int)frame_bytes - (int)(end - data)))
			return XDP_ABORTED;
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
	}
	if (frame_bytes < sizeof(struct ipv4_frame) || data + frame_bytes > end)
		return XDP_ABORTED;
	words = data;
#pragma unroll
	for (__u32 i = 0; i < MAX_WORDS; i++) {
		if (i < frame_bytes / 8)
			words[i].value = base[i];
	}
	((struct word *)(data + frame_bytes - 8))->value = last;

	source = next_source(n);
	port = next_port(n);
	sum = (source & 0xffff) + (source >> 16);
	if (ipv6) {
		v6 = data;
		if ((void *)(v6 + 1) > end)
			return XDP_ABORTED;
		v6->ip.saddr.s6_addr32[1] = source;
		v6->tcp.source = port;
		v6->tcp.check = fold(tcp_sum + sum + port);
		return XDP_TX;
	}
	v4 = data;
	if ((void *)(v4 + 1) > end)
		return XDP_ABORTED;
	v4->ip.saddr = source;
	v4->ip.check = fold(ip_sum + sum);
	if (fixed)
		return XDP_TX;
	v4->tcp.source = port;
	v4->tcp.check = fold(tcp_sum + sum + port);
	return XDP_TX;
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

/* With frags, as a port of a switch may have jumbo frames. */
SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

#define NET  0xc6336400 /* 198.51.100.0/24: RFC 5737's, which the tests' hosts are in */
#define MASK 0xffffff00

/* The wire between a host and the rest of the world: what goes to other IPv4 nets is carried away. */
SEC("xdp.frags")
int wire(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return (bpf_ntohl(ip->daddr) & MASK) == NET ? XDP_PASS : XDP_DROP;
}

/* The best that a defence could be: it knows friend from foe by the address. */
SEC("xdp.frags")
int oracle(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return (bpf_ntohl(ip->saddr) & MASK) == NET ? XDP_PASS : XDP_DROP;
}
