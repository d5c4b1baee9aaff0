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
#define IP6_OFFSET_MASK 0xfff8

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

/* The protocol. *fragment is set for all but the first fragment, which hold no transport header. */
static __always_inline int parse_ipv4(struct cursor *c, __be32 *source, bool *fragment)
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
	*fragment = ip->frag_off & bpf_htons(IP_OFFSET_MASK);
	return ip->protocol;
}

/* The protocol behind all extension headers. *prefix is the source's upper 64 bits as they stand in the packet. */
static __always_inline int parse_ipv6(struct cursor *c, __u64 *prefix, bool *fragment)
{
	struct ipv6hdr *ip = c->pos;
	__u8 next;

	if ((void *)(ip + 1) > c->end || ip->version != 6)
		return PARSE_ERROR;
	/* Multicast is never a source (RFC 4291 section 2.7): the kernel drops it, and keys must not run into IPv4's. */
	if (ip->saddr.s6_addr[0] == 0xff)
		return PARSE_ERROR;
	*prefix = (__u64)ip->saddr.s6_addr32[1] << 32 | ip->saddr.s6_addr32[0];
	next = ip->nexthdr;
	c->pos = ip + 1;

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
			if (frag->offset & bpf_htons(IP6_OFFSET_MASK)) {
				*fragment = true;
				return next;
			}
			break;
		default:
			return next;
		}
	}
	return PARSE_ERROR;
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
