/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The kernel's own SYN cookies, made in XDP for listeners that take no others (Linux 6.0). The kernel reads them if
 * net.ipv4.tcp_syncookies isn't 0 and it believes that the listener has just overflowed; it reads the options from the echoed
 * timestamp, without an offset of its own if net.ipv4.tcp_timestamps is 2. User space sees to both while this is wanted.
 */
#ifndef WEIR_FALLBACK_H
#define WEIR_FALLBACK_H

#include <bpf/bpf_core_read.h>

#include "control.h"
#include "segment.h"

/* Of net/ipv4/syncookies.c: what the low bits of a cookie's timestamp are. */
#define KERNEL_TSVAL_BITS 6
#define KERNEL_TSVAL_SACK 0x10
#define KERNEL_TSVAL_ECN  0x20

/* A segment as the kernel's helpers look at it. */
struct kernel_segment {
	struct tcphdr tcp;
	__u32 mss;
};

#define RECEIVE_BUFFER_LOCKED 2 /* SOCK_RCVBUF_LOCK of net/sock.h */

struct sock___locks {
	unsigned char sk_userlocks : 4;
} __attribute__((preserve_access_index));

/* Tells whether a listener's connections get the window scale that was offered. With SO_RCVBUF the kernel would choose a smaller
 * one, which its cookie can't tell.
 */
static __always_inline bool scales_as_offered(struct bpf_sock *sk)
{
	struct sock___locks *locks = (void *)bpf_skc_to_tcp_sock(sk);

	return locks && !(BPF_CORE_READ_BITFIELD(locks, sk_userlocks) & RECEIVE_BUFFER_LOCKED);
}

/* Headers of a cookie that nobody gets. Not on the stack: four functions deep there is no room for them. */
static const __u32 empty_ipv4[5] = { 0x45 };
static const __u32 empty_ipv6[10] = { 0x60 };
static const struct tcphdr empty_syn = { .doff = 5, .syn = 1 };

/* Says that a listener needs the fallback, and keeps it taken for overflowed: the kernel's helper with the socket does that, by
 * making a cookie. It does so under tcp_syncookies 2 alone, and the mark lasts for two minutes; once a jiffy is plenty. Returns false
 * if it can't be had for this listener.
 */
static __noinline bool want_fallback(struct bpf_sock *sk, bool ipv6)
{
	struct weir_fallback *f;
	__u32 zero = 0;

	f = bpf_map_lookup_elem(&fallback, &zero);
	if (!f || !scales_as_offered(sk))
		return false;
	f->wanted_ns = bpf_ktime_get_ns();
	if (ipv6)
		bpf_tcp_gen_syncookie(sk, (void *)empty_ipv6, sizeof(empty_ipv6), (void *)&empty_syn, sizeof(empty_syn));
	else
		bpf_tcp_gen_syncookie(sk, (void *)empty_ipv4, sizeof(empty_ipv4), (void *)&empty_syn, sizeof(empty_syn));
	return true;
}

/* Leaves what the kernel can read back from its own cookies: without timestamps nothing but the MSS. */
static __always_inline void kernel_options(struct weir_options *o)
{
	if (!o->timestamps) {
		o->sack = false;
		o->wscale = COOKIE_NO_WSCALE;
	}
}

/* Not ahead of the kernel's clock: a client takes what comes with an older timestamp for old (RFC 7323 section 5). */
static __always_inline __u32 kernel_tsval(__u32 millis, const struct weir_options *o)
{
	__u32 low = o->wscale | (o->sack ? KERNEL_TSVAL_SACK : 0) | (o->ecn ? KERNEL_TSVAL_ECN : 0);
	__u32 mask = (1 << KERNEL_TSVAL_BITS) - 1;

	return ((millis & ~mask) | low) - ((millis & mask) < low ? mask + 1 : 0);
}

/* The kernel's cookie for a SYN, or less than 0. The helper sees a header of our own: its length is constant, and the MSS is the
 * one agreed on.
 */
static __always_inline __s64 kernel_isn(struct weir_cpu *cpu, void *ip, void *end, bool ipv6, __u32 mss)
{
	struct kernel_segment *h = (void *)cpu->kernel_segment;
	struct ipv4_segment *v4 = ip;
	struct ipv6_segment *v6 = ip;
	__s64 isn;

	_Static_assert(sizeof(*h) == sizeof(cpu->kernel_segment), "scratch");
	h->tcp.doff = sizeof(*h) / 4;
	h->tcp.syn = 1;
	h->mss = OPTION_MSS | (__u32)bpf_htons(mss) << 16;
	if (ipv6) {
		if ((void *)(v6 + 1) > end)
			return -1;
		h->tcp.source = v6->tcp.source;
		h->tcp.dest = v6->tcp.dest;
		h->tcp.seq = v6->tcp.seq;
		isn = bpf_tcp_raw_gen_syncookie_ipv6(&v6->ip, &h->tcp, sizeof(*h));
	} else {
		if ((void *)(v4 + 1) > end)
			return -1;
		h->tcp.source = v4->tcp.source;
		h->tcp.dest = v4->tcp.dest;
		h->tcp.seq = v4->tcp.seq;
		isn = bpf_tcp_raw_gen_syncookie_ipv4(&v4->ip, &h->tcp, sizeof(*h));
	}
	return isn < 0 ? -1 : isn & 0xffffffff;
}

/* Tells whether a segment answers a cookie of the kernel's: made here, or by itself before the challenge began, or for a verified
 * source. The kernel will look again.
 */
static __always_inline bool kernel_cookie(void *ip, void *end, bool ipv6)
{
	struct ipv4_segment *v4 = ip;
	struct ipv6_segment *v6 = ip;

	if (ipv6)
		return (void *)(v6 + 1) <= end && !bpf_tcp_raw_check_syncookie_ipv6(&v6->ip, &v6->tcp);
	return (void *)(v4 + 1) <= end && !bpf_tcp_raw_check_syncookie_ipv4(&v4->ip, &v4->tcp);
}

#endif
