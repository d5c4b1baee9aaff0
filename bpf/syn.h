/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What becomes of a SYN: limited by its source and by the budgets, or challenged. */
#ifndef WEIR_SYN_H
#define WEIR_SYN_H

#include "budgets.h"
#include "challenge.h"
#include "connections.h"
#include "packet.h"
#include "spoofing.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* sets; the loader sets a power of two */
	__type(key, __u32);
	__type(value, struct weir_set);
} sources SEC(".maps");

static __always_inline struct outcome pass(enum weir_class class, enum weir_reason reason)
{
	return (struct outcome){ .class = class, .verdict = WEIR_VERDICT_PASS, .reason = reason };
}

/* What enforce drops. */
static __always_inline struct outcome hold_back(const struct weir_cpu *cpu, enum weir_class class, enum weir_reason reason)
{
	struct outcome o = pass(class, reason);

	o.verdict = cpu->enforcing ? WEIR_VERDICT_DROP : WEIR_VERDICT_WOULD_DROP;
	return o;
}

/* What a budget says of a packet. */
static __always_inline struct outcome by_budget(const struct weir_cpu *cpu, enum weir_class class, int reason)
{
	return over_budget(reason) ? hold_back(cpu, class, reason) : pass(class, reason);
}

/* What a SYN may by its source and by the budgets. */
static __always_inline struct outcome limit_syn(const struct weir_cpu *cpu, __u64 key, bool ipv6)
{
	__u32 index = source_hash(key, seed0, seed1) & set_mask;
	struct weir_set *set = bpf_map_lookup_elem(&sources, &index);
	struct outcome o = pass(WEIR_CLASS_SYN, WEIR_REASON_NONE);
	int reason;

	if (!set)
		return o;
	switch (source_charge(set, key, cpu->now, cpu->interval, cpu->tolerance)) {
	case SOURCE_CONFORMS:
		break;
	case SOURCE_EXCEEDS:
		return hold_back(cpu, WEIR_CLASS_SYN, WEIR_REASON_SOURCE_RATE);
	case SOURCE_UNTRACKED:
		o.reason = WEIR_REASON_UNTRACKED;
		break;
	}
	if (has_budget(cpu, WEIR_CLASS_SYN)) {
		reason = charge_budget(cpu, WEIR_CLASS_SYN, key, ipv6);
		if (over_budget(reason))
			return hold_back(cpu, WEIR_CLASS_SYN, reason);
	}
	return o;
}

static __always_inline struct outcome judge_syn(struct hook_ctx *ctx, struct weir_cpu *cpu, const struct packet *p)
{
	struct outcome o = pass(WEIR_CLASS_SYN, WEIR_REASON_NONE);
	int code, reason;

	if (at_cap(cpu, p->key)) /* who may have no further connection needs no SYN */
		return hold_back(cpu, WEIR_CLASS_SYN, WEIR_REASON_CONNECTIONS);
	if (!can_challenge || !(cpu->challenging || cpu->wary))
		return limit_syn(cpu, p->key, p->ipv6);
	if (!cpu->challenging) {
		o = limit_syn(cpu, p->key, p->ipv6);
		if (o.verdict != WEIR_VERDICT_PASS || !begins_challenge(cpu, p->key))
			return o;
	}
	code = challenge_syn(ctx, cpu, p->ip, p->ipv6, p->key);
	if (code >> ANSWER_SHIFT == ANSWER_ASK) {
		ask_for_listener(ctx, cpu, p->ip, p->ipv6);
		code = challenge_syn(ctx, cpu, p->ip, p->ipv6, p->key);
	}
	reason = code & ((1 << ANSWER_SHIFT) - 1);
	switch (code >> ANSWER_SHIFT) {
	case ANSWER_SENT: /* charged to nobody: its source may be anybody's */
		o.verdict = WEIR_VERDICT_TX;
		o.reason = reason;
		return o;
	case ANSWER_SPARED:
		return o;
	case ANSWER_NOBODY:
		if (reason != WEIR_REASON_UNVERIFIED || may_try_nobody(cpu))
			break;
		return hold_back(cpu, WEIR_CLASS_SYN, reason);
	case ANSWER_ODD:
		if (reason == WEIR_REASON_UNVERIFIED && is_for_this_host(ctx, cpu, p->ip, p->ipv6))
			return hold_back(cpu, WEIR_CLASS_SYN, reason);
	}
	return limit_syn(cpu, p->key, p->ipv6);
}

#endif
