/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose SYNs the kernel was given lately, and so with whom it may have begun a handshake: for all sources whose keys hash alike the time
 * of the last one. A flood of ACKs is spared the look-up of a socket by it as soon as a challenge begins.
 */
#ifndef WEIR_HALFOPEN_H
#define WEIR_HALFOPEN_H

#include <stdbool.h>

#include "budgets.h"

#define HALF_OPEN_SLOTS 65536

#define HALF_OPEN_SHIFT 22 /* of ticks: 1.07 s */
#define HALF_OPEN_MASK	((1U << (WEIR_TICK_BITS - HALF_OPEN_SHIFT)) - 1)
#define HALF_OPEN_LIFE	((HALF_OPEN_NS >> (WEIR_TICK_SHIFT + HALF_OPEN_SHIFT)) + 1)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HALF_OPEN_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} half_open SEC(".maps");

static __always_inline __u32 *half_open_slot(__u64 key)
{
	__u32 index = source_hash(key, seed0, seed1) >> 16;

	return bpf_map_lookup_elem(&half_open, &index);
}

static __always_inline void note_syn(const struct weir_cpu *cpu, __u64 key)
{
	__u32 *slot = half_open_slot(key), now = cpu->now >> HALF_OPEN_SHIFT;

	if (slot && *slot != now)
		*slot = now;
}

/* Tells whether the kernel may be in the middle of a handshake with a source. Another CPU's clock may be a unit ahead. */
static __always_inline bool may_be_half_open(const struct weir_cpu *cpu, __u64 key)
{
	const __u32 *slot;

	if (!cpu->noted)
		return true;
	slot = half_open_slot(key);
	return !slot || (((__u32)(cpu->now >> HALF_OPEN_SHIFT) + 1 - *slot) & HALF_OPEN_MASK) <= HALF_OPEN_LIFE + 1;
}

#endif
