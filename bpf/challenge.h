/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The challenge in XDP: SYNs to a listener are turned into SYN-ACKs with a cookie where they are and go back where they came
 * from (bpf/synack.h); ACKs of no connection that carry no valid cookie end here. What opens the connection is bpf/accept.h.
 */
#ifndef WEIR_CHALLENGE_H
#define WEIR_CHALLENGE_H

#include "connections.h"
#include "counters.h"
#include "handshakes.h"
#include "local.h"
#include "segment.h"
#include "spoofing.h"
#include "synack.h"
#include "tracked.h"
#include "uncounted.h"

/* Set by the loader; false where the kernel lacks a helper. */
const volatile bool can_challenge;

#define MIN_FRAME 60

/* The state of the socket that a segment is for, 0 if there is none. */
static __always_inline int socket_state(struct hook_ctx *ctx, const void *ip, const struct tcphdr *tcp, bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	int state;

	segment_tuple(ip, tcp, ipv6, &tuple);
	sk = find_socket(ctx, &tuple, ipv6);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state;
}

/* Tells whether an odd SYN (ANSWER_ODD) is for this host. A global function, called by the programs themselves, as ask_for_listener. */
__noinline int is_for_this_host(struct hook_ctx *ctx, const struct weir_cpu *cpu, __u32 offset, __u32 ipv6)
{
	void *ip, *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_sock_tuple t = {};

	if (!cpu || offset > MAX_IP_OFFSET)
		return false;
	ip = data + offset;
	if (ip + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > end)
		return false;
	addresses_tuple(ip, ipv6, &t);
	return to_this_host(ctx, cpu, &t, ipv6);
}

enum answer {
	ANSWER_NONE,   /* can't be had */
	ANSWER_SENT,   /* the frame must be transmitted; any other answer has changed nothing */
	ANSWER_NOBODY, /* nobody listens */
	ANSWER_ODD,    /* no client sends such a SYN, and no cookie answers it, if it is for this host at all */
	ANSWER_SPARED, /* nothing speaks for a challenge */
	ANSWER_ASK,    /* the listener must be asked for first */
};

/* A SYN that can be answered. */
struct syn {
	void *ip;
	struct tcphdr *tcp;
	__u32 words; /* of options */
	const struct listener *listener;
};

/* What answer a SYN can have. IP options, extension headers, fragments, RST and FIN make it odd. */
static __always_inline enum answer find_answer(const struct weir_cpu *cpu, void *data, void *end, void *ip, bool ipv6, struct syn *s)
{
	if (!for_us(data, end, cpu->mac) || cpu->mtu <= ip_tcp_bytes(ipv6))
		return ANSWER_NONE;
	s->ip = ip;
	s->tcp = plain_segment(s->ip, end, ipv6, &s->words);
	if (!s->tcp || s->tcp->rst || s->tcp->fin)
		return ANSWER_ODD;
	s->listener = known_listener(cpu, s->ip, s->tcp, ipv6);
	if (!s->listener)
		return ANSWER_ASK;
	switch (s->listener->taker) {
	case TAKER_LISTENER:
		return ANSWER_SENT;
	case TAKER_KERNEL:
		return cpu->fallback ? ANSWER_SENT : ANSWER_NONE;
	case TAKER_NOBODY:
		return ANSWER_NOBODY;
	default:
		return ANSWER_NONE;
	}
}

/* Of its source. */
static __always_inline __u64 segment_key(const void *ip, bool ipv6)
{
	const __u32 *a = ((const struct ipv6hdr *)ip)->saddr.s6_addr32;
	__u64 key;

	if (!ipv6)
		return ipv4_key(((const struct iphdr *)ip)->saddr);
	key = two_words(a);
	return key ? key : UNSPECIFIED_PREFIX;
}

/* For rows that hardly anybody sends. A global function: the verifier looks at it once. */
__noinline int xdp_odd_options(struct hook_ctx *ctx, struct weir_cpu *cpu, __u32 offset, __u32 ipv6)
{
	if (cpu && offset <= MAX_IP_OFFSET)
		odd_options(cpu, (void *)(long)ctx->data, (void *)(long)ctx->data_end, offset, ipv6);
	return 0;
}

/* Turns a SYN whose options were read into its answer, with the kernel's cookie or our own. */
static __always_inline enum answer write_answer(struct hook_ctx *ctx, struct weir_cpu *cpu, void *data, void *end, const struct syn *s,
						bool ipv6, bool kernels)
{
	__u32 words, options, longest = cpu->mtu - ip_tcp_bytes(ipv6);
	struct weir_options *o = &cpu->options;
	struct cookie_flow flow = {};
	struct tcphdr *tcp = s->tcp;
	void *ip = s->ip;
	struct cookie k;
	long size, excess;
	__s64 isn;
	__u64 sum;

	words = words_again(tcp);
	o->ecn = asks_for_ecn(ip, tcp, ipv6);
	options = agreed_options(o, cpu->offer, longest, ipv6);
	if (kernels) {
		kernel_options(o);
		isn = kernel_isn(cpu, ip, end, ipv6, options & 0xffff);
		if (isn < 0)
			return ANSWER_NONE;
		k.isn = isn;
		k.tsval = kernel_tsval(cpu->millis, o);
	} else {
		segment_flow(ip, tcp, ipv6, bpf_ntohl(tcp->seq), &flow);
		k = cookie_make(&s->listener->cookies, &flow, options, o->timestamps, cpu->epoch);
	}
	size = end - data;
	excess = end - ((void *)(tcp + 1) + words * 4);

	swap_macs(data);
	sum = ipv6 ? write_ipv6(ip, words) : write_ipv4(ip, words);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(struct tcphdr) + words * 4);
	sum += write_tcp(tcp, words, k.isn, s->listener->window, o->ecn);
	sum += write_options(tcp, end, words, o, cpu->offer, longest, k.tsval);
	tcp->check = fold_sum(sum);

	/* Data in a SYN is for TCP Fast Open; it will be sent again. */
	asm volatile("" : "+r"(size), "+r"(excess)); /* or clang subtracts 32 bits of pointers, which the verifier refuses */
	if (excess > size - MIN_FRAME)
		excess = size - MIN_FRAME;
	if (excess > 0)
		cut_tail(ctx, excess); /* or the rest stays as padding, which does no harm */
	return ANSWER_SENT;
}

#define ANSWER_SHIFT 8

/* Answers a SYN whose IP header is at an offset, if something speaks for it. Returns an enum answer above an enum weir_reason. A
 * global function: the verifier looks at it once, not once for each way that leads to it.
 */
__noinline int challenge_syn(struct hook_ctx *ctx, struct weir_cpu *cpu, __u32 offset, __u32 ipv6, __u64 key)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	enum answer answer;
	struct syn s = {};
	bool kernels;

	if (!cpu || offset > MAX_IP_OFFSET)
		return ANSWER_NONE << ANSWER_SHIFT;
	answer = find_answer(cpu, data, end, data + offset, ipv6, &s);
	if (answer == ANSWER_ASK)
		return ANSWER_ASK << ANSWER_SHIFT;
	cpu->reason = suspect(cpu, key);
	asm volatile("" ::: "memory");
	if (cpu->reason == WEIR_REASON_NONE && cpu->wary)
		return ANSWER_SPARED << ANSWER_SHIFT;
	if (answer == ANSWER_SENT && s.listener) {
		kernels = s.listener->taker == TAKER_KERNEL;
		/* tc ends no old socket that is in the way of the kernel's cookies: the kernel has to see such SYNs itself. */
		if (kernels && may_have_sockets(key) && socket_state(ctx, s.ip, s.tcp, ipv6) != STATE_LISTEN)
			return ANSWER_NONE << ANSWER_SHIFT | cpu->reason;
		if (!common_options((const __u32 *)(s.tcp + 1), end, s.words, &cpu->options))
			xdp_odd_options(ctx, cpu, offset, ipv6);
		forget_options(cpu);
		answer = write_answer(ctx, cpu, data, end, &s, ipv6, kernels);
	}
	asm volatile("" ::: "memory");
	return answer << ANSWER_SHIFT | cpu->reason;
}

/* Tells whether netfilter redirects a segment that no connection here takes. ctx is of tc if skb, else of XDP. */
static __always_inline bool is_redirected(void *ctx, bool skb, void *ip, void *end, bool ipv6)
{
	struct bpf_sock_tuple tuple = {};

	if (ip + (ipv6 ? sizeof(struct ipv6_segment) : sizeof(struct ipv4_segment)) > end)
		return false;
	segment_tuple(ip, ip + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)), ipv6, &tuple);
	return is_tracked(ctx, skb, &tuple, ipv6);
}

/* In a function of its own: its room on the stack is needed once. */
static __noinline bool xdp_redirected(struct hook_ctx *ctx, void *ip, void *end, bool ipv6)
{
	return is_redirected(ctx, false, ip, end, ipv6);
}

/* The options of a valid cookie, or -1. */
static __always_inline __s32 segment_cookie(const struct weir_cpu *cpu, const struct siphash *listener, const struct tcphdr *tcp,
					    const struct cookie_flow *flow)
{
	const struct weir_options *o = &cpu->options;
	struct cookie k = { .isn = bpf_ntohl(tcp->ack_seq) - 1, .tsval = bpf_ntohl(o->tsecr) };

	return cookie_check(listener, flow, k, o->timestamps, cpu->epoch, cpu->other_epoch);
}

#define ACK_PROVEN (-1)
#define ACK_ODD	   (-2)
#define ACK_ASK	   (-3)

/* Judges a segment with ACK: an enum weir_reason to drop it for if it pretends to end a handshake that never was, belongs to
 * nothing here, or ends one handshake too many of its source; ACK_PROVEN if it ends one, or comes with what does; ACK_ODD if it
 * is none of those that can, for IP options or the like; ACK_ASK if the listener must be asked for first; else WEIR_REASON_NONE. The
 * look-up comes before the hash: it spares connections that.
 */
__noinline int judge_ack(struct hook_ctx *ctx, struct weir_cpu *cpu, __u32 offset, __u32 ipv6, __u64 key)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *ip = data + offset;
	struct cookie_flow flow = {};
	const struct listener *l;
	struct handshake *h;
	struct tcphdr *tcp;
	bool proves, valid = false;
	__u32 words, taker;
	__u64 tuple;
	int state;

	if (!cpu || offset > MAX_IP_OFFSET || !for_us(data, end, cpu->mac))
		return WEIR_REASON_NONE;
	tcp = plain_segment(ip, end, ipv6, &words);
	if (!tcp)
		return ACK_ODD;
	l = known_listener(cpu, ip, tcp, ipv6);
	if (!l)
		return ACK_ASK;
	if (l->taker == TAKER_OTHER)
		return WEIR_REASON_NONE;
	taker = l->taker;
	/* A flood is spared the look-up where there surely is no socket: who has one is counted, or noted. */
	state = taker == TAKER_NOBODY ? 0 : STATE_LISTEN;
	if (taker == TAKER_KERNEL || may_be_peer(cpu, key) || may_have_sockets(key) || may_be_uncounted(cpu, key))
		state = socket_state(ctx, ip, tcp, ipv6);
	if (taker == TAKER_NOBODY && !state)
		return is_tracking() && xdp_redirected(ctx, ip, end, ipv6) ? WEIR_REASON_NONE : WEIR_REASON_COOKIE;
	if (taker == TAKER_NOBODY || state != STATE_LISTEN)
		return WEIR_REASON_NONE;
	segment_flow(ip, tcp, ipv6, bpf_ntohl(tcp->seq) - 1, &flow);
	if (taker == TAKER_LISTENER) {
		if (!common_options((const __u32 *)(tcp + 1), end, words, &cpu->options))
			xdp_odd_options(ctx, cpu, offset, ipv6);
		forget_options(cpu);
		valid = segment_cookie(cpu, &l->cookies, tcp, &flow) >= 0;
	}
	tuple = tuple_hash(&flow);
	h = handshake_of(tuple);
	if (!h)
		return valid ? ACK_PROVEN : WEIR_REASON_COOKIE;
	if (recent(h, tuple, h->proven, cpu->jiffy))
		return ACK_PROVEN; /* data behind the ACK */
	if (!valid && !(l->overflowed && kernel_cookie(ip, end, ipv6)))
		return is_tracking() && xdp_redirected(ctx, ip, end, ipv6) ? WEIR_REASON_NONE : WEIR_REASON_COOKIE;
	if (!valid)
		cpu->cookies.kernel++;
	proves = valid || taker == TAKER_KERNEL; /* the kernel's cookies to others may be from before the challenge */
	if (proves && cpu->enforcing && at_cap(cpu, key))
		return WEIR_REASON_CONNECTIONS;
	if (proves && !verify_source(cpu, key) && cpu->enforcing)
		return WEIR_REASON_SOURCE_RATE;
	if (h->tuple != tuple)
		h->opened = h->ended = 0;
	h->tuple = tuple;
	h->proven = cpu->jiffy;
	return ACK_PROVEN;
}

#endif
