/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who is real. A source that completes a handshake has proven that it receives what is sent to it, and is entered into a
 * table of its own; a SYN proves nothing and leaves no trace there. When too many SYNs come from sources that have proven
 * nothing, auto begins to challenge: within the packet that is one too many, without waiting for user space.
 *
 * What is shared between CPUs is only written for packets that conform: a flood reads it.
 */
#ifndef WEIR_SPOOFING_H
#define WEIR_SPOOFING_H

#include <stdbool.h>

#include "budgets.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* sets; the loader sets a power of two */
	__type(key, __u32);
	__type(value, struct weir_set);
} verified SEC(".maps");

const volatile __u32 set_mask = 4095;

/* Whose handshakes the tracepoint enters there: the network namespace of the interface, or 0 for none. Set by the loader. */
const volatile __u32 netns;

/* How long a handshake counts. Addresses are given to others; a bank's customers come back within a session. */
#define VERIFIED_TICKS (3600ULL * 1000000000 >> WEIR_TICK_SHIFT)

/* How long auto goes on after the rate has fallen below half of what started it: floods pause for a moment. */
#define CHALLENGE_HOLD_NS 10000000000ULL

static __always_inline struct weir_set *verified_set(__u64 key)
{
	__u32 index = source_hash(key, seed0, seed1) & set_mask;

	return bpf_map_lookup_elem(&verified, &index);
}

/* Tells whether a source's completed handshake is still worth something. An entry that was idle for 78 hours, as long as ticks
 * go round, is taken for a fresh one for an hour more.
 */
static __always_inline bool is_verified(const struct weir_source *way, const struct weir_cpu *cpu)
{
	return source_idle(way, cpu->now, cpu->interval, cpu->tolerance) < VERIFIED_TICKS;
}

/* Tells whether a source may have sockets here: who has any has completed a handshake, and is entered again when it closes. */
static __always_inline bool may_have_sockets(__u64 key)
{
	struct weir_set *set = verified_set(key);

	return !netns || !set || source_find(set, key);
}

/* Charges a source for the handshake that it has just completed by a cookie. It can't be spoofed, so this is where a source is
 * held to its rate while it is challenged; a client whose ACK is dropped sends it again with its data.
 */
static __always_inline bool verify_source(const struct weir_cpu *cpu, __u64 key)
{
	struct weir_set *set = verified_set(key);
	struct weir_source *way;
	__u64 backlog;

	if (!set)
		return true;
	way = source_enter(set, key, cpu->now, cpu->interval, cpu->tolerance);
	backlog = gcra_backlog(way->bucket, cpu->now, cpu->interval, cpu->tolerance);
	way->bucket = gcra_charge(way->bucket, cpu->now, backlog, cpu->interval, cpu->tolerance);
	return backlog <= cpu->tolerance;
}

/* What a verified source's SYN does while others are challenged: it passes within the source's own rate, and within what all
 * verified sources together may send, since their addresses can be spoofed like any others. Half of the source's burst, and one
 * at least, is kept for handshakes that it proves to be its own: whoever forges its SYNs has them challenged, and it still connects.
 */
static __always_inline int charge_verified(const struct weir_cpu *cpu, struct weir_source *way, struct weir_spoofing *state,
					   const struct weir_rate *rate, __u64 now_ns)
{
	__u64 backlog = gcra_backlog(way->bucket, cpu->now, cpu->interval, cpu->tolerance);

	if (backlog + cpu->interval > cpu->tolerance / 2)
		return WEIR_REASON_SOURCE_RATE;
	if (!total_charge(&state->verified, rate, now_ns))
		return WEIR_REASON_TOTAL_RATE;
	way->bucket = gcra_charge(way->bucket, cpu->now, backlog, cpu->interval, cpu->tolerance);
	return WEIR_REASON_NONE;
}

/* Begins the challenge, or prolongs it once a jiffy. Other CPUs learn of it at their next jiffy. */
static __always_inline void challenge_on(struct weir_cpu *cpu, struct weir_spoofing *state)
{
	__u64 now_ns, was;

	if (cpu->challenging && cpu->prolonged == (__u16)cpu->jiffy)
		return;
	now_ns = bpf_ktime_get_ns();
	cpu->challenging = true;
	cpu->accepting = true;
	cpu->prolonged = cpu->jiffy;
	was = state->until_ns;
	if (__sync_val_compare_and_swap(&state->until_ns, was, now_ns + CHALLENGE_HOLD_NS) == was && was < now_ns) {
		state->since_ns = now_ns; /* one CPU begins it */
		state->starts++;
	}
}

/* Judges a SYN that its source may send: an enum weir_reason that speaks for a challenge, or WEIR_REASON_NONE. Under always
 * it tells only whether a flood goes on. What the unverified may send together doesn't become more within a jiffy, in which this CPU's clock
 * stands still: once it was too much, a flood's SYNs needn't ask again.
 */
static __always_inline int suspect(struct weir_cpu *cpu, __u64 key)
{
	struct weir_source *way = NULL;
	struct weir_spoofing *state;
	struct weir_control *ctl;
	struct weir_set *set;
	struct weir_rate rate;
	__u64 now_ns;
	__u32 zero = 0;

	if (cpu->wary) {
		set = verified_set(key);
		if (!set)
			return WEIR_REASON_NONE;
		way = source_find(set, key);
		if (way && !is_verified(way, cpu))
			way = NULL;
		if (!way && cpu->challenging && cpu->prolonged == (__u16)cpu->jiffy)
			return WEIR_REASON_UNVERIFIED;
	}
	ctl = bpf_map_lookup_elem(&control, &zero);
	state = bpf_map_lookup_elem(&spoofing, &zero);
	if (!ctl || !state)
		return WEIR_REASON_NONE;
	now_ns = cpu->now << WEIR_TICK_SHIFT;
	rate = ctl->unverified;
	if (!cpu->wary)
		return total_charge(&state->unverified, &rate, now_ns) ? WEIR_REASON_NONE : WEIR_REASON_UNVERIFIED;
	if (way)
		return cpu->challenging ? charge_verified(cpu, way, state, &rate, now_ns) : WEIR_REASON_NONE;
	if (cpu->challenging)
		rate.interval *= 2;
	if (total_charge(&state->unverified, &rate, now_ns))
		return cpu->challenging ? WEIR_REASON_UNVERIFIED : WEIR_REASON_NONE;
	challenge_on(cpu, state);
	return WEIR_REASON_UNVERIFIED;
}

/* Tells whether a SYN begins the challenge. Before that no listener is asked for: to ask is to want the kernel's cookies. A global
 * function: the verifier looks at it once.
 */
__noinline int begins_challenge(struct weir_cpu *cpu, __u64 key)
{
	return cpu && suspect(cpu, key) != WEIR_REASON_NONE;
}

/* SYN-ACKs have no total of their own. */
#define TOTAL_NOBODY WEIR_CLASS_SYN_ACK

/* Tells whether a SYN of an unknown source may go to a port that nobody listens on while others are challenged: all of them together as
 * fast as what begins a challenge. netfilter may redirect the port, which isn't known here, and its customers can't be challenged.
 * A global function: the verifier looks at it once.
 */
__noinline int may_try_nobody(const struct weir_cpu *cpu)
{
	const struct weir_control *ctl;
	struct weir_total *total;
	struct weir_rate rate;
	__u32 zero = 0, which = TOTAL_NOBODY;

	ctl = bpf_map_lookup_elem(&control, &zero);
	total = bpf_map_lookup_elem(&totals, &which);
	if (!cpu || !ctl || !total)
		return true;
	rate = ctl->unverified;
	return total_charge(&total->arrival, &rate, cpu->now << WEIR_TICK_SHIFT);
}

#endif
