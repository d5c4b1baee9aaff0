// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The bucket, the source table's set and the cookie, with an injected clock and key. */
#include <stdbool.h>

#include "cookie.h"
#include "sources.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* For the test that Go's labels are the same; nothing else keeps an enum in BTF. */
enum weir_class some_class;
enum weir_verdict some_verdict;
enum weir_reason some_reason;

struct charge_args {
	__u64 key;
	__u64 now;
	__u64 interval;
	__u64 tolerance;
	__u64 verdict; /* enum source_verdict */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_set);
} set SEC(".maps");

SEC("syscall")
int charge(struct charge_args *c)
{
	__u32 zero = 0;
	struct weir_set *s = bpf_map_lookup_elem(&set, &zero);

	if (!s)
		return 1;
	c->verdict = source_charge(s, c->key, c->now, c->interval, c->tolerance);
	return 0;
}

struct hash_args {
	__u64 key;
	__u64 seed0;
	__u64 seed1;
	__u64 value;
};

SEC("syscall")
int hash(struct hash_args *h)
{
	h->value = source_hash(h->key, h->seed0, h->seed1);
	return 0;
}

struct cookie_args {
	__be32 source[4];
	__be32 destination[4];
	__u64 start[4];
	__be16 sport;
	__be16 dport;
	__u32 client_isn;
	__u32 ipv6;
	__u32 options;
	__u32 timestamps;
	__u32 epoch;
	__u32 other;
	__u32 isn;
	__u32 tsval;
	__s32 checked;
	__u64 mac;
};

struct cookie_input {
	__be32 source[4];
	__be32 destination[4];
	__u64 start[4];
	struct cookie_flow flow;
	struct siphash listener;
};

/* Copied: the context's fields can't be read by way of a pointer that may be another one. */
static __always_inline void read_input(const struct cookie_args *c, struct cookie_input *in)
{
	for (int i = 0; i < 4; i++) {
		in->source[i] = c->source[i];
		in->destination[i] = c->destination[i];
		in->start[i] = c->start[i];
	}
	in->flow.source = in->source;
	in->flow.destination = in->destination;
	in->flow.sport = c->sport;
	in->flow.dport = c->dport;
	in->flow.isn = c->client_isn;
	in->flow.ipv6 = c->ipv6;
	sip_listener(&in->listener, in->start, in->destination, c->dport, c->ipv6);
}

SEC("syscall")
int make_cookie(struct cookie_args *c)
{
	struct cookie_input in;
	struct cookie k;

	read_input(c, &in);
	k = cookie_make(&in.listener, &in.flow, c->options, c->timestamps, c->epoch);
	c->isn = k.isn;
	c->tsval = k.tsval;
	c->mac = cookie_mac(&in.listener, &in.flow, c->options, c->epoch);
	return 0;
}

SEC("syscall")
int check_cookie(struct cookie_args *c)
{
	struct cookie k = { .isn = c->isn, .tsval = c->tsval };
	struct cookie_input in;

	read_input(c, &in);
	c->checked = cookie_check(&in.listener, &in.flow, k, c->timestamps, c->epoch, c->other);
	return 0;
}
