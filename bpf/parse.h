/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Cursor parsers: each checks its header against the end of the frame, moves the cursor behind it and returns what comes
 * next, or a negative number if the header isn't there or is wrong.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PARSE_ERROR (-1)

/* IEEE 802.1ad allows two tags; more than that is no bank's network, and passes as another protocol. */
#define MAX_VLAN_TAGS 2

/* The kernel takes any number of extension headers. RFC 8200 section 4.1 lists seven in a well-formed packet; what has more
 * passes as unparseable.
 */
#define MAX_EXTENSION_HEADERS 8

#define IP_OFFSET_MASK 0x1fff
#define IP_MORE 0x2000
#define IP6_OFFSET_MASK 0xfff8
#define IP6_MORE 0x0001

struct vlan_header {
	__be16 tci;
	__be16 proto;
};

/* Hop-by-hop, destination options and routing: length in units of 8 bytes, without the first 8 (RFC 8200). */
struct extension_header {
	__u8 next;
	__u8 length;
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

struct cursor {
	void *pos;
	void *end;
};

/* What part of its datagram a packet is. */
struct fragment {
	__be32 id;
	bool first; /* others follow */
	bool later; /* others came before: it holds no transport header */
	__u8 bytes; /* behind the IP headers, 255 at most; set for the first */
};

/* Hides a word from the verifier: to it, what is XORed twice with another that it doesn't know may be anything. */
static __always_inline __u64 hide(__u64 word, __u64 unknown)
{
	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(word) : "r"(unknown));
	return word;
}

static __always_inline __u8 few_bytes(__s32 n)
{
	return n < 0 ? 0 : n > 255 ? 255 : n;
}

/* Between two places of a packet. The barriers keep clang from subtracting 32 bits of pointers, which the verifier refuses. */
static __always_inline __u64 packet_bytes(void *from, void *to)
{
	__u64 n;

	asm volatile("" : "+r"(from), "+r"(to));
	n = to - from;
	asm volatile("" : "+r"(n));
	return n;
}

/* The EtherType behind at most two tags, in network order. */
static __always_inline int parse_ethernet(struct cursor *c)
{
	struct ethhdr *eth = c->pos;
	__be16 proto;

	if ((void *)(eth + 1) > c->end)
		return PARSE_ERROR;
	c->pos = eth + 1;
	proto = eth->h_proto;

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_header *vlan = c->pos;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > c->end)
			return PARSE_ERROR;
		c->pos = vlan + 1;
		proto = vlan->proto;
	}
	return proto;
}

/* The protocol. The fragment is all zeroes before. */
static __always_inline int parse_ipv4(struct cursor *c, __be32 *source, struct fragment *f)
{
	struct iphdr *ip = c->pos;
	__u32 length;

	if ((void *)(ip + 1) > c->end || ip->version != 4 || ip->ihl < 5)
		return PARSE_ERROR;
	length = ip->ihl * 4;
	if (c->pos + length > c->end || bpf_ntohs(ip->tot_len) < length)
		return PARSE_ERROR;
	c->pos += length;
	*source = ip->saddr;
	if (ip->frag_off & bpf_htons(IP_OFFSET_MASK | IP_MORE)) {
		f->id = ip->id;
		f->later = ip->frag_off & bpf_htons(IP_OFFSET_MASK);
		f->first = !f->later;
		f->bytes = few_bytes(bpf_ntohs(ip->tot_len) - length);
	}
	return ip->protocol;
}

/* What follows the fixed header. *prefix is the source's upper 64 bits as they stand in the packet. */
static __always_inline int parse_ipv6(struct cursor *c, __u64 *prefix)
{
	struct ipv6hdr *ip = c->pos;

	if ((void *)(ip + 1) > c->end || ip->version != 6)
		return PARSE_ERROR;
	/* Multicast is never a source (RFC 4291 section 2.7): the kernel drops it, and keys must not run into IPv4's. */
	if (ip->saddr.s6_addr[0] == 0xff)
		return PARSE_ERROR;
	*prefix = (__u64)ip->saddr.s6_addr32[1] << 32 | ip->saddr.s6_addr32[0];
	c->pos = ip + 1;
	return ip->nexthdr;
}

static __always_inline bool is_extension(int next)
{
	return next != IPPROTO_TCP && next != IPPROTO_UDP && next != IPPROTO_ICMPV6;
}

/* The protocol behind all extension headers, of which next is the first. The cursor is behind the fixed header. */
static __always_inline int parse_extensions(struct cursor *c, __u8 next, struct fragment *f)
{
	struct ipv6hdr *ip = c->pos - sizeof(*ip);

	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		struct extension_header *ext = c->pos;
		struct fragment_header *frag = c->pos;

		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_MH:
			if ((void *)(frag + 1) > c->end) /* 8 bytes at least */
				return PARSE_ERROR;
			next = ext->next;
			c->pos += 8 + ext->length * 8;
			break;
		case IPPROTO_AH: /* length in units of 4 bytes, without the first 8 (RFC 4302) */
			if ((void *)(frag + 1) > c->end)
				return PARSE_ERROR;
			next = ext->next;
			c->pos += 8 + ext->length * 4;
			break;
		case IPPROTO_FRAGMENT:
			if ((void *)(frag + 1) > c->end)
				return PARSE_ERROR;
			next = frag->next;
			c->pos = frag + 1;
			f->id = frag->id;
			f->later = frag->offset & bpf_htons(IP6_OFFSET_MASK);
			f->first = !f->later && frag->offset & bpf_htons(IP6_MORE);
			if (f->later)
				return next;
			break;
		default:
			if (f->first)
				f->bytes = few_bytes(bpf_ntohs(ip->payload_len) - (__s32)packet_bytes(ip + 1, c->pos));
			return next;
		}
	}
	return PARSE_ERROR;
}

/* How many bytes of a transport header tell what it is about. */
static __always_inline __u32 transport_bytes(int proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return sizeof(struct tcphdr);
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	}
	return 0;
}

/* The header, or NULL. */
static __always_inline struct tcphdr *parse_tcp(struct cursor *c)
{
	struct tcphdr *tcp = c->pos;

	if ((void *)(tcp + 1) > c->end || tcp->doff < 5)
		return NULL;
	return tcp;
}

#endif
