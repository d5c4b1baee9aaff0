/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether this host listens: asked of the kernel once a jiffy for each address and port, and CPU. A flood then pays for a
 * cache line instead of two hash tables; a port that opens or closes is noticed within a jiffy.
 */
#ifndef WEIR_LISTENERS_H
#define WEIR_LISTENERS_H

#include "abi.h"
#include "fallback.h"
#include "segment.h"

#define FAMILY_IPV4 2
#define FAMILY_IPV6 10
#define STATE_TIME_WAIT 6
#define STATE_LISTEN 10
#define STATE_NEW_SYN_RECV 12
#define LISTENERS 256

#define FIRST_WINDOW	 64240
#define OVERFLOW_JIFFIES 120000
#define LATE_JIFFIES	 1000 /* the mark is renewed by others meanwhile */

struct mptcp_sock;

/* Of the kernel: when a listener, or a group of them by SO_REUSEPORT, overflowed. */
struct sock_reuseport {
	unsigned int synq_overflow_ts;
} __attribute__((preserve_access_index));

struct sock___group {
	struct sock_reuseport *sk_reuseport_cb;
} __attribute__((preserve_access_index));

struct tcp_options_received {
	int ts_recent_stamp;
} __attribute__((preserve_access_index));

struct sock___buffer {
	int sk_rcvbuf;
} __attribute__((preserve_access_index));

struct tcp_sock___buffer {
	unsigned char scaling_ratio; /* of a buffer what is left for data, in 256ths; Linux 6.6 */
} __attribute__((preserve_access_index));

struct tcp_sock___overflow {
	struct tcp_options_received rx_opt;
} __attribute__((preserve_access_index));

/* Set by the loader: whether tc takes requests for a listener, so that our own cookies can be used. */
const volatile bool can_accept;

/* What SipHash begins with, made of the secret by the loader. */
const volatile __u64 secret[4];

/* Who takes connections to an address and port. */
enum taker {
	TAKER_OTHER, /* not this host */
	TAKER_NOBODY,
	TAKER_LISTENER,
	TAKER_KERNEL, /* a listener that takes no request from BPF, only the kernel's own cookies: MPTCP's, or any before 6.9 */
};

struct listener {
	__u64 address[2];
	__u64 jiffy;
	__u32 port; /* and the family */
	__u8 taker;
	__u8 overflowed; /* bool: the kernel may have answered its SYNs by cookies of its own */
	__u16 window;	 /* the first that it offers */
	struct siphash cookies; /* what is common to its cookies, hashed */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LISTENERS);
	__type(key, __u32);
	__type(value, struct listener);
} listeners SEC(".maps");

static __always_inline void addresses_tuple(const void *ip, bool ipv6, struct bpf_sock_tuple *t)
{
	if (ipv6) {
		__builtin_memcpy(t->ipv6.saddr, &((const struct ipv6hdr *)ip)->saddr, 16);
		__builtin_memcpy(t->ipv6.daddr, &((const struct ipv6hdr *)ip)->daddr, 16);
		return;
	}
	t->ipv4.saddr = ((const struct iphdr *)ip)->saddr;
	t->ipv4.daddr = ((const struct iphdr *)ip)->daddr;
}

/* The segment's tuple, for look-ups. */
static __always_inline void segment_tuple(const void *ip, const struct tcphdr *tcp, bool ipv6, struct bpf_sock_tuple *t)
{
	addresses_tuple(ip, ipv6, t);
	if (ipv6) {
		t->ipv6.sport = tcp->source;
		t->ipv6.dport = tcp->dest;
	} else {
		t->ipv4.sport = tcp->source;
		t->ipv4.dport = tcp->dest;
	}
}

/* A router must not answer for the hosts behind it, whatever listens here on any address. Without forwarding the kernel
 * doesn't say what is local; then the frame's MAC address has to do.
 */
static __always_inline bool is_local(struct hook_ctx *ctx, const void *source, const void *destination, bool ipv6)
{
	struct bpf_fib_lookup fib = { .l4_protocol = IPPROTO_TCP, .ifindex = ctx->ingress_ifindex };
	long ret;

	if (ipv6) {
		fib.family = FAMILY_IPV6;
		__builtin_memcpy(fib.ipv6_src, source, 16);
		__builtin_memcpy(fib.ipv6_dst, destination, 16);
	} else {
		fib.family = FAMILY_IPV4;
		fib.ipv4_src = *(const __be32 *)source;
		fib.ipv4_dst = *(const __be32 *)destination;
	}
	ret = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return ret == BPF_FIB_LKUP_RET_NOT_FWDED || ret == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* The socket that takes what has this tuple; the caller releases it. ctx is of XDP or of tc. */
static __always_inline struct bpf_sock *find_socket(void *ctx, struct bpf_sock_tuple *t, bool ipv6)
{
	if (ipv6)
		return bpf_skc_lookup_tcp(ctx, t, sizeof(t->ipv6), BPF_F_CURRENT_NETNS, 0);
	return bpf_skc_lookup_tcp(ctx, t, sizeof(t->ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* In a scope of its own: together with is_local's the stack would not do. */
static __always_inline struct bpf_sock *find_listener(struct hook_ctx *ctx, const void *ip, const struct tcphdr *tcp, bool ipv6)
{
	struct bpf_sock_tuple tuple = {};

	segment_tuple(ip, tcp, ipv6, &tuple);
	if (ipv6) /* no connection has port 0: only a listener can be found */
		tuple.ipv6.sport = 0;
	else
		tuple.ipv4.sport = 0;
	return find_socket(ctx, &tuple, ipv6);
}

/* Tells whether the kernel would look at a cookie of its own (tcp_synq_no_recent_overflow of net/tcp.h): it has had to make some in the
 * last two minutes. How many jiffies these are isn't known here; at 1000 a second as many as can be.
 */
static __always_inline bool has_overflowed(struct bpf_sock *listener)
{
	struct tcp_sock___overflow *tp = (void *)bpf_skc_to_tcp_sock(listener);
	struct sock_reuseport *group;
	__u32 last, now = bpf_jiffies64();

	if (!tp)
		return true;
	group = ((struct sock___group *)tp)->sk_reuseport_cb;
	last = group ? group->synq_overflow_ts : tp->rx_opt.ts_recent_stamp;
	return now - last + LATE_JIFFIES <= OVERFLOW_JIFFIES + LATE_JIFFIES;
}

/* The room in a listener's receive buffer, which SO_RCVBUF may have made small, up to what Linux offers for Ethernet's MSS. */
static __always_inline __u16 first_window(struct bpf_sock *listener)
{
	const struct tcp_sock___buffer *tp = (void *)bpf_skc_to_tcp_sock(listener);
	__u64 room;

	if (!can_accept || !tp) /* the kernel's cookies tell nothing of it, and aren't made where it is locked */
		return FIRST_WINDOW;
	room = (__u64)(__u32)((const struct sock___buffer *)tp)->sk_rcvbuf * tp->scaling_ratio >> 8;
	return room < FIRST_WINDOW ? room : FIRST_WINDOW;
}

static __noinline enum taker ask_listener(struct hook_ctx *ctx, void *ip, void *end, bool ipv6, struct listener *l)
{
	const struct ipv4_segment *v4 = ip;
	const struct ipv6_segment *v6 = ip;
	struct bpf_sock *sk;
	enum taker taker = TAKER_OTHER;

	if (ip + (ipv6 ? sizeof(struct ipv6_segment) : sizeof(struct ipv4_segment)) > end)
		return TAKER_OTHER;
	if (ipv6 ? !is_local(ctx, &v6->ip.saddr, &v6->ip.daddr, true) : !is_local(ctx, &v4->ip.saddr, &v4->ip.daddr, false))
		return TAKER_OTHER;
	sk = find_listener(ctx, ip, ipv6 ? &v6->tcp : &v4->tcp, ipv6);
	if (!sk)
		return TAKER_NOBODY;
	if (sk->state == STATE_LISTEN)
		taker = !can_accept || bpf_skc_to_mptcp_sock(sk) ? TAKER_KERNEL : TAKER_LISTENER;
	if (taker == TAKER_KERNEL && !want_fallback(sk, ipv6))
		taker = TAKER_OTHER;
	l->overflowed = taker == TAKER_KERNEL || has_overflowed(sk);
	l->window = first_window(sk);
	bpf_sk_release(sk);
	return taker;
}

/* The address that a packet is for, in two words. */
static __always_inline void destination_words(const void *ip, bool ipv6, __u64 *address)
{
	const __be32 *a = ((const struct ipv6hdr *)ip)->daddr.s6_addr32;

	address[0] = ipv6 ? two_words(a) : ((const struct iphdr *)ip)->daddr;
	address[1] = ipv6 ? two_words(a + 2) : 0;
}

/* The address and port that a segment is for, as in struct listener. */
struct listener_key {
	__u64 address[2];
	__u32 port;
};

static __always_inline void listener_key(const void *ip, const struct tcphdr *tcp, bool ipv6, struct listener_key *k)
{
	destination_words(ip, ipv6, k->address);
	k->port = tcp->dest | (ipv6 ? FAMILY_IPV6 : FAMILY_IPV4) << 16;
}

static __always_inline struct listener *listener_slot(const struct listener_key *k)
{
	__u32 index = (((k->address[0] ^ k->address[1]) + k->port) * 0x9e3779b97f4a7c15ULL >> 32) % LISTENERS;

	return bpf_map_lookup_elem(&listeners, &index);
}

/* What is known of the listener that a segment is for, or NULL if it has to be asked for. */
static __always_inline const struct listener *known_listener(const struct weir_cpu *cpu, const void *ip, const struct tcphdr *tcp, bool ipv6)
{
	const struct listener *l;
	struct listener_key k;

	listener_key(ip, tcp, ipv6, &k);
	l = listener_slot(&k);
	if (!l || l->jiffy != cpu->jiffy || l->port != k.port || l->address[0] != k.address[0] || l->address[1] != k.address[1])
		return NULL;
	return l;
}

/* Looks for the listener that a segment is for whose IP header is at an offset, so that it is known. A global function, called by the
 * programs themselves: deeper there is no room on the stack.
 */
__noinline int ask_for_listener(struct hook_ctx *ctx, const struct weir_cpu *cpu, __u32 offset, __u32 ipv6)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct listener_key k;
	struct listener *l;
	struct tcphdr *tcp;
	void *ip;
	__u32 words;

	if (!cpu || offset > MAX_IP_OFFSET)
		return 0;
	ip = data + offset;
	tcp = plain_segment(ip, end, ipv6, &words);
	if (!tcp)
		return 0;
	listener_key(ip, tcp, ipv6, &k);
	l = listener_slot(&k);
	if (!l)
		return 0;
	l->taker = ask_listener(ctx, ip, end, ipv6, l);
	l->jiffy = cpu->jiffy;
	l->port = k.port;
	l->address[0] = k.address[0];
	l->address[1] = k.address[1];
	sip_listener(&l->cookies, secret, (const __be32 *)k.address, k.port, ipv6);
	return 0;
}

#endif
