/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The switch that a message flips. Every CPU copies it into its own cache line once per jiffy, together with the clock: a
 * change takes effect within a jiffy (1 to 10 ms), and no packet pays for a clock or a second map.
 */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_control);
} control SEC(".maps");

static __always_inline void refresh(struct weir_cpu *cpu)
{
	__u64 jiffy = bpf_jiffies64();
	struct weir_control *ctl;
	__u64 now_ns;
	__u32 zero = 0;

	if (cpu->jiffy == jiffy)
		return;
	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!ctl)
		return;
	now_ns = bpf_ktime_get_ns();
	cpu->jiffy = jiffy;
	cpu->now = now_ns >> WEIR_TICK_SHIFT & WEIR_TICK_MASK;
	cpu->interval = ctl->interval;
	cpu->tolerance = ctl->tolerance;
	cpu->enforcing = ctl->mode == WEIR_MODE_ENFORCE && now_ns < ctl->until_ns;
}

#endif
