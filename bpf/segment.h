/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A TCP segment right behind an IP header without options or extension headers: what the challenge deals with, in XDP and
 * in tc. Constant offsets keep it cheap; everything else is left to the kernel.
 */
#ifndef WEIR_SEGMENT_H
#define WEIR_SEGMENT_H

#include "abi.h"
#include "cookie.h"
#include "parse.h"

#define MAX_OPTION_WORDS 10

/* Of an IP header, and of an option of a segment behind it, from the start of the frame. */
#define MAX_IP_OFFSET	  (sizeof(struct ethhdr) + MAX_VLAN_TAGS * sizeof(struct vlan_header))
#define MAX_OPTION_OFFSET (MAX_IP_OFFSET + sizeof(struct ipv6_segment) + 4 * MAX_OPTION_WORDS)

/* Common rows of options, as little-endian words. */
#define OPTION_MSS		   0x00000402U /* below the MSS */
#define OPTION_NOP_WSCALE	   0x00030301U /* below the scale */
#define OPTION_SACK_TIMESTAMPS	   0x0a080204U
#define OPTION_NOP_NOP_TIMESTAMPS 0x0a080101U
#define OPTION_NOP_NOP_SACK	   0x02040101U
#define OPTION_SACK_END		   0x00000204U
#define OPTION_NOPS		   0x01010101U

struct ipv4_segment {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct ipv6_segment {
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

static __always_inline __u32 ip_tcp_bytes(bool ipv6)
{
	return ipv6 ? sizeof(struct ipv6_segment) : sizeof(struct ipv4_segment);
}

/* The TCP header behind a plain IP header that it shares one datagram with, or NULL. The options are within the datagram
 * and so is all that a caller may read up to words.
 */
static __always_inline struct tcphdr *plain_segment(void *ip, void *end, bool ipv6, __u32 *words)
{
	struct ipv4_segment *v4 = ip;
	struct ipv6_segment *v6 = ip;
	struct tcphdr *tcp;
	__u32 length;

	if (ipv6) {
		if ((void *)(v6 + 1) > end || v6->ip.nexthdr != IPPROTO_TCP)
			return NULL;
		tcp = &v6->tcp;
		length = bpf_ntohs(v6->ip.payload_len);
	} else {
		if ((void *)(v4 + 1) > end || v4->ip.ihl != 5 || v4->ip.frag_off & bpf_htons(~0x4000))
			return NULL;
		tcp = &v4->tcp;
		length = bpf_ntohs(v4->ip.tot_len) - sizeof(struct iphdr);
	}
	*words = tcp->doff - 5;
	if (*words > MAX_OPTION_WORDS || length > 0xffff || length < sizeof(struct tcphdr) + *words * 4)
		return NULL;
	if ((void *)(tcp + 1) + *words * 4 > end)
		return NULL;
	return tcp;
}

/* Who sent it, as a cookie sees it. isn is the client's. */
static __always_inline void segment_flow(const void *ip, const struct tcphdr *tcp, bool ipv6, __u32 isn, struct cookie_flow *f)
{
	const struct ipv4_segment *v4 = ip;
	const struct ipv6_segment *v6 = ip;

	f->ipv6 = ipv6;
	f->source = ipv6 ? v6->ip.saddr.s6_addr32 : &v4->ip.saddr;
	f->destination = ipv6 ? v6->ip.daddr.s6_addr32 : &v4->ip.daddr;
	f->sport = tcp->source;
	f->dport = tcp->dest;
	f->isn = isn;
}

/* Options beside NOP that are read. Real clients' SYNs have fewer; an attacker's would cost a round for each two bytes. */
#define MAX_OPTIONS 8
#define OPTION_READ (1U << 16) /* one more, above the offset of the next */

/* How many of the four bytes at an option are NOPs, the first one included: no row of them is to cost many rounds. */
static __always_inline __u32 count_nops(const __u8 *b, const void *end)
{
	__u32 others;

	if ((const void *)(b + 4) > end)
		return 1;
	others = *(const __u32 *)b ^ OPTION_NOPS;
	if (others & 0xff00)
		return 1;
	return others & 0xff0000 ? 2 : others ? 3 : 4;
}

/* Reads options in any order, from where to where in the frame. Both pointers lead to a map: what is there the verifier doesn't
 * follow, as it would for each row of options that there could be.
 */
static __always_inline void read_options(const void *data, const void *end, volatile __u32 *next, __u32 stop, struct weir_options *o)
{
	for (int i = 0; i < 4 * MAX_OPTION_WORDS; i++) {
		__u32 state = *next; /* in a register the verifier would follow its every value */
		__u32 at = state & (OPTION_READ - 1);
		const __u8 *b;

		if (at >= stop || at > MAX_OPTION_OFFSET || state >= MAX_OPTIONS * OPTION_READ)
			break;
		b = data + at;
		if ((const void *)(b + 2) > end || b[0] == 0)
			break;
		if (b[0] == 1) {
			*next = state + count_nops(b, end);
			continue;
		}
		if (b[1] < 2 || at + b[1] > stop)
			break;
		*next = state + OPTION_READ + b[1];
		switch (b[0] << 8 | b[1]) {
		case 0x0204:
			if ((const void *)(b + 4) <= end)
				o->mss = b[2] << 8 | b[3];
			break;
		case 0x0303:
			if ((const void *)(b + 3) <= end)
				o->wscale = b[2] > 14 ? 14 : b[2];
			break;
		case 0x0402:
			o->sack = true;
			break;
		case 0x080a:
			if ((const void *)(b + 10) > end)
				break;
			o->timestamps = true;
			__builtin_memcpy(&o->tsval, b + 2, 4);
			__builtin_memcpy(&o->tsecr, b + 6, 4);
			break;
		}
	}
}

/* The number of option words, read anew, so that the verifier forgets which one led here: it would go through the rest for
 * each of them.
 */
static __always_inline __u32 words_again(const struct tcphdr *tcp)
{
	__u32 words;

	asm volatile("" ::: "memory");
	words = tcp->doff - 5;
	return words > MAX_OPTION_WORDS ? 0 : words;
}

/* Reads the rows that Linux, Windows and Apple's systems send, or returns false. */
static __always_inline bool common_options(const __u32 *w, const void *end, __u32 words, struct weir_options *o)
{
	*o = (struct weir_options){ .wscale = COOKIE_NO_WSCALE };
	if (words == 0)
		return true;
	if (words == 3 && (const void *)(w + 3) <= end) {
		if (w[0] == OPTION_NOP_NOP_TIMESTAMPS) {
			o->timestamps = true;
			o->tsval = w[1];
			o->tsecr = w[2];
			return true;
		}
		if ((w[0] & 0xffff) == OPTION_MSS && (w[1] & 0xffffff) == OPTION_NOP_WSCALE && w[2] == OPTION_NOP_NOP_SACK &&
		    w[1] >> 24 <= 14) {
			o->mss = bpf_ntohs(w[0] >> 16);
			o->wscale = w[1] >> 24;
			o->sack = true;
			return true;
		}
	}
	if (words == 5 && (const void *)(w + 5) <= end && (w[0] & 0xffff) == OPTION_MSS && w[1] == OPTION_SACK_TIMESTAMPS &&
	    (w[4] & 0xffffff) == OPTION_NOP_WSCALE && w[4] >> 24 <= 14) {
		o->mss = bpf_ntohs(w[0] >> 16);
		o->sack = true;
		o->timestamps = true;
		o->tsval = w[2];
		o->tsecr = w[3];
		o->wscale = w[4] >> 24;
		return true;
	}
	if (words == 6 && (const void *)(w + 6) <= end && (w[0] & 0xffff) == OPTION_MSS && (w[1] & 0xffffff) == OPTION_NOP_WSCALE &&
	    w[1] >> 24 <= 14 && w[2] == OPTION_NOP_NOP_TIMESTAMPS && w[5] == OPTION_SACK_END) {
		o->mss = bpf_ntohs(w[0] >> 16);
		o->wscale = w[1] >> 24;
		o->timestamps = true;
		o->tsval = w[3];
		o->tsecr = w[4];
		o->sack = true;
		return true;
	}
	return false;
}

/* From here on they are read from memory: the verifier forgets which row they were. */
static __always_inline void forget_options(const struct weir_cpu *cpu)
{
	const struct weir_options *o = &cpu->options;

	asm volatile("" : : "r"(o) : "memory");
}

/* Reads the options of a plain segment whose IP header is at an offset, which the caller has checked. An attacker who chooses a row that
 * nobody sends pays for nothing but our time.
 */
static __always_inline void odd_options(struct weir_cpu *cpu, const void *data, const void *end, __u32 offset, bool ipv6)
{
	const struct tcphdr *tcp = data + offset + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 at = offset + ip_tcp_bytes(ipv6);

	if ((const void *)(tcp + 1) > end)
		return;
	cpu->next = at;
	read_options(data, end, &cpu->next, at + words_again(tcp) * 4, &cpu->options);
}

#endif
