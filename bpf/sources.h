/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who sends: a set-associative table with one cache line a look-up, whatever the number of sources. Unlike a hash map with
 * LRU lists it allocates nothing, links nothing and takes no lock, so a flood of new sources costs what one source costs.
 */
#ifndef WEIR_SOURCES_H
#define WEIR_SOURCES_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "gcra.h"

/* A key's set must not be guessable, or an attacker could choose addresses that share one. Multiplying by a secret odd
 * number is universal (Dietzfelbinger et al. 1997); the second round spreads what the first leaves in the upper bits.
 */
static __always_inline __u32 source_hash(__u64 key, __u64 seed0, __u64 seed1)
{
	__u64 x = (key ^ seed0) * (seed1 | 1);

	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
	return x >> 32;
}

static __always_inline __u64 ipv4_key(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff0000);
}

enum source_verdict {
	SOURCE_CONFORMS,
	SOURCE_EXCEEDS,
	SOURCE_UNTRACKED, /* no room: every entry of its set is more than half way to its limit */
};

/* Charges one packet to a source.
 *
 * A newcomer to a full set takes the place of the least limited entry, and only of one that is less than half way to its
 * limit: spoofed sources send few packets each and so displace one another, never a source that is being limited.
 *
 * A CPU may replace an entry between another CPU's look-up and its store, and the newcomer then starts with the backlog of
 * the one it replaced, which is under half of a burst: it is still dropped only after packets of its own.
 */
static __always_inline enum source_verdict source_charge(struct weir_set *set, __u64 key, __u64 now, __u64 interval,
							 __u64 tolerance)
{
	struct weir_source *way;
	__u64 backlog, least;

#pragma unroll
	for (int i = 0; i < WEIR_WAYS; i++) {
		way = &set->ways[i];
		if (way->key == key) {
			__u64 bucket = way->bucket;

			backlog = gcra_backlog(bucket, now, interval, tolerance);
			way->bucket = gcra_charge(bucket, now, backlog, interval, tolerance);
			return backlog <= tolerance ? SOURCE_CONFORMS : SOURCE_EXCEEDS;
		}
	}

	/* A backlog has 40 bits: with the way's number below it, one minimum finds both. */
	least = ~0ULL >> 1;
#pragma unroll
	for (int i = 0; i < WEIR_WAYS; i++) {
		backlog = gcra_backlog(set->ways[i].bucket, now, interval, tolerance);
		least = min_u64(backlog * WEIR_WAYS + i, least);
	}
	if (least / WEIR_WAYS > tolerance / 2)
		return SOURCE_UNTRACKED;
	way = &set->ways[least % WEIR_WAYS];
	way->key = key;
	way->bucket = gcra_charge(0, now, 0, interval, tolerance);
	return SOURCE_CONFORMS;
}

/* How long ago a source's bucket was touched, about; 0 if it is in debt. */
static __always_inline __u64 source_idle(const struct weir_source *way, __u64 now, __u64 interval, __u64 tolerance)
{
	if (gcra_backlog(way->bucket, now, interval, tolerance))
		return 0;
	return (now - (way->bucket >> WEIR_COUNT_BITS)) & WEIR_TICK_MASK;
}

static __always_inline struct weir_source *source_find(struct weir_set *set, __u64 key)
{
#pragma unroll
	for (int i = 0; i < WEIR_WAYS; i++) {
		if (set->ways[i].key == key)
			return &set->ways[i];
	}
	return NULL;
}

/* A source's entry, or that of the one that has been idle for longest, made its own. Not for a flood: spoofed sources would push
 * out all others.
 */
static __always_inline struct weir_source *source_enter(struct weir_set *set, __u64 key, __u64 now, __u64 interval,
							__u64 tolerance)
{
	struct weir_source *way = source_find(set, key);
	__u64 longest = 0;

	if (way)
		return way;
	way = &set->ways[0];
#pragma unroll
	for (int i = 0; i < WEIR_WAYS; i++) {
		struct weir_source *w = &set->ways[i];
		__u64 idle = w->key ? source_idle(w, now, interval, tolerance) : ~0ULL;

		if (idle > longest) {
			longest = idle;
			way = w;
		}
	}
	way->key = key;
	way->bucket = now << WEIR_COUNT_BITS;
	return way;
}

#endif
