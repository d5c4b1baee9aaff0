/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who may have a socket here that isn't counted (bpf/peers.h): half of one, as long as the kernel is in the middle of a handshake, or one
 * that waits for the last of a connection which this host has ended. For all sources whose keys hash alike the time is noted of the last SYN
 * that the kernel was given, and of the last socket closed. A flood of ACKs from others is spared the look-up of a socket by it.
 */
#ifndef WEIR_UNCOUNTED_H
#define WEIR_UNCOUNTED_H

#include <stdbool.h>

#include "budgets.h"

/* 262,144 slots in 256 KiB, which stay in a core's L2 cache: of a thousand SYNs a second from as many sources a quarter are taken. */
#define UNCOUNTED_LINES 4096
#define UNCOUNTED_SLOTS 64

#define UNCOUNTED_SHIFT 24 /* of ticks: 4.3 s */
#define UNCOUNTED_LIFE	(UNCOUNTED_NS >> (WEIR_TICK_SHIFT + UNCOUNTED_SHIFT))

/* In units of time modulo 256, 18 minutes: for one of them in each 18 an old note is taken for a fresh one, which costs a look-up. */
struct uncounted_line {
	__u8 noted[UNCOUNTED_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNCOUNTED_LINES);
	__type(key, __u32);
	__type(value, struct uncounted_line);
} uncounted SEC(".maps");

static __always_inline __u8 *uncounted_slot(__u64 key)
{
	__u32 hash = source_hash(key, seed0, seed1), index = hash >> 20;
	struct uncounted_line *line = bpf_map_lookup_elem(&uncounted, &index);

	return line ? &line->noted[hash >> 14 & (UNCOUNTED_SLOTS - 1)] : NULL;
}

/* now is in ticks. */
static __always_inline void note_uncounted(__u64 key, __u64 now)
{
	__u8 *slot = uncounted_slot(key), unit = now >> UNCOUNTED_SHIFT;

	if (slot && *slot != unit)
		*slot = unit;
}

/* Another CPU's clock may be a unit ahead, and a note may be from the very end of its unit. */
static __always_inline bool may_be_uncounted(const struct weir_cpu *cpu, __u64 key)
{
	const __u8 *slot;

	if (!cpu->noted)
		return true;
	slot = uncounted_slot(key);
	return !slot || (__u8)((cpu->now >> UNCOUNTED_SHIFT) + 1 - *slot) <= UNCOUNTED_LIFE + 2;
}

#endif
