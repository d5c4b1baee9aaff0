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
	__u64 addresses[4];
	__u64 ports_isn;
	__u64 start[4];
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

static struct cookie_flow flow_of(const struct cookie_args *c)
{
	struct cookie_flow f = { .ports_isn = c->ports_isn, .ipv6 = c->ipv6 };

	for (int i = 0; i < 4; i++)
		f.addresses[i] = c->addresses[i];
	return f;
}

SEC("syscall")
int make_cookie(struct cookie_args *c)
{
	struct cookie_flow f = flow_of(c);
	__u64 start[4] = { c->start[0], c->start[1], c->start[2], c->start[3] };
	struct cookie k = cookie_make(&f, c->options, c->timestamps, c->epoch, start);

	c->isn = k.isn;
	c->tsval = k.tsval;
	c->mac = cookie_mac(&f, c->options, c->epoch, start);
	return 0;
}

SEC("syscall")
int check_cookie(struct cookie_args *c)
{
	struct cookie_flow f = flow_of(c);
	__u64 start[4] = { c->start[0], c->start[1], c->start[2], c->start[3] };
	struct cookie k = { .isn = c->isn, .tsval = c->tsval };

	c->checked = cookie_check(&f, k, c->timestamps, c->epoch, c->other, start);
	return 0;
}
