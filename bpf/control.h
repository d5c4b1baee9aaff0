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
#include "hook.h"

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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_spoofing);
} spoofing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_fallback);
} fallback SEC(".maps");

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
	__builtin_memcpy(l->near, ctl->near, sizeof(l->near));
}

/* A cookie lives for two epochs at most. */
#define COOKIE_LIFE_NS (2 * EPOCH_NS)

/* How long the kernel may be in the middle of a handshake: it repeats its SYN-ACK five times (net.ipv4.tcp_synack_retries) within 31 seconds,
 * waits for as long again, and with TCP_DEFER_ACCEPT keeps who has answered, but sent nothing, until then. TIME_WAIT takes 60 seconds.
 */
#define UNCOUNTED_NS 64000000000ULL

static __always_inline void refresh_challenge(struct weir_cpu *cpu, const struct weir_control *ctl,
					      const struct weir_spoofing *state, __u64 now_ns)
{
	bool automatic = ctl->challenge == WEIR_CHALLENGE_AUTO;

	cpu->wary = automatic && (cpu->enforcing || now_ns < ctl->armed_until_ns);
	if (automatic)
		cpu->challenging = cpu->wary && now_ns < state->until_ns;
	else
		cpu->challenging = cpu->enforcing && ctl->challenge == WEIR_CHALLENGE_ALWAYS;
	cpu->peers_known = state->peers == WEIR_PEERS_KNOWN;
	cpu->noted = cpu->noting_ns && now_ns - cpu->noting_ns > UNCOUNTED_NS;
	/* Connections aren't to pay in tc for a challenge that hasn't been. */
	cpu->accepting = now_ns < ctl->accept_until_ns && (!automatic || now_ns < state->until_ns + COOKIE_LIFE_NS);
}

static __always_inline void refresh_fallback(struct weir_cpu *cpu, __u64 now_ns)
{
	__u32 zero = 0;
	const struct weir_fallback *f = bpf_map_lookup_elem(&fallback, &zero);

	cpu->fallback = f && now_ns < f->until_ns;
	cpu->millis = now_ns / 1000000;
}

/* Tells whether the jiffy is new. */
static __always_inline bool refresh(struct weir_cpu *cpu)
{
	__u64 jiffy = bpf_jiffies64();
	struct weir_spoofing *state;
	struct weir_budgets *all;
	struct weir_control *ctl;
	__u64 now_ns;
	__u32 zero = 0;

	if (cpu->jiffy == jiffy)
		return false;
	ctl = bpf_map_lookup_elem(&control, &zero);
	all = bpf_map_lookup_elem(&budgets, &zero);
	state = bpf_map_lookup_elem(&spoofing, &zero);
	if (!ctl || !all || !state)
		return false;
	now_ns = bpf_ktime_get_ns();
	cpu->jiffy = jiffy;
	cpu->now = now_ns >> WEIR_TICK_SHIFT & WEIR_TICK_MASK;
	cpu->interval = ctl->interval;
	cpu->tolerance = ctl->tolerance;
	cpu->enforcing = ctl->mode == WEIR_MODE_ENFORCE && now_ns < ctl->until_ns;
	refresh_challenge(cpu, ctl, state, now_ns);
	cpu->budgeted = all->budgeted;
	__builtin_memcpy(cpu->mac, ctl->mac, sizeof(cpu->mac));
	cpu->offer = ctl->offer;
	refresh_epoch(cpu, now_ns);
	refresh_lists(&cpu->lists, now_ns);
	refresh_fallback(cpu, now_ns);
	return true;
}

#endif
