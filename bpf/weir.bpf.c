// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The datapath: parse with a cursor, decide in pure functions, count once at the exit. */
#include <stdbool.h>
#include <stddef.h>

#include "abi.h"
#include "control.h"
#include "counters.h"
#include "parse.h"
#include "sources.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the loader before loading; the verifier removes what they rule out. */
const volatile __u64 seed0;
const volatile __u64 seed1;
const volatile bool bench_drop; /* benchmarks only: drops after all bookkeeping, to be compared with a bare XDP_DROP */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* sets; the loader sets a power of two */
	__type(key, __u32);
	__type(value, struct weir_set);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_info);
} info SEC(".maps");

const volatile __u32 set_mask = 4095;

/* Empty entries have key 0, so the prefix ::/64, which no router forwards, goes by another name. */
#define UNSPECIFIED_PREFIX 1

static __always_inline __u64 ipv4_key(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff0000);
}

static __always_inline struct outcome pass(enum weir_class class, enum weir_reason reason)
{
	return (struct outcome){ .class = class, .verdict = WEIR_VERDICT_PASS, .reason = reason };
}

static __always_inline struct outcome judge_syn(const struct weir_cpu *cpu, __u64 key)
{
	__u32 index = source_hash(key, seed0, seed1) & set_mask;
	struct weir_set *set = bpf_map_lookup_elem(&sources, &index);
	struct outcome o = pass(WEIR_CLASS_SYN, WEIR_REASON_NONE);

	if (!set)
		return o;
	switch (source_charge(set, key, cpu->now, cpu->interval, cpu->tolerance)) {
	case SOURCE_CONFORMS:
		break;
	case SOURCE_EXCEEDS:
		o.verdict = cpu->enforcing ? WEIR_VERDICT_DROP : WEIR_VERDICT_WOULD_DROP;
		o.reason = WEIR_REASON_SOURCE_RATE;
		break;
	case SOURCE_UNTRACKED:
		o.reason = WEIR_REASON_UNTRACKED;
		break;
	}
	return o;
}

static __always_inline struct outcome judge_tcp(const struct weir_cpu *cpu, struct cursor *c, __u64 key)
{
	struct tcphdr *tcp = parse_tcp(c);

	if (!tcp)
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	if (tcp->syn)
		return tcp->ack ? pass(WEIR_CLASS_SYN_ACK, WEIR_REASON_NONE) : judge_syn(cpu, key);
	return pass(tcp->rst ? WEIR_CLASS_RST : WEIR_CLASS_TCP, WEIR_REASON_NONE);
}

static __always_inline struct outcome judge(const struct weir_cpu *cpu, struct cursor *c)
{
	bool fragment = false;
	__be32 address;
	__u64 key;
	int proto;

	switch (parse_ethernet(c)) {
	case bpf_htons(ETH_P_IP):
		proto = parse_ipv4(c, &address, &fragment);
		key = ipv4_key(address);
		break;
	case bpf_htons(ETH_P_IPV6):
		proto = parse_ipv6(c, &key, &fragment);
		key = key ? key : UNSPECIFIED_PREFIX;
		break;
	case PARSE_ERROR:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	default:
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
	}

	if (proto == PARSE_ERROR)
		return pass(WEIR_CLASS_OTHER, WEIR_REASON_MALFORMED);
	if (fragment)
		return pass(WEIR_CLASS_FRAGMENT, WEIR_REASON_NONE);
	switch (proto) {
	case IPPROTO_TCP:
		return judge_tcp(cpu, c, key);
	case IPPROTO_UDP:
		return pass(WEIR_CLASS_UDP, WEIR_REASON_NONE);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return pass(WEIR_CLASS_ICMP, WEIR_REASON_NONE);
	}
	return pass(WEIR_CLASS_OTHER, WEIR_REASON_NONE);
}

static __always_inline int filter(struct xdp_md *ctx, __u32 bytes)
{
	struct cursor c = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	struct weir_cpu *cpu = this_cpu();
	struct outcome o;

	if (!cpu)
		return XDP_PASS;
	refresh(cpu);
	o = judge(cpu, &c);
	count(cpu, o, bytes);
	if (bench_drop)
		return XDP_DROP;
	return o.verdict == WEIR_VERDICT_DROP ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int weir(struct xdp_md *ctx)
{
	return filter(ctx, ctx->data_end - ctx->data);
}

/* For frames in several buffers, that is an MTU beyond a page: drivers refuse the plain program there. */
SEC("xdp.frags")
int weir_frags(struct xdp_md *ctx)
{
	return filter(ctx, bpf_xdp_get_buff_len(ctx));
}
