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

#endif
