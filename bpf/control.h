/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The switch that a message flips. Every CPU copies it into its own cache line once per jiffy, together with the clock: a
 * change takes effect within a jiffy (1 to 10 ms), and no packet pays for a clock or a second map.
 */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_budgets);
} budgets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_list_control);
} list_control SEC(".maps");

#define EPOCH_NS	60000000000ULL
#define EPOCH_OVERLAP_NS 1000000000ULL

/* Cookies of two epochs are good: this one's and the last one's, or for the last second the next one's, since another CPU
 * may have looked at the clock a jiffy later.
 */
static __always_inline void refresh_epoch(struct weir_cpu *cpu, __u64 now_ns)
{
	cpu->epoch = now_ns / EPOCH_NS;
	cpu->other_epoch = (now_ns + EPOCH_OVERLAP_NS) / EPOCH_NS;
	if (cpu->other_epoch == cpu->epoch)
		cpu->other_epoch = cpu->epoch - 1;
}

static __always_inline void refresh_lists(struct weir_list_clock *l, __u64 now_ns)
{
	__u32 zero = 0;
	const struct weir_list_control *ctl = bpf_map_lookup_elem(&list_control, &zero);

	if (!ctl)
		return;
	l->now = now_ns >> WEIR_LIST_CLOCK_SHIFT;
	l->interval = ctl->interval;
	l->tolerance = ctl->tolerance;
	l->held = now_ns < ctl->held_until_ns;
	l->on = ctl->on;
}

/* Tells whether the jiffy is new. */
static __always_inline bool refresh(struct weir_cpu *cpu)
{
	__u64 jiffy = bpf_jiffies64();
	struct weir_budgets *all;
	struct weir_control *ctl;
	__u64 now_ns;
	__u32 zero = 0;

	if (cpu->jiffy == jiffy)
		return false;
	ctl = bpf_map_lookup_elem(&control, &zero);
	all = bpf_map_lookup_elem(&budgets, &zero);
	if (!ctl || !all)
		return false;
	now_ns = bpf_ktime_get_ns();
	cpu->jiffy = jiffy;
	cpu->now = now_ns >> WEIR_TICK_SHIFT & WEIR_TICK_MASK;
	cpu->interval = ctl->interval;
	cpu->tolerance = ctl->tolerance;
	cpu->enforcing = ctl->mode == WEIR_MODE_ENFORCE && now_ns < ctl->until_ns;
	cpu->challenging = cpu->enforcing && ctl->challenge == WEIR_CHALLENGE_ALWAYS;
	cpu->budgeted = all->budgeted;
	cpu->accepting = now_ns < ctl->accept_until_ns;
	__builtin_memcpy(cpu->mac, ctl->mac, sizeof(cpu->mac));
	cpu->offer = ctl->offer;
	refresh_epoch(cpu, now_ns);
	refresh_lists(&cpu->lists, now_ns);
	return true;
}

#endif
