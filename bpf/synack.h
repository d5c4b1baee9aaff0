/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Turns a SYN's frame into its SYN-ACK. The answer has the SYN's length: whatever the client offered, the same options fit, in Linux's
 * order and padded by NOPs.
 */
#ifndef WEIR_SYNACK_H
#define WEIR_SYNACK_H

#include "segment.h"

/* RFC 9293 section 3.7.1, and RFC 8200's least MTU; also the least that bpf_sk_assign_tcp_reqsk takes. A client that says
 * less gets these, as from the kernel's own cookies (msstab in net/ipv4/syncookies.c, net/ipv6/syncookies.c).
 */
#define IPV4_LEAST_MSS 536
#define IPV6_LEAST_MSS 1220

#define SYN_ACK_TTL 64

/* The Internet checksum (RFC 1071) of words that were added up: to add a number to itself, turned by half, leaves both halves' sum with
 * its carry in the upper one.
 */
static __always_inline __u16 fold_sum(__u64 sum)
{
	__u32 half;

	sum += sum >> 32 | sum << 32;
	half = sum >> 32;
	half += half >> 16 | half << 16;
	return ~(half >> 16);
}

/* Only frames that this host's stack would take, and whose answer goes to one machine. By words: struct ethhdr is packed, so clang
 * would read it byte by byte.
 */
static __always_inline bool for_us(const void *data, const void *end, const __u8 *mac)
{
	const __u16 *eth = data, *own = (const void *)mac;

	if (data + sizeof(struct ethhdr) > end)
		return false;
	return !(((eth[0] ^ own[0]) | (eth[1] ^ own[1]) | (eth[2] ^ own[2]) | (eth[3] & bpf_htons(0x100))));
}

static __always_inline void swap_macs(struct ethhdr *eth)
{
	__u32 *to = (void *)eth->h_dest, *from = (void *)eth->h_source, upper = *to;
	__u16 *to_low = (void *)(eth->h_dest + 4), *from_low = (void *)(eth->h_source + 4), lower = *to_low;

	*to = *from;
	*to_low = *from_low;
	*from = upper;
	*from_low = lower;
}

/* Tells whether a SYN asks for ECN. One that has been marked itself comes from where ECN is not understood (RFC 3168 section 6.1.1).
 */
static __always_inline bool asks_for_ecn(const void *ip, const struct tcphdr *tcp, bool ipv6)
{
	const __u8 *b = ip;

	return tcp->ece && tcp->cwr && !((ipv6 ? b[1] >> 4 : b[1]) & 3);
}

/* What both sides support, of what the client offered. Both directions' MSS is bound by this interface's MTU. */
static __always_inline __u32 agreed_options(struct weir_options *o, __u32 offer, __u32 longest, bool ipv6)
{
	__u32 least = ipv6 ? IPV6_LEAST_MSS : IPV4_LEAST_MSS;
	__u32 mss = o->mss ? o->mss : least;

	o->timestamps = o->timestamps && offer & WEIR_OFFER_TIMESTAMPS;
	o->sack = o->sack && offer & WEIR_OFFER_SACK;
	o->ecn = o->ecn && o->timestamps && offer & WEIR_OFFER_ECN;
	if ((offer & WEIR_OFFER_WSCALE) == WEIR_NO_WSCALE)
		o->wscale = COOKIE_NO_WSCALE;
	mss = mss > longest ? longest : mss;
	mss = mss < least ? least : mss;
	return cookie_options(mss, o->wscale, o->sack, o->ecn);
}

struct options_writer {
	__u32 *words;
	void *end;
	__u32 n;
	__u64 sum;
};

static __always_inline void put(struct options_writer *w, __u32 word)
{
	__u32 *to = w->words + w->n;

	if ((void *)(to + 1) > w->end)
		return;
	*to = word;
	w->sum += word;
	w->n++;
}

/* Writes the options and returns their sum. What nearly all clients ask for has constant offsets. */
static __always_inline __u64 write_options(struct tcphdr *tcp, void *end, __u32 words, const struct weir_options *o,
					   __u32 offer, __u32 longest, __u32 tsval)
{
	struct options_writer w = { .words = (void *)(tcp + 1), .end = end };
	__u32 mss = OPTION_MSS | (__u32)bpf_htons(longest) << 16, wscale = OPTION_NOP_WSCALE | (offer & WEIR_OFFER_WSCALE) << 24;
	bool scales = o->wscale != COOKIE_NO_WSCALE;

	if (o->mss && o->timestamps && o->sack && scales && (void *)(w.words + 5) <= end) {
		w.words[0] = mss;
		w.words[1] = OPTION_SACK_TIMESTAMPS;
		w.words[2] = bpf_htonl(tsval);
		w.words[3] = o->tsval;
		w.words[4] = wscale;
		w.sum = (__u64)mss + OPTION_SACK_TIMESTAMPS + bpf_htonl(tsval) + o->tsval + wscale;
		w.n = 5;
	} else {
		if (o->mss)
			put(&w, mss);
		if (o->timestamps) {
			put(&w, o->sack ? OPTION_SACK_TIMESTAMPS : OPTION_NOP_NOP_TIMESTAMPS);
			put(&w, bpf_htonl(tsval));
			put(&w, o->tsval);
		} else if (o->sack) {
			put(&w, OPTION_NOP_NOP_SACK);
		}
		if (scales)
			put(&w, wscale);
	}
	for (int i = 0; i < MAX_OPTION_WORDS && w.n < words; i++)
		put(&w, OPTION_NOPS);
	return w.sum;
}

/* Turns the header round and returns its sum without checksum and options. */
static __always_inline __u64 write_tcp(struct tcphdr *tcp, __u32 words, __u32 isn, __u16 window, bool ecn)
{
	__u32 *w = (void *)tcp;
	__u64 sum;

	w[0] = w[0] >> 16 | w[0] << 16;
	sum = w[0];
	tcp->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + 1);
	tcp->seq = bpf_htonl(isn);
	sum += (__u64)tcp->ack_seq + tcp->seq;
	w[3] = (5 + words) << 4 | (ecn ? 0x52 : 0x12) << 8 | (__u32)bpf_htons(window) << 16; /* SYN, ACK, and ECE */
	sum += w[3];
	tcp->urg_ptr = 0;
	return sum;
}

static __always_inline __u64 write_ipv4(struct iphdr *ip, __u32 words)
{
	__be16 length = bpf_htons(sizeof(struct iphdr) + sizeof(struct tcphdr) + words * 4);
	__be32 source = ip->saddr, destination = ip->daddr;
	__u64 sum = (__u64)source + destination;

	ip->tos = 0;
	ip->tot_len = length;
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000); /* DF */
	ip->ttl = SYN_ACK_TTL;
	ip->saddr = destination;
	ip->daddr = source;
	ip->check = fold_sum(sum + 0x45 + length + bpf_htons(0x4000) + bpf_htons(SYN_ACK_TTL << 8 | IPPROTO_TCP));
	return sum;
}

static __always_inline __u64 write_ipv6(struct ipv6hdr *ip, __u32 words)
{
	__be32 *source = ip->saddr.s6_addr32, *destination = ip->daddr.s6_addr32;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		__be32 from = source[i], to = destination[i];

		sum += (__u64)from + to;
		source[i] = to;
		destination[i] = from;
	}
	*(__be32 *)ip = bpf_htonl(6 << 28);
	ip->payload_len = bpf_htons(sizeof(struct tcphdr) + words * 4);
	ip->hop_limit = SYN_ACK_TTL;
	return sum;
}

#endif
