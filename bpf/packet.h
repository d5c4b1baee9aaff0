/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is known of a packet once it is parsed. */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include "parse.h"

/* Where a packet's headers are, and whose it is. */
struct packet {
	__u64 key; /* of its source */
	__u16 ip;  /* offset in the frame */
	__u16 l4;  /* likewise, behind all extension headers */
	__u8 ipv6;
	__u8 proto;
	__be16 port; /* TCP's destination */
	struct fragment fragment;
	bool ack;
	bool flagless; /* a first fragment that ends before TCP's flags: it may be a SYN's */
};

#define MAX_L4_OFFSET 0x7fff

/* Has the verifier forget by which way through the parsers a packet came, or it would follow each of them through all that comes after. */
static __always_inline void hide_packet(struct packet *p, __u64 unknown)
{
	__u64 *words = (void *)p;

	_Static_assert(sizeof(*p) == 32, "words");
	for (int i = 1; i < 4; i++) /* the key comes from the packet */
		words[i] = hide(words[i], unknown);
}

#endif
