/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A token bucket kept as one time stamp: the generic cell rate algorithm (virtual scheduling, ITU-T I.371 annex A). The
 * theoretical arrival time (TAT) is when the bucket will be full again; a packet conforms if the TAT isn't further ahead of
 * now than the tolerance, and then moves it by one interval. A packet that doesn't conform moves nothing, so that a flood
 * earns exactly the configured rate.
 *
 * Updates take no lock. Two CPUs that judge one source in the same few nanoseconds may both take the same token: at worst
 * each further CPU lets one more packet through per collision. A source's packets are never refused for it.
 */
#ifndef WEIR_GCRA_H
#define WEIR_GCRA_H

#include "abi.h"

/* All ones if x, taken as signed, is negative, else 0. BPF has no conditional move, and under a flood of many sources a
 * branch on what the table holds is mispredicted every second time: 5 ns each.
 */
static __always_inline __u64 negative_mask(__u64 x)
{
	__u64 mask = (__u64)((__s64)x >> 63);

	asm volatile("" : "+r"(mask)); /* or the compiler makes a branch of it */
	return mask;
}

static __always_inline __u64 min_u64(__u64 a, __u64 b)
{
	return b ^ ((a ^ b) & negative_mask(a - b));
}

/* Each CPU looks at the clock once a jiffy, at the first packet in it: two CPUs' clocks are apart by less than a jiffy, 10 ms
 * at HZ=100.
 */
#define CLOCK_SKEW (10000000ULL >> WEIR_TICK_SHIFT)

/* How far the TAT of a bucket is ahead of now, in ticks; 0 when the bucket is full. No live bucket is further ahead than
 * tolerance + interval, seen from a CPU whose clock is behind a jiffy more, so anything beyond is a TAT in the past (the clock
 * is a modulo). A source that comes back after a multiple of 78 hours to within its tolerance finds its bucket empty, and full
 * again after that tolerance.
 */
static __always_inline __u64 gcra_backlog(__u64 bucket, __u64 now, __u64 interval, __u64 tolerance)
{
	__u64 ahead = ((bucket >> WEIR_COUNT_BITS) - now) & WEIR_TICK_MASK;

	return ahead & ~negative_mask(tolerance + interval + CLOCK_SKEW - ahead);
}

/* The bucket after one more packet: counted in any case, charged if it conforms. */
static __always_inline __u64 gcra_charge(__u64 bucket, __u64 now, __u64 backlog, __u64 interval, __u64 tolerance)
{
	__u64 count = (bucket + 1) & WEIR_COUNT_MASK;

	if (backlog <= tolerance)
		backlog += interval;
	return (now + backlog) << WEIR_COUNT_BITS | count;
}

#endif
