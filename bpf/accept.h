/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The challenge in tc: a final ACK with a valid cookie becomes a connection of the listening socket, with the options that
 * the cookie tells (bpf_sk_assign_tcp_reqsk, Linux 6.9). Needs net.ipv4.tcp_syncookies of 1 or 2: with 0 the kernel takes
 * the request and then ignores it.
 */
#ifndef WEIR_ACCEPT_H
#define WEIR_ACCEPT_H

#include "challenge.h"

/* Of linux/bpf.h since 6.6. */
#define TCX_NEXT (-1)
#define TCX_DROP 2

#define PACKET_HOST  0 /* linux/if_packet.h, whose other contents clash */
#define LINEAR_BYTES 128 /* more than all headers of a final ACK behind two VLAN tags */

/* Of the kernel: net/tcp.h, and what it takes to name a socket. */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	__u32 skc_tw_rcv_nxt;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 max_window;
	__u64 bytes_acked;
} __attribute__((preserve_access_index));

struct inet_timewait_sock {
	struct sock_common __tw_common;
} __attribute__((preserve_access_index));

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} __attribute__((preserve_access_index));

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs,
				   int attrs__sz) __ksym __weak;

enum arrival {
	ARRIVAL_PASS,
	ARRIVAL_DROP,
	ARRIVAL_REUSES, /* the tuple of a connection that its client has forgotten */
	ARRIVAL_REPEATS, /* a handshake that the kernel began itself */
};

static __always_inline bool open_connection(struct __sk_buff *skb, const struct weir_cpu *cpu, struct bpf_sock *listener, __u32 options)
{
	const struct weir_options *o = &cpu->options;
	__u32 wscale = options >> COOKIE_WSCALE_SHIFT & 0xf;
	struct bpf_tcp_req_attrs attrs = {
		.mss = options,
		.sack_ok = options >> COOKIE_SACK_SHIFT & 1,
		.ecn_ok = options >> COOKIE_ECN_SHIFT & 1,
		.tstamp_ok = o->timestamps,
		.rcv_tsval = bpf_ntohl(o->tsval),
		.rcv_tsecr = bpf_ntohl(o->tsecr),
	};
	struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(listener);

	if (!sk)
		return false;
	if (wscale != COOKIE_NO_WSCALE) {
		attrs.wscale_ok = 1;
		attrs.snd_wscale = wscale;
		attrs.rcv_wscale = cpu->offer & WEIR_OFFER_WSCALE;
	}
	return !bpf_sk_assign_tcp_reqsk(skb, sk, &attrs, sizeof(attrs));
}

/* In a function of its own: its room on the stack is needed once. */
static __noinline bool skb_redirected(struct __sk_buff *skb, void *ip, void *end, bool ipv6)
{
	return is_redirected(skb, true, ip, end, ipv6);
}

/* As xdp_odd_options. */
__noinline int skb_odd_options(struct __sk_buff *skb, struct weir_cpu *cpu, __u32 offset, __u32 ipv6)
{
	if (cpu && offset <= MAX_IP_OFFSET)
		odd_options(cpu, (void *)(long)skb->data, (void *)(long)skb->data_end, offset, ipv6);
	return 0;
}

/* Tells whether a socket stands in the way of a handshake that may just have ended with a segment, and what it wants to receive
 * next. TIME_WAIT and half-open ones always do: no cookie of ours answers them. A connection does if the ACK is for nothing that
 * it has sent (RFC 5961 section 5.2): then its client has crashed, and its new SYN has been answered instead of the kernel. Its
 * own first ACK, late and once more, doesn't count.
 */
static __always_inline bool in_the_way(struct bpf_sock *sk, const struct tcphdr *tcp, __u32 *rcv_nxt)
{
	__u32 first, ack = bpf_ntohl(tcp->ack_seq);
	struct tcp_timewait_sock *tw;
	struct tcp_sock *tp;

	switch (sk->state) {
	case STATE_TIME_WAIT:
		tw = bpf_skc_to_tcp_timewait_sock(sk);
		if (!tw)
			return false;
		*rcv_nxt = tw->tw_sk.__tw_common.skc_tw_rcv_nxt;
		return true;
	case STATE_NEW_SYN_RECV: /* the kernel answered this SYN, and weir its repetition */
		*rcv_nxt = bpf_ntohl(tcp->seq);
		return true;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return false;
	*rcv_nxt = tp->rcv_nxt;
	first = tp->snd_una - (__u32)tp->bytes_acked;
	if (ack - first <= 1)
		return false;
	return (__s32)(ack - tp->snd_nxt) > 0 || (__s32)(tp->snd_una - tp->max_window - ack) > 0;
}

/* Tells whether a segment is more than an ACK. */
static __always_inline bool carries_more(const void *ip, const struct tcphdr *tcp, __u32 words, bool ipv6)
{
	const struct iphdr *v4 = ip;
	const struct ipv6hdr *v6 = ip;
	__u32 length = ipv6 ? bpf_ntohs(v6->payload_len) : bpf_ntohs(v4->tot_len) - sizeof(*v4);

	return tcp->fin || length > sizeof(*tcp) + words * 4;
}

/* Tells whether a handshake that a cookie proves is one too many of its source. While SYNs are challenged XDP sees to that; whoever
 * has gathered cookies and answers them afterwards is held to the same.
 */
static __noinline bool one_too_many(const struct weir_cpu *cpu, __u64 key, __be16 port)
{
	if (!cpu || cpu->challenging || !cpu->enforcing || (!at_cap(cpu, key) && verify_source(cpu, key)))
		return false;
	return !is_management(port);
}

/* Judges a segment by the socket that it is for, which the caller releases. */
static __always_inline enum arrival arrive(struct __sk_buff *skb, struct weir_cpu *cpu, struct bpf_sock *sk, __u32 offset,
					   bool ipv6, __u32 *rcv_nxt)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *ip = data + offset;
	bool old = sk->state != STATE_LISTEN;
	struct cookie_flow flow = {};
	struct siphash listener;
	struct handshake *h;
	struct tcphdr *tcp;
	__s32 options;
	__u64 tuple;
	__u32 words;

	if (offset > MAX_IP_OFFSET)
		return ARRIVAL_PASS;
	tcp = plain_segment(ip, end, ipv6, &words);
	if (!tcp)
		return ARRIVAL_PASS;
	if (old ? !in_the_way(sk, tcp, rcv_nxt) : !!bpf_skc_to_mptcp_sock(sk))
		return ARRIVAL_PASS;
	if (!common_options((const __u32 *)(tcp + 1), end, words, &cpu->options))
		skb_odd_options(skb, cpu, offset, ipv6);
	forget_options(cpu);
	segment_flow(ip, tcp, ipv6, bpf_ntohl(tcp->seq) - 1, &flow);
	sip_listener(&listener, secret, flow.destination, flow.dport, ipv6);
	options = segment_cookie(cpu, &listener, tcp, &flow);
	tuple = tuple_hash(&flow);
	h = handshake_of(tuple);
	if (!h)
		return ARRIVAL_PASS;
	if (old) {
		if (options < 0)
			return ARRIVAL_PASS;
		/* What came behind the ACK would overtake it and be reset; it comes again. The ACK ends a socket once only: with
		 * net.ipv4.tcp_rfc1337 one in TIME_WAIT stays.
		 */
		if (recent(h, tuple, h->ended, cpu->jiffy))
			return carries_more(ip, tcp, words, ipv6) ? ARRIVAL_DROP : ARRIVAL_PASS;
		h->tuple = tuple;
		h->ended = cpu->jiffy;
		h->opened = 0;
		cpu->cookies.reused++;
		return sk->state == STATE_NEW_SYN_RECV ? ARRIVAL_REPEATS : ARRIVAL_REUSES;
	}
	if (recent(h, tuple, h->opened, cpu->jiffy))
		return ARRIVAL_PASS; /* TCP will have made the socket when this comes to it */
	if (options < 0) {
		/* What XDP saw was a cookie of the kernel's own; on another CPU if the kernel steers packets (RPS). */
		if (!cpu->challenging || recent(h, tuple, h->proven, cpu->jiffy) || kernel_cookie(ip, end, ipv6) ||
		    skb_redirected(skb, ip, end, ipv6))
			return ARRIVAL_PASS;
		cpu->cookies.late++;
		return ARRIVAL_DROP;
	}
	if (one_too_many(cpu, segment_key(ip, ipv6), tcp->dest)) {
		cpu->cookies.late++;
		return ARRIVAL_DROP;
	}
	if (!open_connection(skb, cpu, sk, options)) {
		cpu->cookies.refused++;
		return ARRIVAL_DROP;
	}
	h->tuple = tuple;
	h->opened = cpu->jiffy;
	cpu->cookies.accepted++;
	return ARRIVAL_PASS;
}

/* A client may use a port again whose last connection waits here in TIME_WAIT, or which is still open here since the client
 * crashed. The kernel knows what to do with its SYN, but that has been answered already, and two sockets can't have one tuple.
 * So the ACK comes once more, behind itself, and this one becomes a RST, which ends the old socket (RFC 1337 section 3: no
 * danger, a cookie proves that the client is new). A half-open one ends only without the echo of a timestamp that it hasn't
 * sent: the options become data, which a RST may have.
 */
static __always_inline void end_old(struct __sk_buff *skb, __u32 tcp, __u32 rcv_nxt, bool half_open)
{
	__be32 was_seq, seq = bpf_htonl(rcv_nxt);
	__be16 was, is;

	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		return;
	if (bpf_skb_load_bytes(skb, tcp + 4, &was_seq, 4) || bpf_skb_load_bytes(skb, tcp + 12, &was, 2))
		return;
	is = (half_open ? bpf_htons(0x5000) : was & bpf_htons(0xf000)) | bpf_htons(0x0004); /* RST */
	bpf_l4_csum_replace(skb, tcp + 16, was_seq, seq, 4);
	bpf_l4_csum_replace(skb, tcp + 16, was, is, 2);
	bpf_skb_store_bytes(skb, tcp + 4, &seq, 4, 0);
	bpf_skb_store_bytes(skb, tcp + 12, &is, 2, 0);
}

static __always_inline enum arrival accept_ack(struct __sk_buff *skb, struct weir_cpu *cpu)
{
	struct cursor c = { .pos = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	struct bpf_sock_tuple tuple = {};
	enum arrival arrival;
	struct tcphdr *tcp;
	struct bpf_sock *sk;
	__u32 words;
	void *data = c.pos;
	__u32 rcv_nxt = 0;
	__u64 offset;
	bool ipv6;

	switch (parse_ethernet(&c)) {
	case bpf_htons(ETH_P_IP):
		ipv6 = false;
		break;
	case bpf_htons(ETH_P_IPV6):
		ipv6 = true;
		break;
	default:
		return ARRIVAL_PASS;
	}
	offset = c.pos - data;
	asm volatile("" : "+r"(offset)); /* or clang subtracts 32 bits of pointers, which the verifier refuses */
	tcp = plain_segment(c.pos, c.end, ipv6, &words);
	if (!tcp || !tcp->ack || tcp->syn || tcp->rst)
		return ARRIVAL_PASS;
	segment_tuple(c.pos, tcp, ipv6, &tuple);
	sk = find_socket(skb, &tuple, ipv6);
	if (!sk)
		return ARRIVAL_PASS;
	arrival = arrive(skb, cpu, sk, offset, ipv6, &rcv_nxt);
	bpf_sk_release(sk);
	if (arrival == ARRIVAL_REUSES || arrival == ARRIVAL_REPEATS)
		end_old(skb, offset + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)), rcv_nxt, arrival == ARRIVAL_REPEATS);
	return arrival;
}

#endif
