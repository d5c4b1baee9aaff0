/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What each class of packets may amount to: per source, per prefix and in total. A class without a budget costs one bit test.
 *
 * Each class has tables of its own, made like the source table: a flood of one class pushes no source of another out.
 */
#ifndef WEIR_BUDGETS_H
#define WEIR_BUDGETS_H

#include <stdbool.h>

#include "control.h"
#include "sources.h"

#define BUDGET_SETS 2048 /* 8,192 sources or prefixes a table, 128 KiB: what a flood uses fits in a core's L2 cache */

/* The tables of a class are at these times BUDGET_SETS, behind those of the classes before it. SYN-ACKs have none. */
enum budget_table {
	BUDGET_SOURCES,
	BUDGET_PREFIXES,
	BUDGET_TABLES,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, (WEIR_CLASS_FRAGMENT) * BUDGET_TABLES * BUDGET_SETS);
	__type(key, __u32);
	__type(value, struct weir_set);
} budget_sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_CLASS_LEN);
	__type(key, __u32);
	__type(value, struct weir_total);
} totals SEC(".maps");

/* Set by the loader. */
const volatile __u64 seed0;
const volatile __u64 seed1;

/* Empty entries have key 0, so the prefix ::/64, which no router forwards, goes by another name. */
#define UNSPECIFIED_PREFIX 1

/* A source's /24 or /48, in the form of its key. */
static __always_inline __u64 prefix_key(__u64 key, bool ipv6)
{
	__u64 prefix = key & bpf_be64_to_cpu(ipv6 ? 0xffffffffffff0000ULL : 0xffffffffffffff00ULL);

	return prefix ? prefix : UNSPECIFIED_PREFIX;
}

static __always_inline enum source_verdict table_charge(const struct weir_rate *rate, __u32 class, enum budget_table table,
							__u64 key, __u64 now)
{
	__u32 slot = class < WEIR_CLASS_SYN_ACK ? class : class - 1;
	__u32 index = (slot * BUDGET_TABLES + table) * BUDGET_SETS + source_hash(key, seed0, seed1) % BUDGET_SETS;
	struct weir_set *set = bpf_map_lookup_elem(&budget_sets, &index);

	return set ? source_charge(set, key, now, rate->interval, rate->tolerance) : SOURCE_CONFORMS;
}

#define TOTAL_BITS (WEIR_TICK_BITS + WEIR_TICK_SHIFT)
#define TOTAL_MASK ((1ULL << TOTAL_BITS) - 1)
#define TOTAL_TRIES 3

/* How far the bucket is ahead of now; 0 when it is full. */
static __always_inline __u64 total_ahead(__u64 arrival, const struct weir_rate *rate, __u64 now)
{
	__u64 ahead = (arrival - now) & TOTAL_MASK;

	return ahead > rate->tolerance + rate->interval + (CLOCK_SKEW << WEIR_TICK_SHIFT) ? 0 : ahead;
}

/* Charges one packet to what all sources share, if it conforms. A flood beyond the rate only reads the bucket, so that no
 * cache line goes from CPU to CPU for a packet that is dropped. A packet that finds it changed under it again and again passes
 * uncharged.
 */
static __always_inline bool total_charge(__u64 *arrival, const struct weir_rate *rate, __u64 now)
{
#pragma unroll
	for (int i = 0; i < TOTAL_TRIES; i++) {
		__u64 was = *(volatile __u64 *)arrival;
		__u64 ahead = total_ahead(was, rate, now);

		if (ahead > rate->tolerance)
			return false;
		if (__sync_val_compare_and_swap(arrival, was, (now + ahead + rate->interval) & TOTAL_MASK) == was)
			break;
	}
	return true;
}

/* Charges one packet of a class to all budgets that the class has, and returns an enum weir_reason. Where nothing is left for
 * anybody, that is all it takes to know. Else it is charged to its source first: what one source sends too much doesn't count
 * against its prefix, nor that of a prefix against all.
 */
static __always_inline int charge_inline(const struct weir_cpu *cpu, __u32 class, __u64 key, __u32 ipv6)
{
	int reason = WEIR_REASON_NONE;
	const struct weir_budget *budget;
	struct weir_budgets *all;
	struct weir_total *total = NULL;
	__u32 zero = 0;
	__u64 now;

	all = bpf_map_lookup_elem(&budgets, &zero);
	if (!cpu || !all || class >= WEIR_CLASS_LEN)
		return WEIR_REASON_NONE;
	budget = &all->classes[class];
	now = cpu->now << WEIR_TICK_SHIFT;
	if (budget->total.interval) {
		total = bpf_map_lookup_elem(&totals, &class);
		if (total && total_ahead(total->arrival, &budget->total, now) > budget->total.tolerance)
			return WEIR_REASON_TOTAL_RATE;
	}
	if (budget->source.interval) {
		switch (table_charge(&budget->source, class, BUDGET_SOURCES, key, cpu->now)) {
		case SOURCE_CONFORMS:
			break;
		case SOURCE_EXCEEDS:
			return WEIR_REASON_SOURCE_RATE;
		case SOURCE_UNTRACKED:
			reason = WEIR_REASON_UNTRACKED;
			break;
		}
	}
	if (budget->prefix.interval &&
	    table_charge(&budget->prefix, class, BUDGET_PREFIXES, prefix_key(key, ipv6), cpu->now) == SOURCE_EXCEEDS)
		return WEIR_REASON_PREFIX_RATE;
	if (total && !total_charge(&total->arrival, &budget->total, now))
		return WEIR_REASON_TOTAL_RATE;
	return reason;
}

/* The same as a global function, which the verifier looks at once. Where the kernel guards returns (spec_rstack_overflow) each costs a
 * packet 6 ns, so what is flooded most has it inline.
 */
__noinline int charge_budget(const struct weir_cpu *cpu, __u32 class, __u64 key, __u32 ipv6)
{
	return charge_inline(cpu, class, key, ipv6);
}

static __always_inline bool has_budget(const struct weir_cpu *cpu, enum weir_class class)
{
	return cpu->budgeted & 1U << class;
}

static __always_inline bool over_budget(int reason)
{
	return reason == WEIR_REASON_SOURCE_RATE || reason == WEIR_REASON_PREFIX_RATE || reason == WEIR_REASON_TOTAL_RATE;
}

/* Tells whether a TCP port is one by which administrators come. Asked only of what would be dropped. */
static __always_inline bool is_management(__be16 port)
{
	const __u64 ones = 0x0001000100010001ULL;
	struct weir_budgets *all;
	const __u64 *ports;
	__u32 zero = 0;

	all = bpf_map_lookup_elem(&budgets, &zero);
	if (!all || !all->num_management)
		return false;
	ports = (const __u64 *)all->management;
#pragma unroll
	for (int i = 0; i < WEIR_MANAGEMENT_PORTS / 4; i++) {
		__u64 x = ports[i] ^ port * ones; /* four at a time: one of 16 bits is zero where they are equal */

		if ((x - ones) & ~x & ones << 15)
			return true;
	}
	return false;
}

#endif
