/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Allow and block lists: the longest prefix that holds the source and is in force. One hash table a family holds prefixes of
 * all lengths; it is asked once for each length in use (Srinivasan and Varghese's tuple space), one cache line a question,
 * and a filter by the address's upper bits leaves out the lengths that can't be. User space makes a table and puts it in the
 * place of the last one: a packet sees one or the other. The kernel's LPM_TRIE takes twice to four times as long.
 */
#ifndef WEIR_LISTS_H
#define WEIR_LISTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "gcra.h"
#include "parse.h"

struct list_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* clang leaves out what an inner map's types hold */
	__uint(value_size, sizeof(struct weir_list_line));
};

struct long_list_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_LIST_LONG);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct weir_list_line));
};

/* IPv4's and IPv6's; empty without entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct list_table);
} lists SEC(".maps");

/* Likewise, and asked first: tables that all have one size. The kernel compiles look-ups in them without a call, which spares a packet
 * from one of 100,000 blocked addresses a tenth of what the list costs it. For short lists that isn't worth the room.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct long_list_table);
} long_lists SEC(".maps");

/* Buckets of the allowed prefixes by hash: of a hundred prefixes hardly two share one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_LIST_CEILINGS);
	__type(key, __u32);
	__type(value, __u64);
} ceilings SEC(".maps");

/* Only user space uses it: what the tables are made from, beside the configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weir_list_key);
	__type(value, struct weir_list_entry);
} list_entries SEC(".maps");

enum listed {
	LISTED_NOT,
	LISTED_BLOCKED,
	LISTED_ALLOWED,
	LISTED_EXEMPT,
	LISTED_OVER, /* allowed, but over the ceiling */
};

/* The part of look_up that is the same for both families. */
struct list_search {
	void *table;
	const struct weir_list_head *head;
	const struct weir_list_clock *clock;
	__u32 meta; /* of the entry found, 0 for none */
	__u32 hash; /* of its prefix */
};

struct list_line6 {
	__u64 upper[WEIR_LIST_WAYS6];
	__u64 lower[WEIR_LIST_WAYS6];
	__u32 meta[WEIR_LIST_WAYS6];
	__u32 reserved;
};

#define LENGTH_SHIFT 24
#define KIND_SHIFT   WEIR_LIST_END_BITS
#define KIND_MASK    3

static __always_inline bool in_force(const struct list_search *s, __u32 meta)
{
	__u32 end = meta & WEIR_LIST_END_MASK;

	if (end == WEIR_LIST_HELD)
		return s->clock->held;
	return s->clock->now - s->head->base < end;
}

/* The number of the lowest bit: BPF has no instruction for it. A de Bruijn sequence moves a different five bits to the top
 * for each.
 */
static const __u8 bit_numbers[32] = { 0,  1,  28, 2,	29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
				      31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9 };

static __always_inline __u32 lowest_bit(__u32 mask)
{
	return bit_numbers[(__u32)((mask & -mask) * 0x077cb531U) >> 27];
}

/* The lengths to ask for. */
static __always_inline __u32 lengths_of(const struct list_search *s, __u32 upper)
{
	const struct weir_list_line *line;
	__u32 word, index;

	if (!s->head->filter)
		return s->head->lengths;
	word = (__u64)(__u32)(upper * 0x9e3779b1U) * s->head->filter >> 32; /* 2^32 / golden ratio */
	index = WEIR_LIST_FILTER + word / 16;
	line = bpf_map_lookup_elem(s->table, &index);
	if (!line)
		return 0;
	return s->head->always | ((const __u32 *)line)[word % 16];
}

static __always_inline __u32 spread(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

/* The entry of a line for a prefix, or 0. Of lists with a filter most lines that are asked for hold none, which branches foretell;
 * of others most do, somewhere, which no branch foretells: a wrong guess waits for the line's memory.
 */
static __always_inline __u64 entry4(const struct weir_list_line *line, __u64 key, bool filtered)
{
	__u64 found = 0;

	if (filtered) {
#pragma unroll
		for (int way = 0; way < WEIR_LIST_WAYS4; way++) {
			if (line->words[way] >> LENGTH_SHIFT == key)
				return line->words[way];
		}
		return 0;
	}
#pragma unroll
	for (int way = 0; way < WEIR_LIST_WAYS4; way++) {
		__s64 match = (line->words[way] >> LENGTH_SHIFT ^ key) - 1; /* negative */

		asm volatile("" : "+r"(match)); /* or clang makes a branch of it */
		found |= line->words[way] & match >> 63;
	}
	return found;
}

/* Asks for one prefix. A line that has room left ends the chain. */
static __always_inline bool find4(struct list_search *s, __u64 key)
{
	__u32 hash = key * s->head->seed[0] >> 32;
	__u32 at = s->head->first + spread(hash, s->head->lines);

	for (int i = 0; i < WEIR_LIST_CHAIN; i++) {
		const struct weir_list_line *line;
		__u32 index = at + i;
		__u64 entry;

		line = bpf_map_lookup_elem(s->table, &index);
		if (!line)
			return false;
		entry = entry4(line, key, s->head->filter);
		if (entry) {
			s->meta = entry;
			s->hash = hash;
			return in_force(s, s->meta);
		}
		if (!line->words[WEIR_LIST_WAYS4 - 1])
			return false;
	}
	return false;
}

static __always_inline bool find6(struct list_search *s, __u64 upper, __u64 lower, __u32 length)
{
	__u32 hash = ((upper + length) * s->head->seed[0] + lower * s->head->seed[1]) >> 32;
	__u32 at = s->head->first + spread(hash, s->head->lines);

	for (int i = 0; i < WEIR_LIST_CHAIN; i++) {
		const struct list_line6 *line;
		__u32 index = at + i;

		line = bpf_map_lookup_elem(s->table, &index);
		if (!line)
			return false;
#pragma unroll
		for (int way = 0; way < WEIR_LIST_WAYS6; way++) {
			if (line->upper[way] == upper && line->lower[way] == lower && line->meta[way] >> LENGTH_SHIFT == length) {
				s->meta = line->meta[way];
				s->hash = hash;
				return in_force(s, s->meta);
			}
		}
		if (!line->meta[WEIR_LIST_WAYS6 - 1])
			return false;
	}
	return false;
}

/* Each tells whether an entry was found; addresses are in host order. */
static __always_inline bool search4(struct list_search *s, __u32 address)
{
	__u32 mask = lengths_of(s, address >> 16);

	for (int i = 0; i < 32; i++) {
		__u32 bit;

		if (!mask)
			break;
		bit = lowest_bit(mask);
		mask &= mask - 1;
		if (find4(s, (__u64)(address >> bit << bit) << 8 | (32 - bit)))
			return true;
	}
	s->meta = s->head->shortest;
	return s->meta && in_force(s, s->meta);
}

static __always_inline bool search6(struct list_search *s, __u64 upper, __u64 lower)
{
	__u32 mask = lengths_of(s, upper >> 32), at = WEIR_LIST_LENGTHS;
	const __u8 *lengths = bpf_map_lookup_elem(s->table, &at);

	for (int i = 0; lengths && i < 32; i++) {
		__u64 low = lower, up = upper;
		__u32 bit, length;

		if (!mask)
			break;
		bit = lowest_bit(mask);
		asm volatile("" : "+r"(bit)); /* or clang, who knows the table of bit numbers, leaves the bound out */
		length = lengths[bit & 31];
		mask &= mask - 1;
		if (length <= 64) {
			low = 0;
			up &= ~0ULL << ((64 - length) & 63);
		} else {
			low &= ~0ULL << ((128 - length) & 63);
		}
		if (find6(s, up, low, length))
			return true;
	}
	s->meta = s->head->shortest;
	return s->meta && in_force(s, s->meta);
}

/* Each allowed or exempt prefix has a ceiling, or whoever forges its addresses would have a free pass. */
static __always_inline bool over_ceiling(const struct weir_cpu *cpu, __u32 index)
{
	__u64 *bucket = bpf_map_lookup_elem(&ceilings, &index);
	__u64 backlog;

	if (!bucket)
		return false;
	backlog = gcra_backlog(*bucket, cpu->now, cpu->lists.interval, cpu->lists.tolerance);
	*bucket = gcra_charge(*bucket, cpu->now, backlog, cpu->lists.interval, cpu->lists.tolerance);
	return backlog > cpu->lists.tolerance;
}

/* Tells whether anything is listed near a source, by its key: of its address the upper 16 bits, of an IPv6 address the upper
 * 32. With a few entries, as when somebody is logged in, hardly any other packet pays for them.
 */
static __always_inline bool near_listed(const struct weir_list_clock *l, __u64 key, bool ipv6)
{
	__u32 upper = ipv6 ? (__u32)key : (__u16)(key >> 32);
	__u32 hash = upper * 0x9e3779b1U;

	return l->near[ipv6][hash >> 31] >> (hash >> 25 & 63) & 1;
}

#define LISTED_BITS 4

static __always_inline int look_up(struct hook_ctx *ctx, const struct weir_cpu *cpu, void *table, __u32 offset, bool ipv6)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct list_search s = { .table = table, .clock = &cpu->lists };
	__u32 at = WEIR_LIST_HEAD;
	bool found;

	s.head = bpf_map_lookup_elem(table, &at);
	if (!s.head)
		return LISTED_NOT;
	if (ipv6) {
		const struct ipv6hdr *ip = data + offset;

		if ((void *)(ip + 1) > end)
			return LISTED_NOT;
		found = search6(&s, (__u64)bpf_ntohl(ip->saddr.s6_addr32[0]) << 32 | bpf_ntohl(ip->saddr.s6_addr32[1]),
				(__u64)bpf_ntohl(ip->saddr.s6_addr32[2]) << 32 | bpf_ntohl(ip->saddr.s6_addr32[3]));
	} else {
		const struct iphdr *ip = data + offset;

		if ((void *)(ip + 1) > end)
			return LISTED_NOT;
		found = search4(&s, bpf_ntohl(ip->saddr));
	}
	if (!found)
		return LISTED_NOT;
	switch (s.meta >> KIND_SHIFT & KIND_MASK) {
	case WEIR_LIST_BLOCK:
		return LISTED_BLOCKED;
	case WEIR_LIST_ALLOW:
		return over_ceiling(cpu, s.hash % WEIR_LIST_CEILINGS) ? LISTED_OVER : LISTED_ALLOWED;
	case WEIR_LIST_EXEMPT:
		return LISTED_EXEMPT | (s.hash % WEIR_LIST_CEILINGS) << LISTED_BITS;
	}
	return LISTED_NOT;
}

/* What the lists say of the source of the packet whose IP header is at an offset: enum listed, and above LISTED_BITS the
 * bucket of its ceiling. A global function: the verifier looks at it once.
 */
__noinline int look_up_source(struct hook_ctx *ctx, const struct weir_cpu *cpu, __u32 offset, __u32 ipv6)
{
	__u32 family = ipv6 != 0;
	void *table;

	if (!cpu || offset > sizeof(struct ethhdr) + MAX_VLAN_TAGS * sizeof(struct vlan_header))
		return LISTED_NOT;
	table = bpf_map_lookup_elem(&long_lists, &family);
	if (table)
		return look_up(ctx, cpu, table, offset, ipv6);
	table = bpf_map_lookup_elem(&lists, &family);
	return table ? look_up(ctx, cpu, table, offset, ipv6) : LISTED_NOT;
}

#endif
