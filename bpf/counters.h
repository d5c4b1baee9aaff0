/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Per-CPU state in a memory-mapped array: one element a CPU instead of a per-CPU map, so that user space reads it without a
 * system call. XDP runs with softirqs off and stays on its CPU, hence plain increments.
 */
#ifndef WEIR_COUNTERS_H
#define WEIR_COUNTERS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* the loader sets the number of possible CPUs */
	__type(key, __u32);
	__type(value, struct weir_cpu);
} cpus SEC(".maps");

static __always_inline struct weir_cpu *this_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&cpus, &cpu);
}

struct outcome {
	enum weir_class class;
	enum weir_verdict verdict;
	enum weir_reason reason;
};

static __always_inline void count(struct weir_cpu *cpu, struct outcome o, __u32 packets, __u32 bytes)
{
	__u32 reason = o.reason;
	struct weir_count *n;

	asm volatile("" : "+r"(reason)); /* or clang checks another copy of it than it uses, which the verifier refuses */
	if (o.class >= WEIR_CLASS_LEN || o.verdict >= WEIR_VERDICT_LEN || reason >= WEIR_REASON_LEN)
		return;
	n = &cpu->counts[o.class][o.verdict][reason];
	n->packets += packets;
	n->bytes += bytes;
}

#endif
