/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* SYN cookies of our own: all that the final ACK must tell is in the SYN-ACK's sequence number and, where the client offered
 * timestamps, in its TSval, which the client echoes. Nothing is kept per SYN.
 *
 *   with timestamps     ISN:   31 bits MAC, 1 bit epoch
 *                       TSval: 10 bits MAC, 1 ECN, 1 SACK, 4 window scale, 16 MSS
 *   without             ISN:   23 bits MAC, 1 SACK, 4 window scale, 3 MSS index, 1 bit epoch
 *
 * The MAC is SipHash-1-3 (Aumasson and Bernstein 2012) with a secret of 128 bits over addresses, ports, the client's ISN,
 * the options and the epoch, a minute. Hashing the epoch's number is what a new key each minute would be; a cookie of the
 * epoch before is still good, so it lives for one to two minutes.
 *
 * Without timestamps one forged ACK in 2^23 is taken for an answer. That opens one connection without data for 8 million
 * packets: at the 5 Mpps or so that a core checks, under one a second. Whoever forges may choose that form, so it is the
 * bound; a cookie with timestamps has 41 bits. Guesses teach nothing: each tuple and minute has a MAC of its own.
 */
#ifndef WEIR_COOKIE_H
#define WEIR_COOKIE_H

#include <stdbool.h>

#include <linux/types.h>

#define COOKIE_NO_WSCALE 15 /* RFC 7323 stops at 14 */

/* Options as they stand in TSval: MSS, window scale, SACK, and ECN, which cookies without timestamps have no room for. */
#define COOKIE_WSCALE_SHIFT  16
#define COOKIE_SACK_SHIFT    20
#define COOKIE_ECN_SHIFT     21
#define COOKIE_OPTION_BITS   22
#define COOKIE_OPTION_MASK   ((1U << COOKIE_OPTION_BITS) - 1)
#define COOKIE_TIMESTAMPS    (1U << 23) /* in the MAC's input: keeps the two forms apart */

struct cookie {
	__u32 isn;
	__u32 tsval;
};

/* Who talks to whom. Bytes as in the packet. */
struct cookie_flow {
	const __be32 *source; /* one word, of IPv6 four */
	const __be32 *destination;
	__be16 sport;
	__be16 dport;
	__u32 isn; /* the client's */
	bool ipv6;
};

/* SipHash between two words, after the part of the next round that needs no message: half of its additions. */
struct siphash {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate(__u64 x, int n)
{
	return x << n | x >> (64 - n);
}

static __always_inline void sip_half(struct siphash *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
}

static __always_inline void sip_rest(struct siphash *s)
{
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static __always_inline void sip_word(struct siphash *s, __u64 word)
{
	s->v3 ^= word;
	sip_rest(s);
	s->v0 ^= word;
	sip_half(s);
}

static __always_inline __u64 sip_end(struct siphash *s)
{
	s->v2 ^= 0xff;
	sip_rest(s);
	sip_half(s);
	sip_rest(s);
	sip_half(s);
	sip_rest(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static __always_inline __u64 two_words(const __be32 *w)
{
	return w[0] | (__u64)w[1] << 32;
}

/* The message is, in words of 64 bits with the lowest first,
 *
 *   IPv4  destination 32, port 16, zeros 16 | source 32, ISN 32
 *   IPv6  destination 128 | port 16, zeros 48 | source 128 | zeros 32, ISN 32
 *
 * and then options 24, source port 16, epoch 16, which SipHash puts into one word with the message's length. What a listener's flows
 * have in common comes first and is hashed once for all. The epoch comes again after 45 days: a cookie that somebody was sent in the same
 * minute then would be good once more.
 *
 * start is what SipHash begins with, as the loader has computed it from the secret (sipStart in pkg/datapath/cookie.go).
 */
static __always_inline void sip_listener(struct siphash *s, const volatile __u64 *start, const __be32 *destination, __be16 port, bool ipv6)
{
	s->v0 = start[0];
	s->v1 = start[1];
	s->v2 = start[2];
	s->v3 = start[3];
	if (ipv6) {
		sip_word(s, two_words(destination));
		sip_word(s, two_words(destination + 2));
		sip_word(s, port);
	} else {
		sip_word(s, destination[0] | (__u64)port << 32);
	}
}

static __always_inline __u64 cookie_mac(const struct siphash *listener, const struct cookie_flow *f, __u32 options, __u32 epoch)
{
	__u64 length = f->ipv6 ? 55 : 23;
	struct siphash s = *listener;

	if (f->ipv6) {
		sip_word(&s, two_words(f->source));
		asm volatile("" ::: "memory"); /* one after the other: to have all at once takes more registers than there are */
		sip_word(&s, two_words(f->source + 2));
		sip_word(&s, (__u64)f->isn << 32);
	} else {
		sip_word(&s, f->source[0] | (__u64)f->isn << 32);
	}
	sip_word(&s, length << 56 | (__u64)(epoch & 0xffff) << 40 | (__u64)f->sport << 24 | options);
	return sip_end(&s);
}

/* The MSS that a cookie without timestamps can tell, rounded down: the least that the kernel accepts for IPv4 and IPv6,
 * tunnels, PPPoE with and without timestamps' room, Ethernet over IPv6 and IPv4, jumbo frames. Eight numbers of 16 bits.
 */
static __always_inline __u32 cookie_mss_index(__u32 mss)
{
	return (mss >= 1220) + (mss >= 1360) + (mss >= 1400) + (mss >= 1440) + (mss >= 1452) + (mss >= 1460) + (mss >= 8940);
}

static __always_inline __u32 cookie_mss(__u32 index)
{
	const __u64 low = 536ULL | 1220ULL << 16 | 1360ULL << 32 | 1400ULL << 48;
	const __u64 high = 1440ULL | 1452ULL << 16 | 1460ULL << 32 | 8940ULL << 48;

	return ((index & 4 ? high : low) >> (index & 3) * 16) & 0xffff;
}

static __always_inline __u32 cookie_options(__u32 mss, __u32 wscale, bool sack, bool ecn)
{
	return mss | wscale << COOKIE_WSCALE_SHIFT | (__u32)sack << COOKIE_SACK_SHIFT | (__u32)ecn << COOKIE_ECN_SHIFT;
}

static __always_inline struct cookie cookie_make(const struct siphash *listener, const struct cookie_flow *f, __u32 options,
						 bool timestamps, __u32 epoch)
{
	struct cookie c = {};
	__u32 index;
	__u64 mac;

	if (timestamps) {
		mac = cookie_mac(listener, f, options | COOKIE_TIMESTAMPS, epoch);
		c.isn = (__u32)mac << 1 | (epoch & 1);
		c.tsval = (__u32)(mac >> 31) << COOKIE_OPTION_BITS | options;
		return c;
	}
	index = cookie_mss_index(options & 0xffff);
	options = (options & ~0xffffU) | cookie_mss(index);
	mac = cookie_mac(listener, f, options, epoch);
	c.isn = (__u32)mac << 9 | options >> COOKIE_WSCALE_SHIFT << 4 | index << 1 | (epoch & 1);
	return c;
}

/* The options of an ACK's cookie, or -1 if it isn't ours. epochs are the current one and the one that may be valid beside
 * it: the last bit of the ISN chooses.
 */
static __always_inline __s32 cookie_check(const struct siphash *listener, const struct cookie_flow *f, struct cookie c, bool timestamps,
					  __u32 epoch, __u32 other)
{
	__u32 options;
	__u64 mac;

	if ((c.isn ^ epoch) & 1)
		epoch = other;
	if (timestamps) {
		options = c.tsval & COOKIE_OPTION_MASK;
		mac = cookie_mac(listener, f, options | COOKIE_TIMESTAMPS, epoch);
		if (((__u32)mac << 1 ^ c.isn) >> 1 || ((__u32)(mac >> 31) << COOKIE_OPTION_BITS ^ c.tsval) >> COOKIE_OPTION_BITS)
			return -1;
		return options;
	}
	options = (c.isn >> 4 & 0x1f) << COOKIE_WSCALE_SHIFT | cookie_mss(c.isn >> 1 & 7);
	mac = cookie_mac(listener, f, options, epoch);
	return ((__u32)mac << 9 ^ c.isn) >> 9 ? -1 : (__s32)options;
}

#endif
