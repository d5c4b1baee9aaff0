// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The bucket and the source table's set with an injected clock. */
#include <stdbool.h>

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
